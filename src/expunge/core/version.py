"""Which release this is, and where its sources lie."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"
SOURCES = Path(__file__).resolve().parents[1]
