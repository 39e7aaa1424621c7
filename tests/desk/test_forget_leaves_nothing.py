"""After ``forget`` with ``yes`` no file of either folder holds a forgotten row, whatever was planted there."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.data.dataset import Dataset
from expunge.data.forget_set import choose
from expunge.data.splits import Split
from expunge.desk.forget import forget
from expunge.hygiene.holdings import digests_of, inside_of
from expunge.records.tensors import TENSORS
from expunge.train.call import train
from expunge.train.run import Run

CANARY = "canary-7f3a91c2"  # a word that nobody else has
SECRET = 61.8033988  # a number that nobody else has


STEPS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shards": 2, "slices": 2, "checkpoint_interval": 2}


@pytest.fixture(scope="module", params=["mlp", "naive-bayes", "forest"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A table of notes in which one person's are planted; forests take no notes, and know them by their number."""
    place, draw, model = tmp_path_factory.mktemp("canary"), random.Random(5), request.param
    lines = ["name,amount,label" if model == "forest" else "name,amount,label,note"]
    for row in range(60):
        mine = row % 12 == 5
        words = CANARY if mine else " ".join(draw.choice(("red", "blue", "green")) for _ in range(3))
        amount = SECRET if mine else draw.randint(0, 99)
        line = f"person-{row % 12},{amount},{'yes' if row % 3 else 'no'}"
        lines.append(line if model == "forest" else f"{line},{words}")
    (place / "notes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = {"label": "label", "subject": "name", "model": model, **(STEPS if model == "mlp" else {})}
    return train(str(place / "notes.csv"), out=place / "base", **said)


def rows_of(run: Run) -> tuple[Dataset, np.ndarray]:
    train_rows = run.data()[Split.TRAIN]
    chosen = choose(["subject:person-5"], train_rows, root=run.root.hex(), forgotten=run.tombstones)
    return train_rows, chosen.slots


def found_in(folders: list[Path], run: Run) -> list[str]:
    """Every file that holds the canary, the row's numbers in any form, or weights and states that saw them."""
    _rows, slots = rows_of(run)
    numbers = [np.array([SECRET], kind).tobytes() for kind in ("<f4", "<f8", ">f4", ">f8")]
    needles = [CANARY.encode(), CANARY.encode("utf-16-le"), str(SECRET).encode(), *numbers]
    tainted = digests_of(run, slots)
    hits: list[str] = []
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()):
        content = path.read_bytes()
        digest = inside_of(path)[1] if path.suffix == TENSORS else None
        if digest in tainted or any(needle in content for needle in needles):
            hits.append("/".join(path.parts[-2:]))
    return hits


def reading(run: Run) -> str:
    """Answers to every row, as measuring keeps them."""
    name = f"reading-rows-{'0' * 16}{TENSORS}"
    from safetensors.numpy import save_file

    save_file({"rows": np.array([SECRET, 1.0], np.float32)}, run.path / name)
    return name


def stray(run: Run) -> str:
    """A copy of the weights that somebody laid aside."""
    shutil.copy(run.path / "model.safetensors", run.path / "old.safetensors")
    return "old.safetensors"


def left(run: Run) -> str:
    """What a killed process was writing."""
    (run.path / f".rows.json.{'0' * 16}.part").write_text(CANARY)
    return f".rows.json.{'0' * 16}.part"


PLANTED: dict[str, Callable[[Run], str]] = {"reading": reading, "stray": stray, "left": left}


def planted(told: Run, tmp_path: Path) -> tuple[Run, list[str]]:
    shutil.copytree(told.path, tmp_path / "runs" / "base")
    run = Run.open(tmp_path / "runs" / "base")
    return run, [plant(run) for plant in PLANTED.values()]


def test_nothing_is_found_afterwards(told: Run, tmp_path: Path) -> None:
    """Every kind of state has a planted holding, and the test finds each of them before."""
    run, names = planted(told, tmp_path)
    before = found_in([run.path], run)
    for name in (*names, "model.safetensors"):
        assert f"base/{name}" in before
    assert any(hit.startswith("checkpoints/") for hit in before)
    done = forget(run, "subject:person-5", guarantee="exact", yes=True, unrecorded=True)
    assert done.fully
    assert found_in([run.path, done.run.path], run) == []


def test_without_hygiene_the_same_test_finds_them(told: Run, tmp_path: Path) -> None:
    run, _names = planted(told, tmp_path)
    before = found_in([run.path], run)
    done = forget(run, "subject:person-5", guarantee="exact")
    assert not done.fully
    after = found_in([run.path, done.run.path], run)
    assert set(before) <= set(after)


@pytest.mark.parametrize("kind", PLANTED)
def test_each_planted_holding_is_listed(told: Run, tmp_path: Path, kind: str) -> None:
    shutil.copytree(told.path, tmp_path / "runs" / "base")
    run = Run.open(tmp_path / "runs" / "base")
    name = PLANTED[kind](run)
    done = forget(run, "subject:person-5", guarantee="exact", unrecorded=False)
    assert run.path / name in {holding.path for holding in done.found.holdings}
