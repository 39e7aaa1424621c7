"""Methods written by following the documentation pass every contract test without any other change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_documented_methods_keep_the_contract() -> None:
    both = "soft-ascent or capped-ascent"
    words = ["-p", "tests.methods.own_method", "tests/methods/test_contract.py", "-k", both, "-q", "-n", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) > 30


def test_it_is_twenty_lines() -> None:
    """As printed on the page, without imports and blank lines."""
    page = (ROOT / "docs" / "writing-a-method.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    lines = [line for line in block.group(1).splitlines() if line.strip() and not line.startswith(("from", "import"))]
    assert len(lines) <= 20
