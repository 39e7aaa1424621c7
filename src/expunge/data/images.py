"""Images: a folder with one folder per class, and the rules by which any images become one array."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.labels import spelled_classes
from expunge.data.wording import one_line

if TYPE_CHECKING:
    from expunge.data.source import Source

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
NOT_OURS = frozenset({"thumbs.db", "desktop.ini"})
GREY = frozenset({"1", "L"})
COLOUR = frozenset({"RGB", "RGBA", "P", "PA", "LA", "La", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})


def read(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """Rows in the order of their relative paths, which are their ids; a class is the name of a top folder.

    Files below a class's folder belong to it at any depth. ``subject="prefix"`` takes the file name up to its first
    ``_`` or ``-`` as the person, whatever the class; without it every image is a person of its own. Pixels are taken
    as they are decoded: the first frame, no turning by metadata, no transparency.
    """
    root = Path(source.location)
    if source.subject not in (None, "prefix"):
        raise InvalidArgument(
            f"`subject` {source.subject} cannot be used with a folder of images: it has no columns; say `subject` "
            "prefix to take the file name up to its first _ or - as the person, or leave it out"
        )
    paths = _paths(root)
    if not paths:
        raise DataError(
            f"{root} holds no images: one folder per class is expected, with {', '.join(ENDINGS)} files inside"
        )
    paths = paths[: source.taken(len(paths), again=columns is not None)]
    column, pixels = stack(
        "image",
        [str(root / path) for path in paths],
        lambda row: root / paths[row],
        source.image_size,
        columns,
        str(root),
    )
    return make_dataset(
        labels=spelled_classes([path.split("/", 1)[0] for path in paths], classes),
        columns=(column,),
        content={"image": pixels},
        ids=paths,
        subjects=[_prefix(path, root) for path in paths] if source.subject else None,
        classes=classes,
        where=source.shown,
    )


def read_raw(source: Source, columns: tuple[Column, ...], classes: tuple[int | str, ...]) -> Dataset:
    """Images for a model to answer, at any depth of a folder, in the order of their relative paths, which are ids."""
    root = Path(source.location)
    paths = _paths(root, in_classes=False)
    if not paths:
        raise DataError(f"{root} holds no images: files that end in {', '.join(ENDINGS)} are expected")
    paths = paths[: source.taken(len(paths), again=True)]
    shown = [str(root / path) for path in paths]
    column, pixels = stack("image", shown, lambda row: root / paths[row], source.image_size, columns, str(root))
    return make_dataset(
        labels=[classes[0]] * len(paths),
        columns=(column,),
        content={"image": pixels},
        ids=paths,
        classes=classes,
        where=source.shown,
    )


def stack(
    name: str,
    shown: Sequence[str],
    opened: Callable[[int], Path | bytes],
    size: int | None,
    columns: tuple[Column, ...] | None,
    where: str,
) -> tuple[Column, np.ndarray]:
    """Decode images into (n, height, width) when all are grey, else (n, height, width, 3); all of one size.

    ``shown`` names each image in errors. With ``size`` every image is resized to size × size by Pillow's bilinear
    filter, which computes in integers and gives the same bytes everywhere.
    """
    if columns is None:
        heads = [_with(opened(row), shown[row], _head) for row in range(len(shown))]
        side = (size, size) if size else heads[0][0]
        shape = side if all(mode in GREY for _, mode in heads) else (*side, 3)
        column = Column(name, ColumnKind.IMAGE, shape, "HW" if len(shape) == 2 else "HWC", 1 / 255)
    else:
        column = _known(name, columns, where)
    pixels = np.empty((len(shown), *column.shape), dtype=np.uint8)
    for row, image in enumerate(shown):
        pixels[row] = _with(
            opened(row), image, lambda found, image=image: _pixels(found, image, column, size, shown[0])
        )
    return column, pixels


def _known(name: str, columns: tuple[Column, ...], where: str) -> Column:
    column = next((column for column in columns if column.name == name), None)
    if column is None or column.kind is not ColumnKind.IMAGE or column.layout not in ("HW", "HWC"):
        raise DataError(
            f"{where} holds images in column {name!r}, the recipe was made for {[column.name for column in columns]}: "
            "give the data that the run was trained on"
        )
    return column


def _with(opened: Path | bytes, shown: str, use: Callable[[Any], Any]) -> Any:
    """Open an image, use it, close it; whatever Pillow finds wrong is said with the image's name."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(opened) if isinstance(opened, bytes) else opened) as image:
                return use(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"image {shown} is too large to be decoded ({one_line(error)}): make it smaller first"
        ) from None
    except ExpungeError:
        raise
    except Exception as error:  # whatever a decoder makes of broken bytes
        raise DataError(f"image {shown} could not be decoded ({one_line(error)}): replace it or remove it") from error


def _head(image: Any) -> tuple[tuple[int, int], str]:
    return (int(image.height), int(image.width)), str(image.mode)


def _pixels(image: Any, shown: str, column: Column, size: int | None, first: str) -> np.ndarray:
    from PIL import Image

    if image.mode not in GREY | COLOUR:
        raise DataError(f"image {shown} has pixels of mode {image.mode}, at most 8 bits each are read: save it with 8")
    height, width = column.shape[:2]
    image = image.convert("L" if column.layout == "HW" else "RGB")
    if size is not None:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if (image.height, image.width) != (height, width):
        raise DataError(
            f"image {shown} is {image.width}×{image.height} pixels, {first} is {width}×{height}: all need one size, "
            f"say `image_size` N (for example {min(width, height)}) to resize them to N×N"
        )
    return np.asarray(image, dtype=np.uint8)


def _paths(root: Path, *, in_classes: bool = True) -> list[str]:
    """Relative paths of all images, sorted; files that would be left out without a word are refused by name.

    Each lies in the folder of its class, unless nobody asks for classes.
    """
    paths: list[str] = []
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        link = next((name for name in folders if Path(folder, name).is_symlink()), None)
        if link is not None:
            raise DataError(f"{Path(folder, link)} is a link to a folder, which is not followed: put the folder there")
        inside = Path(folder) != root
        for name in files:
            path = Path(folder, name).relative_to(root).as_posix()
            if name.startswith(".") or name.lower() in NOT_OURS:
                continue
            is_image = name.lower().endswith(ENDINGS)
            if is_image and not inside and in_classes:
                raise DataError(f"image {path} lies in {root} itself: every image needs the folder of its class")
            if inside and not is_image:
                raise DataError(
                    f"{path} in {root} is not an image that can be read ({', '.join(ENDINGS)}): convert it or move "
                    "it away"
                )
            if is_image:
                _check_text(path, root)
                paths.append(path)
    return sorted(paths)


def _check_text(path: str, root: Path) -> None:
    """A path is an id, and ids are text."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"image {path!a} in {root} has a name that is not UTF-8: rename it") from None


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename} could not be read ({error.strerror or error}): check its rights") from None


def _prefix(path: str, root: Path) -> str:
    name = path.rsplit("/", 1)[-1]
    ends = [at for at in (name.find("_"), name.find("-")) if at > 0]
    if not ends:
        raise DataError(
            f"image {path} in {root} has no person before a _ or - in its name, which `subject` prefix needs: rename "
            "it like person_1.png"
        )
    return name[: min(ends)]
