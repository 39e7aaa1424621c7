"""Linear systems in a matrix that is only known by its products (Hestenes & Stiefel, 1952)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from expunge.core.errors import InvalidArgument, RunError
from expunge.train.curvature.products import Product


@dataclass(frozen=True)
class Solution:
    """What was found, and how well it solves the system."""

    vector: torch.Tensor
    iterations: int
    products: int  # with the matrix; each has its price in example-steps
    residual: float  # ‖b − (A + ρI)x‖ / ‖b‖, computed anew at the end
    converged: bool  # residual within twice the tolerance: rounding parts it from the one that is carried along


def conjugate_gradient(
    product: Product, right: torch.Tensor, *, damping: float = 0.0, tolerance: float = 1e-6, most: int = 100
) -> Solution:
    """x with (A + ρI) x = b, for a symmetric A whose ``product(v)`` is A v; A + ρI must be positive definite.

    Stops when the residual is within ``tolerance`` of b, relative, or after ``most`` iterations. Costs one product an
    iteration and one to check the residual.
    """
    if damping < 0 or tolerance < 0 or most < 0:
        raise InvalidArgument(f"damping {damping}, tolerance {tolerance} and most {most} must not be negative")
    found = torch.zeros_like(right)
    size = float(right.norm())
    if size == 0:
        return Solution(found, 0, 0, 0.0, True)
    rest = right.clone()
    direction, square = rest, rest.dot(rest)
    iterations = 0
    while iterations < most and float(square.sqrt()) > tolerance * size:
        image = product(direction) + damping * direction
        curvature = direction.dot(image)
        if not float(curvature) > 0:
            raise RunError(
                f"the matrix is not positive definite: curvature {float(curvature):.3g} at iteration {iterations}, "
                f"with damping {damping:g}; raise the damping, or use Gauss–Newton products"
            )
        step = square / curvature
        found = found + step * direction
        rest = rest - step * image
        before, square = square, rest.dot(rest)
        direction = rest + (square / before) * direction
        iterations += 1
    residual = float((right - product(found) - damping * found).norm()) / size
    return Solution(found, iterations, iterations + 1, residual, residual <= 2 * tolerance)
