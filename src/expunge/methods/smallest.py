"""The smallest of many numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def smallest(tensors: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Masks of the ``count`` entries of smallest magnitude over all tensors; ties go to the lower index."""
    magnitude = torch.cat([tensor.detach().abs().reshape(-1) for tensor in tensors])
    mask = torch.zeros_like(magnitude, dtype=torch.bool)
    mask[torch.argsort(magnitude, stable=True)[:count]] = True
    sizes = [tensor.numel() for tensor in tensors]
    return [part.reshape(tensor.shape) for part, tensor in zip(mask.split(sizes), tensors, strict=True)]
