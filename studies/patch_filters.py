"""The filters of the patch map: real patches of scikit-learn's two public photographs, whitened by them.

    python -m studies.patch_filters            writes src/expunge/models/features/filters.npz and prints its SHA-256

Made once: the file is part of the package, and its digest stands in ``models/features/patches.py``. Another decoder of
JPEG or another library of linear algebra may round an entry to its neighbour.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np
from sklearn.datasets import load_sample_images

from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.models.features.patches import FILTERS, FLAT, SIDE, contrasts

SEED = sha256(b"expunge/patch-filters/1")
SMALLER = 2  # the photographs are made smaller by so much: small pictures have more in a patch
PATCHES = 20_000
RIDGE = 0.1  # added to the variances before they are divided by
COUNTS = {"grey": 455, "colour": 1023}  # what the widest maps take
PLAIN = 4.0  # patches whose contrast is within so many times the root of FLAT are no filters


def photographs() -> dict[str, list[np.ndarray]]:
    """Grey and coloured, (channels, height, width), each pixel the mean of a square."""
    found: dict[str, list[np.ndarray]] = {"grey": [], "colour": []}
    for image in load_sample_images().images:
        high, wide = (size // SMALLER * SMALLER for size in image.shape[:2])
        square = image[:high, :wide].reshape(high // SMALLER, SMALLER, wide // SMALLER, SMALLER, 3).astype(np.float64)
        colour = square.mean(axis=(1, 3)).transpose(2, 0, 1)
        found["colour"].append(np.rint(colour))
        found["grey"].append(np.rint(np.tensordot([0.299, 0.587, 0.114], colour, 1))[None])
    return found


def drawn(pictures: list[np.ndarray], name: str) -> np.ndarray:
    """(entries, patches): as many from each picture, at places that a stream draws, none twice."""
    each = PATCHES // len(pictures)
    parts = []
    for index, picture in enumerate(pictures):
        windows = np.lib.stride_tricks.sliding_window_view(picture, (SIDE, SIDE), axis=(1, 2))
        down, across = windows.shape[1:3]
        places = np.argsort(Stream(SEED, name, 0, index).words(down * across), kind="stable")[:each]
        parts.append(windows[:, places // across, places % across].transpose(0, 2, 3, 1).reshape(-1, each))
    order = np.argsort(Stream(SEED, f"{name}-order").words(PATCHES), kind="stable")
    return np.concatenate(parts, axis=1)[:, order]


def whitened(patches: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Filters of 8 bits and zero sum, and one standard deviation of what patches have of them, in their units."""
    contrast = contrasts(patches.astype(np.float32)).astype(np.float64)
    normal = (patches - patches.mean(axis=0)) / contrast
    values, vectors = np.linalg.eigh(normal @ normal.T / PATCHES)
    whitening = vectors / np.sqrt(np.maximum(values, 0) + RIDGE) @ vectors.T
    lively = np.flatnonzero(contrast > PLAIN * np.sqrt(FLAT))[:count]
    directions = whitening @ normal[:, lively]
    exact = (whitening @ (directions / np.linalg.norm(directions, axis=0))).T
    exact -= exact.mean(axis=1, keepdims=True)
    scale = 126 / np.abs(exact).max()
    return np.array([of_zero_sum(row * scale) for row in exact]), round(scale * float((exact @ normal).std()))


def of_zero_sum(exact: np.ndarray) -> np.ndarray:
    """Rounded to whole numbers; those whose rounding was farthest off are moved by one until the sum is 0."""
    found = np.rint(exact)
    off = int(found.sum())
    moved = np.argsort(np.sign(off) * (exact - found), kind="stable")[: abs(off)]
    found[moved] -= np.sign(off)
    return found.astype(np.int8)


def written(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays as a file of NumPy, without a date."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            one = io.BytesIO()
            np.save(one, values)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue())
    return content.getvalue()


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, pictures in photographs().items():
        found, unit = whitened(drawn(pictures, name), COUNTS[name])
        arrays |= {name: found, f"{name}_unit": np.array(unit)}
    FILTERS.write_bytes(written(arrays))
    print(sha256(FILTERS.read_bytes()).hex())


if __name__ == "__main__":
    main()
