"""One label per example, cross-entropy."""

from __future__ import annotations

import torch
from torch import nn

from expunge.tasks.task import Batch, Task


class Classification(Task):
    """Logits in, one class out."""

    name = "classification"

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return model(batch.inputs)

    def losses(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = self.outputs(model, batch)
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        return nn.functional.cross_entropy(logits, batch.labels, reduction="none")

    def margins(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = self.outputs(model, batch).double()
        own = logits.gather(1, batch.labels[:, None])
        others = logits.scatter(1, batch.labels[:, None], -torch.inf)
        return own[:, 0] - torch.logsumexp(others, dim=1)


TASKS: dict[str, Task] = {task.name: task for task in (Classification(),)}
