"""What was found of data when they were read for the first time, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from expunge.core.wording import clean
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.data.encoding import Encoding, words_of
from expunge.data.source import Source

NAMED = {
    ColumnKind.IMAGE: "image",
    ColumnKind.ARRAY: "array",
    ColumnKind.NUMERIC: "numeric",
    ColumnKind.DATE: "date (as days)",
    ColumnKind.CATEGORY: "categorical",
    ColumnKind.TEXT: "text",
}
MOST_NAMES = 12  # of the columns of one kind
SEPARATORS = {"\t": "tab"}


def tell_of(tell: Callable[[str], object] | None, dataset: Dataset, source: Source, encoding: Encoding) -> None:
    """The same to who wants to know it."""
    if tell is not None:
        for sentence in told_of(dataset, source, encoding):
            tell(sentence)


def told_of(dataset: Dataset, source: Source, encoding: Encoding) -> list[str]:
    """Which columns are of which kind, how a text file was read, and which columns share their buckets."""
    labels = "labels are numbers" if dataset.of_numbers else f"{len(dataset.classes)} classes"
    sentences = [f"columns: {kinds_of(dataset.columns)}; {labels}"]
    written = [
        f"{name} {SEPARATORS.get(value, repr(value))}"
        for name in ("separator", "decimal")
        if (value := getattr(source, name)) is not None
    ]
    if written:
        sentences.append(f"the file was read with {' and '.join(written)}")
    marks = sum(column.kind is ColumnKind.INDICATOR for column in dataset.columns)
    if marks:
        sentences.append(f"missing values of {marks} columns come in as 0, each with a column that marks them")
    return sentences + [said for column in dataset.columns if (said := _shared(dataset, column, encoding))]


def kinds_of(columns: Sequence[Column]) -> str:
    """Which columns are of which kind."""
    return "; ".join(
        f"{word} {_listed([column.name for column in columns if column.kind is kind])}"
        for kind, word in NAMED.items()
        if any(column.kind is kind for column in columns)
    )


def classes_of(classes: Sequence[int | str]) -> str:
    """How many classes there are, and what they are called; none where labels are numbers."""
    if not classes:
        return "none: labels are numbers"
    return f"{len(classes)}: {_listed([str(name) for name in classes])}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(clean(name, 40) for name in names[:MOST_NAMES])
    return shown + (f" … ({len(names)} of them)" if len(names) > MOST_NAMES else "")


def _shared(dataset: Dataset, column: Column, encoding: Encoding) -> str | None:
    """That words share buckets, where there are more of them."""
    if column.kind is ColumnKind.CATEGORY:
        words, buckets, argument = set(dataset.content[column.name]), encoding.category_buckets, "category_buckets"
    elif column.kind is ColumnKind.TEXT:
        words = {word for text in dataset.content[column.name] for word in words_of(text)}
        buckets, argument = encoding.text_buckets, "text_buckets"
    else:
        return None
    if len(words) <= buckets:
        return None
    return (
        f"column {clean(column.name, 40)!r} has {len(words):,} different words, which share {buckets:,} buckets: those "
        f"of one bucket look alike to the model; `{argument}` {1 << (2 * len(words) - 1).bit_length()} keeps most apart"
    )
