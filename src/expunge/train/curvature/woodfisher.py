"""The inverse of the empirical Fisher information, times a vector (WoodFisher; Singh & Alistarh, 2020)."""

from __future__ import annotations

import torch

from expunge.core.errors import InvalidArgument, RunError

COLUMNS = 1 << 16  # parameters taken to float64 at once


def inverse_fisher_product(gradients: torch.Tensor, vector: torch.Tensor, damping: float) -> torch.Tensor:
    """(GᵀG/n + ρI)⁻¹ v for n gradients of single examples, the rows of G (n, parameters).

    By Woodbury, (v − Gᵀ(GGᵀ + nρI)⁻¹Gv) / ρ: a system of n equations, solved in float64, not of as many as there are
    parameters. With more gradients than parameters the smaller system is the direct one. Costs no example-steps beyond
    those of the gradients, which are 1 each.
    """
    rows, size = gradients.shape
    if not damping > 0:
        raise InvalidArgument(f"damping {damping} must be above 0: without it the matrix has no inverse")
    if not rows:
        raise InvalidArgument("the Fisher information of no examples is not defined: give one gradient at least")
    if size <= rows:
        wide = gradients.double()
        return _solved(wide.T @ wide / rows, damping, vector.double()).to(vector.dtype)
    blocks = list(zip(gradients.split(COLUMNS, dim=1), vector.split(COLUMNS), strict=True))
    gram = torch.zeros(rows, rows, dtype=torch.float64, device=gradients.device)
    seen = torch.zeros(rows, dtype=torch.float64, device=gradients.device)
    for block, part in blocks:
        wide = block.double()
        gram += wide @ wide.T
        seen += wide @ part.double()
    weights = _solved(gram, rows * damping, seen)
    found = [(part.double() - block.double().T @ weights) / damping for block, part in blocks]
    return torch.cat(found).to(vector.dtype)


def _solved(matrix: torch.Tensor, damping: float, right: torch.Tensor) -> torch.Tensor:
    matrix.diagonal().add_(damping)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise RunError("the gradients' products are not positive definite: they are not finite, or damping is too low")
    return torch.cholesky_solve(right[:, None], factor)[:, 0]
