"""A document of one's own: written, read back, refused with its place, and cleared of forgotten rows.

python examples/own_document.py [FOLDER]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from expunge.core.errors import DataError
from expunge.core.files import write_text
from expunge.records import documents
from expunge.records.document import Document, read_document, write_document
from expunge.records.documents import declared, redacted
from expunge.records.holds import Holds, listed
from expunge.records.scalars import Name, Share


@dataclass(frozen=True, kw_only=True)
class Doubts(Document):
    """doubts.json: training rows whose labels somebody doubts."""

    FORMAT: ClassVar[str] = "expunge/doubts/1"
    NAME: ClassVar[str] = "doubts.json"
    HOLDS: ClassVar[Holds] = listed("rows whose labels are doubted", "they are named one by one", "rows")

    by: Name
    share: Share
    rows: tuple[int, ...]

    def check(self, where: str) -> None:
        """A row is doubted once."""
        if len(set(self.rows)) != len(self.rows):
            raise DataError(f"{where} rows names a row twice: it was altered")


GOLDEN = """{
 "by": "an annotator",
 "format": "expunge/doubts/1",
 "rows": [
  3,
  8
 ],
 "share": 0.25
}
"""


def main(folder: Path) -> None:
    documents.DOCUMENTS += (Doubts,)  # in the package: its row in records/documents.py
    doubts = read_document(Doubts, GOLDEN.encode(), Doubts.NAME)
    assert write_document(doubts) == GOLDEN
    for altered in (GOLDEN.replace("0.25", "2.5"), GOLDEN.replace("8", "3")):
        try:
            read_document(Doubts, altered.encode(), Doubts.NAME)
        except DataError as refusal:
            print(refusal)
    named = declared(Doubts.NAME)
    assert named is not None
    write_text(folder / Doubts.NAME, GOLDEN)
    print(f"hygiene lists {named.what}, since {named.holds.why}, and leaves:")
    print(redacted(folder / Doubts.NAME))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
