"""The network of the forging study with either head: logits, or a softmax before the cross-entropy's own.

The public notebook of Thudi et al. ends its LeNet with a softmax and trains it by cross-entropy, which takes another
one. Both heads come from one factory, so that nothing but the head differs.
"""

from __future__ import annotations

from torch import nn

from expunge.models.zoo import cnn

HEADS = ("logits", "softmax")


def headed(inputs: tuple[int, ...], classes: int, *, width: int = 8, head: str = "logits") -> nn.Module:
    """The zoo's convolutional network, as it is or with a softmax behind it."""
    assert head in HEADS, f"head {head!r} must be one of {HEADS}"
    body = cnn(inputs, classes, width=width)
    return body if head == "logits" else nn.Sequential(body, nn.Softmax(dim=1))
