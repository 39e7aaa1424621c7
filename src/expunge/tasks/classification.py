"""One label per example, cross-entropy."""

from __future__ import annotations

import torch
from torch import nn

from expunge.tasks.task import Batch, ClassTask


class Classification(ClassTask):
    """Logits in, one class out: the outputs' softmax is the model's belief."""

    name = "classification"
    takes = "logits of a softmax over classes"

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        return nn.functional.cross_entropy(logits, self.labels(batch), reduction="none")
