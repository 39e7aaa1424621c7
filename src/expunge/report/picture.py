"""A row's image as a tiny PNG inside the page. Written by hand and stored uncompressed: the same bytes everywhere."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from expunge.data.dataset import Column, ColumnKind

LARGEST_SIDE = 64
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2
LONGEST_BLOCK = 65535


def is_picture(column: Column) -> bool:
    """Whether rows of this column can be drawn: images, and real arrays laid out as one."""
    return column.kind in (ColumnKind.IMAGE, ColumnKind.ARRAY) and column.layout in ("HW", "HWC", "CHW")


def picture(values: np.ndarray, column: Column) -> str:
    """A data URI of one row, at most 64 pixels a side.

    Pixels are multiplied by the column's constant; real values are stretched to their own range.
    """
    pixels = _last_axis_channels(values, column).astype(np.float64)
    if column.kind is ColumnKind.IMAGE:
        pixels = pixels * (255.0 * column.scale)
    else:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) * (255.0 / (high - low)) if high > low else np.zeros_like(pixels)
    eight = np.clip(np.floor(_reduced(pixels) + 0.5), 0, 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(eight)).decode("ascii")


def _last_axis_channels(values: np.ndarray, column: Column) -> np.ndarray:
    """(height, width, 1 or 3); transparency is left out."""
    if column.layout == "HW":
        values = values[:, :, None]
    elif column.layout == "CHW":
        values = values.transpose(1, 2, 0)
    return values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """Means over blocks, so that the longer side has at most 64 pixels."""
    longest = max(pixels.shape[:2])
    if longest <= LARGEST_SIDE:
        return pixels
    for side in (0, 1):
        size = pixels.shape[side]
        target = max(1, size * LARGEST_SIDE // longest)
        starts = np.arange(target) * size // target
        counts = np.diff(np.append(starts, size)).reshape((-1, 1, 1) if side == 0 else (1, -1, 1))
        pixels = np.add.reduceat(pixels, starts, axis=side) / counts
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """8-bit grey or colour PNG of (height, width, 1 or 3)."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, GREY if channels == 1 else COLOUR, 0, 0, 0)
    lines = b"".join(b"\x00" + pixels[line].tobytes() for line in range(height))
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(lines)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _stored(content: bytes) -> bytes:
    """A zlib stream of stored blocks: compressors differ between versions, this does not."""
    blocks = [content[at : at + LONGEST_BLOCK] for at in range(0, len(content), LONGEST_BLOCK)]
    parts = [b"\x78\x01"]
    for index, block in enumerate(blocks):
        last = index == len(blocks) - 1
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"".join([*parts, struct.pack(">I", zlib.adler32(content))])
