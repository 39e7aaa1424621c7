"""What a verdict comes to for the people who asked: one word, the same on every page and in every table."""

from __future__ import annotations

from typing import Literal

OutcomeName = Literal["same", "recorded", "little left", "remembers", "too much", "broke", "unsaid"]
"""Same bits as never trained; exact by its record; bounded; still remembers; forgot too much; broke; cannot be said."""
