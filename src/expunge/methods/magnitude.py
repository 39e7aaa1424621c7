"""The smallest and the largest of many numbers, by magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def smallest(tensors: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Masks of the ``count`` entries of smallest magnitude over all tensors; ties go to the lower index."""
    return _masks(tensors, _flat(tensors), count)


def largest(tensors: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Masks of the ``count`` entries of largest magnitude over all tensors; ties go to the lower index."""
    return _masks(tensors, -_flat(tensors), count)


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().abs().reshape(-1) for tensor in tensors])


def _masks(tensors: Sequence[torch.Tensor], values: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The ``count`` lowest values: all below the one of that rank, then as many equal to it as are wanting."""
    if count <= 0:
        mask = torch.zeros_like(values, dtype=torch.bool)
    else:
        threshold = values.kthvalue(min(count, len(values))).values
        mask = values < threshold
        ties = torch.nonzero(values == threshold)[:, 0]
        mask[ties[: count - int(mask.sum())]] = True
    parts = mask.split([tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
