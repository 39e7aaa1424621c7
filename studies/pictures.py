"""Two well-known sets of pictures, as their publishers offer them, made into one file that `expunge train` reads.

    python -m studies.pictures FOLDER OUT.npz

FOLDER holds either the four idx files of MNIST, Fashion-MNIST and their like (train-images-idx3-ubyte,
train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each as it is or with .gz), or the "binary
version" of CIFAR-10 (data_batch_1.bin to data_batch_5.bin and test_batch.bin). The training rows come first, then the
test rows. Nothing is downloaded, and nothing that is pickled is read.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.core.files import write_with

IDX = tuple((f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k"))
IMAGES, LABELS = 0x00000803, 0x00000801  # two zero bytes, the type (8: bytes), the number of axes
CIFAR = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
ROW = 1 + 3 * 32 * 32
LARGEST = 2**31  # bytes of pictures in one file: a header that says more is not believed
CHUNK = 2**20
AGAIN = "fetch the file again"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    try:
        x, y = convert(options.folder, options.out)
    except ExpungeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(x):,} pictures of shape {x.shape[1:]} in {len(np.unique(y))} classes")
    return 0


def convert(folder: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read what a folder holds and write the arrays x and y; an existing file is not replaced."""
    if out.suffix != ".npz":
        raise InvalidArgument(f"{out} must end in .npz, which is what is written and how it is recognised: rename it")
    if out.exists():
        raise InvalidArgument(f"{out} is there already and is not replaced: remove it, or choose another name")
    x, y = pictures(folder)

    def writer(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.savez(handle, x=x, y=y)

    write_with(out, writer)
    return x, y


def pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as bytes, (n, height, width) or (n, 32, 32, 3), and their labels; training rows, then test rows."""
    if not folder.is_dir():
        raise InvalidArgument(f"{folder} is not a folder: name the one that holds the publisher's files")
    idx = any(_found(folder, name) for pair in IDX for name in pair)
    cifar = any((folder / name).is_file() for name in CIFAR)
    if idx and cifar:
        raise DataError(f"{folder} holds idx files and CIFAR-10 batches: put each set into a folder of its own")
    if not idx and not cifar:
        pickled = (folder / "data_batch_1").is_file()
        raise DataError(
            f"{folder} holds CIFAR-10's version for Python, which is pickled and never read because it can run code: "
            "fetch the binary version"
            if pickled
            else f"{folder} holds neither idx files ({IDX[0][0]}, …) nor batches of CIFAR-10 ({CIFAR[0]}, …): name the "
            "folder in which the publisher's files lie"
        )
    parts = [_idx_part(folder, *names) for names in IDX] if idx else [_cifar_part(folder / name) for name in CIFAR]
    shapes = list(dict.fromkeys(x.shape[1:] for x, _ in parts))
    if len(shapes) > 1:
        raise DataError(
            f"{folder} holds pictures of {shapes[0]} for training and of {shapes[1]} for testing: these files do not "
            "belong together"
        )
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _idx_part(folder: Path, images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = (_idx(_needed(folder, name), magic) for name, magic in ((images, IMAGES), (labels, LABELS)))
    if len(x) != len(y):
        raise DataError(
            f"{folder} has {len(x)} pictures in {images} and {len(y)} labels in {labels}: these files do not belong "
            "together"
        )
    return x, y


def _found(folder: Path, name: str) -> Path | None:
    places = (folder / name, folder / f"{name}.gz")
    return next((place for place in places if place.is_file()), None)


def _needed(folder: Path, name: str) -> Path:
    path = _found(folder, name)
    if path is None:
        raise DataError(f"{folder} has no {name} and no {name}.gz, which belongs to the set: put it there")
    return path


def _idx(path: Path, magic: int) -> np.ndarray:
    """An array of bytes, after its header was held against what follows: no false header allocates anything."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _idx_array(stream, path, magic)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} could not be read ({error}): {AGAIN}") from None


def _idx_array(stream: BinaryIO | gzip.GzipFile, path: Path, magic: int) -> np.ndarray:
    axes = magic & 0xFF
    header = stream.read(4 + 4 * axes)
    found = int.from_bytes(header[:4], "big")
    if len(header) < 4 or found != magic:
        what = "pictures" if magic == IMAGES else "labels"
        raise DataError(
            f"{path} begins with {header[:4].hex() or 'nothing'}, an idx file of {what} with {magic:08x}: {AGAIN}"
        )
    if len(header) < 4 + 4 * axes:
        raise DataError(f"{path} ends within its header of {4 + 4 * axes} bytes: {AGAIN}")
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    size = 1
    for length in shape:
        size *= length
    if not 0 < size <= LARGEST:
        raise DataError(
            f"{path} says that it holds {shape} bytes, at least 1 and at most {LARGEST:,} are read: {AGAIN}"
        )
    content = bytearray()
    while len(content) < size and (piece := stream.read(min(CHUNK, size - len(content)))):
        content += piece
    more = len(stream.read(1))
    if len(content) != size or more:
        there = f"more than {size:,}" if more else f"{len(content):,}"
        raise DataError(f"{path} says that {size:,} bytes follow its header and has {there}: {AGAIN}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _cifar_part(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch: for each row the label, then the red, the green and the blue plane, each by rows of pixels."""
    try:
        size = path.stat().st_size
        if size == 0 or size % ROW or size > LARGEST:
            raise DataError(
                f"{path} has {size:,} bytes, a batch has {ROW:,} for each picture and at most {LARGEST:,} in all: "
                f"{AGAIN}"
            )
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8).reshape(-1, ROW)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing, all of {CIFAR[0]} to {CIFAR[-1]} belong to the set: put it there"
        ) from None
    except OSError as error:
        raise DataError(f"{path} could not be read ({error.strerror or error}): {AGAIN}") from None
    labels = content[:, 0].copy()
    wrong = np.flatnonzero(labels > 9)
    if len(wrong):
        raise DataError(
            f"{path} has the label {labels[wrong[0]]} at picture {wrong[0]}, labels go from 0 to 9: it is no batch of "
            f"CIFAR-10; {AGAIN}"
        )
    return np.ascontiguousarray(content[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


if __name__ == "__main__":
    sys.exit(main())
