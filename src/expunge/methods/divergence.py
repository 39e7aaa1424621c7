"""How far a student's belief lies from a teacher's, and the term that pulls them together."""

from __future__ import annotations

from collections.abc import Callable

import torch

from expunge.train.objective import Answer


def divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(t‖p) of each row from logits, summed over classes; −∞ in the teacher's marks a class that it rules out.

    The student's logits receive p − t, with p and t from the same operations: where the two agree that is exactly 0.
    The usual way through a log-softmax leaves rounding errors there, which Adam would blow up to steps of full size.
    """
    teacher, student = _wide(teacher), _wide(student)
    target = (teacher - torch.logsumexp(teacher, dim=1, keepdim=True)).exp()
    crossed = torch.logsumexp(student, dim=1) - (target * student).sum(dim=1)
    return crossed - torch.special.entr(target).sum(dim=1)


def softened_divergence(temperature: float) -> Callable[[Answer, Answer], torch.Tensor]:
    """T²·KL(t‖p) between softened beliefs, averaged over rows alone; T² keeps gradients at the scale of T = 1.

    The term's passes are the student's, then the teacher's.
    """

    def pulled(student: Answer, teacher: Answer) -> torch.Tensor:
        return temperature**2 * divergence(teacher.outputs / temperature, student.outputs / temperature).mean()

    return pulled


def _wide(logits: torch.Tensor) -> torch.Tensor:
    """float32 at least."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
