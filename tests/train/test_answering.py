"""Raw rows in, answers out: a run answers rows from outside as it answers its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Refused
from tests.train import elsewhere
from tests.train.elsewhere import FACTORY, MEAN, SCALE, STD
from tests.train.visits import HEADER, RAW, ROWS, trained, written

import expunge
from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import Dataset
from expunge.data.encoding import bucket
from expunge.data.splits import Split
from expunge.train.call import train
from expunge.train.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("answering"))


def by_hand(run: Run, rows: Dataset) -> np.ndarray:
    """Probabilities of encoded rows, one by one."""
    model, encoded = run.model(), run.recipe.inputs.encode(rows)
    with torch.no_grad():
        outputs = [model(torch.from_numpy(encoded[at : at + 1])).double()[0] for at in range(len(encoded))]
    odds = [[float(value.exp() / output.exp().sum()) for value in output] for output in outputs]
    return np.array(odds)


def test_raw_rows_are_answered_as_the_run_answers_its_holdout(run: Run, tmp_path: Path) -> None:
    holdout = run.data()[Split.HOLDOUT]
    raw = [row for row in ROWS if row[0] in holdout.ids]
    told = run.predict(written(tmp_path / "raw.csv", raw, RAW))
    assert told.ids == holdout.ids == tuple(row[0] for row in raw)
    np.testing.assert_allclose(told.probabilities, by_hand(run, holdout), rtol=0, atol=1e-6)
    assert np.array_equal(told.probabilities, run.predict(holdout).probabilities)
    assert np.array_equal(told.probabilities, expunge.predict(run.path, tmp_path / "raw.csv").probabilities)
    assert set(told.labels) <= {"old", "young"}
    right = sum(label == row[-1] for label, row in zip(told.labels, raw, strict=True))
    figure = run.score(written(tmp_path / "labelled.csv", raw, (*RAW, "outcome")))["accuracy"]
    assert figure == right / len(raw) == expunge.score(run, holdout)["accuracy"]


def test_rows_that_no_training_saw(run: Run, tmp_path: Path, refused: Refused) -> None:
    assert bucket("town", "Rom", 32) != bucket("town", "Ulm", 32)
    strange = [("v900", "30", "Rom", "nothing known", "p9", "never heard")]
    told = run.predict(written(tmp_path / "strange.csv", strange, HEADER))  # a strange label is not looked at
    assert told.ids == ("v900",)
    positional = run.predict(written(tmp_path / "no-ids.csv", ROWS[:3], ("age", "note", "town")))
    assert positional.ids == ("row-0", "row-1", "row-2")
    with refused(InvalidArgument, "no column 'visit'", "`id`"):
        run.predict(tmp_path / "no-ids.csv", id="visit")
    with refused(DataError, "misses column 'note'", "trained on"):
        run.predict(written(tmp_path / "less.csv", ROWS[:3], ("age", "town")))
    with refused(DataError, "line 3", "'age' holds an empty cell", "(1 such rows): fill it or remove the row"):
        run.predict(written(tmp_path / "hole.csv", [ROWS[0], ("v1", "", *ROWS[1][2:])], HEADER))
    with refused(DataError, "holds no rows"):
        run.predict(written(tmp_path / "none.csv", [], HEADER))
    with refused(DataError, "'never heard' is not among the classes old, young"):
        run.score(tmp_path / "strange.csv")
    with refused(InvalidArgument, "no column 'outcome' to use as label"):
        run.score(tmp_path / "no-ids.csv")


def test_arrays_and_images_without_labels(tmp_path: Path, pictures: Dataset, refused: Refused) -> None:
    from PIL import Image

    pixels = pictures.content["image"]
    np.savez(tmp_path / "rows.npz", x=pixels, y=pictures.labels, ids=np.array(pictures.ids))
    run = train(tmp_path / "rows.npz", out=tmp_path / "run", model="mlp", epochs=1)
    own = run.predict(tmp_path / "rows.npz")
    np.savez(tmp_path / "raw.npz", x=pixels[:9], ids=np.array(pictures.ids[:9]))
    raw = run.predict(tmp_path / "raw.npz")
    assert raw.ids == pictures.ids[:9]
    np.testing.assert_allclose(raw.probabilities, own.probabilities[:9], rtol=0, atol=1e-6)
    named = run.predict((pixels[:9], np.zeros(9)), id=list(pictures.ids[:9]))
    assert named.ids == raw.ids
    with refused(DataError, "has no array 'y'"):
        run.score(tmp_path / "raw.npz")
    for at, picture in enumerate(pixels[:40]):
        folder = tmp_path / "known" / f"class-{at % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{at:02d}.png")
    seen = train(tmp_path / "known", out=tmp_path / "seen", model="mlp", epochs=1)
    (tmp_path / "new").mkdir()
    for at in (1, 0):
        Image.fromarray(pixels[at]).save(tmp_path / "new" / f"{at}.png")
    told = seen.predict(tmp_path / "new")
    assert told.ids == ("0.png", "1.png")
    known = seen.predict(tmp_path / "known")
    at = [known.ids.index(f"class-{row}/{row:02d}.png") for row in range(2)]
    np.testing.assert_allclose(told.probabilities, known.probabilities[at], rtol=0, atol=1e-6)
    (tmp_path / "nothing").mkdir()
    with refused(DataError, "holds no images"):
        seen.predict(tmp_path / "nothing")


def test_an_adopted_model_answers_as_its_owner_prepares_rows(tmp_path: Path, pictures: Dataset) -> None:
    rows = elsewhere.as_arrays(pictures)
    model = elsewhere.small_cnn((1, 8, 8), 3).eval()
    data = elsewhere.as_npz(rows, tmp_path / "rows.npz")
    run = expunge.adopt(model, data, model=FACTORY, scale=SCALE, mean=MEAN, std=STD, out=tmp_path / "adopted")
    np.savez(tmp_path / "raw.npz", x=rows.content["x"][:20])
    with torch.no_grad():
        theirs = torch.softmax(model(elsewhere.prepared(rows)[:20]).double(), dim=1).numpy()
    np.testing.assert_allclose(run.predict(tmp_path / "raw.npz").probabilities, theirs, rtol=0, atol=1e-6)
