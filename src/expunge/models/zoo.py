"""A small zoo: mlp, cnn and resnet18 (CIFAR stem), with dropout and a choice of normalisation; and linear."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.models.dropout import AddressedDropout
from expunge.models.linear import linear

NORMS = ("none", "batch", "group")


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels)
    return nn.Identity()


def _check_options(dropout: float, norm: str, width: int) -> None:
    if not 0 <= dropout < 1:
        raise InvalidArgument(f"dropout {dropout} must lie in [0, 1)")
    if norm not in NORMS:
        raise InvalidArgument(f"norm {norm!r} must be one of {', '.join(NORMS)}")
    if not 1 <= width <= 65536:
        raise InvalidArgument(f"width {width} must be a whole number from 1 to 65536")


def mlp(
    inputs: tuple[int, ...], classes: int, *, width: int = 128, depth: int = 1, dropout: float = 0.0, norm: str = "none"
) -> nn.Module:
    """``depth`` hidden layers of ``width`` rectified units."""
    _check_options(dropout, norm, width)
    if not 1 <= depth <= 64:
        raise InvalidArgument(f"depth {depth} must be a whole number from 1 to 64")
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(inputs)
    for _ in range(depth):
        layers.append(nn.Linear(size, width))
        if norm != "none":
            layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.GroupNorm(math.gcd(width, 8), width))
        layers.append(nn.ReLU())
        if dropout:
            layers.append(AddressedDropout(dropout))
        size = width
    layers.append(nn.Linear(size, classes))
    return nn.Sequential(*layers)


def cnn(
    inputs: tuple[int, ...], classes: int, *, width: int = 16, dropout: float = 0.0, norm: str = "none"
) -> nn.Module:
    """Two 3×3 convolutions, each followed by a 2×2 pooling, and two dense layers."""
    _check_options(dropout, norm, width)
    channels, height, rows = _image(inputs, "cnn", least=4)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, padding=1, bias=norm == "none"),
        _norm(norm, width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1, bias=norm == "none"),
        _norm(norm, 2 * width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (rows // 4), 4 * width),
        nn.ReLU(),
    ]
    if dropout:
        layers.append(AddressedDropout(dropout))
    layers.append(nn.Linear(4 * width, classes))
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, 1×1 where the shape changes (He et al., 2016)."""

    def __init__(self, before: int, after: int, stride: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.first_norm = _norm(norm, after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = _norm(norm, after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), _norm(norm, after))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first_norm(self.first(inputs)))
        return torch.relu(self.second_norm(self.second(hidden)) + self.shortcut(inputs))


def resnet18(
    inputs: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.0, norm: str = "batch"
) -> nn.Module:
    """ResNet-18 with the stem for small images: one 3×3 convolution, no pooling before the blocks."""
    _check_options(dropout, norm, width)
    channels, _, _ = _image(inputs, "resnet18", least=1)
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), _norm(norm, width), nn.ReLU()]
    before = width
    for index, after in enumerate((width, 2 * width, 4 * width, 8 * width)):
        layers.append(_ResidualBlock(before, after, 1 if index == 0 else 2, norm))
        layers.append(_ResidualBlock(after, after, 1, norm))
        before = after
    layers.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    if dropout:
        layers.append(AddressedDropout(dropout))
    layers.append(nn.Linear(before, classes))
    return nn.Sequential(*layers)


def _image(inputs: tuple[int, ...], name: str, least: int) -> tuple[int, int, int]:
    if len(inputs) != 3:
        raise InvalidArgument(f"model {name} takes images, the data has rows of shape {inputs}: use `model` mlp")
    channels, height, width = inputs
    if min(height, width) < least:
        raise InvalidArgument(f"model {name} needs images of {least}×{least} at least, got {height}×{width}")
    return channels, height, width


ZOO: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "cnn": cnn, "resnet18": resnet18, "linear": linear}


def draw_weights(model: nn.Module, stream: Stream) -> None:
    """Weights of dense and convolution layers from a stream, in state-dict order; biases 0, norms the identity.

    Uniform in ±√(6 / fan-in) (He et al., 2015), for the last layer ±√(1 / fan-in), so that training starts near
    even odds. Each draw is a float32 with 24 bits, scaled once.
    """
    weighted = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                bound = math.sqrt((1.0 if module is weighted[-1] else 6.0) / fan_in)
                draws = torch.from_numpy(stream.uniform(module.weight.numel()))
                module.weight.copy_(((2.0 * draws - 1.0) * bound).reshape(module.weight.shape))
                if module.bias is not None:
                    module.bias.zero_()
