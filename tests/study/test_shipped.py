"""The shipped studies that need a GPU, downloaded pictures or chosen sets: the same path, with few rows on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.study.conftest import study

from expunge.attacks.worst import worst
from expunge.train.training import train

STUDIES = Path(__file__).parents[2] / "studies"


def pictures(path: Path, shape: tuple[int, ...], count: int) -> None:
    """Ten classes that can be learnt: a bright square where the class says, and noise."""
    draws = np.random.default_rng(0)
    y = np.arange(count) % 10
    x = draws.integers(0, 120, (count, *shape), dtype=np.uint8)
    for row, label in enumerate(y):
        top, left = 4 + 12 * (label // 5), 1 + 5 * (label % 5)
        x[row, top : top + 8, left : left + 5] = 250
    np.savez(path, x=x, y=y)


def shrunk(name: str, changes: dict[str, str]) -> str:
    text = (STUDIES / name).read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


def test_cifar10_resnet18_on_the_cpu(tmp_path: Path) -> None:
    """Every method, narrow and short: what runs there runs here, unchanged but for size and device."""
    pictures(tmp_path / "cifar10.npz", (32, 32, 3), 320)
    text = shrunk(
        "cifar10-resnet18.toml",
        {
            "rows = 56250": "rows = 320",
            'model = "resnet18"': 'model = "resnet18"\nmodel_options = { width = 4 }',
            "epochs = 30": "epochs = 2",
            "batch_size = 256": "batch_size = 64",
            'device = "cuda"': 'device = "cpu"',
            "seeds = [0, 1, 2]": "seeds = [1]",
            "references = 3": "references = 1",
        },
    )
    (tmp_path / "cifar10-resnet18.toml").write_text(text, encoding="utf-8")
    results = study(
        tmp_path / "cifar10-resnet18.toml", out=tmp_path / "out", data=str(tmp_path / "cifar10.npz"), engine="here"
    )
    (setting,) = results["settings"]
    assert (setting["training_rows"], setting["forgotten"], setting["model"]) == (256, 26, "resnet18")
    assert results["cost"]["failed"] == 0, results["problems"]
    refused = {row["method"] for row in setting["rows"] if row["seeds"][0]["status"] == "refused"}
    assert refused == {"certified-logistic", "impair-repair", "light-perturbation"}  # 16 rows for calibration
    done = [row for row in setting["rows"] if row["seeds"][0]["status"] == "done"]
    assert all(row["figures"]["test-accuracy"]["n"] == 1 for row in done)
    assert {row["guarantee"] for row in done} == {"Empirical(no test passed yet)"}  # the speed profile earns no more
    spent = [row["figures"]["cost"]["mean"] for row in done if row["tuning"]["state"] != "takes no budget"]
    assert max(spent) <= 0.1 + 1e-9


def test_fashion_with_tuning(tmp_path: Path) -> None:
    pictures(tmp_path / "fashion-mnist.npz", (28, 28), 400)
    text = shrunk(
        "fashion.toml",
        {
            "rows = 10000": "rows = 400",
            'model = "cnn"': 'model = "cnn"\nmodel_options = { width = 2 }',
            "epochs = 20": "epochs = 2",
            "trials = 30": "trials = 2",
            'methods = "all"': 'methods = ["retrain", "scrub", "boundary-shrink", "neural-tangent-kernel"]',
            "seeds = [0, 1, 2]": "seeds = [0]",
            "references = 8": "references = 1",
        },
    )
    (tmp_path / "fashion.toml").write_text(text, encoding="utf-8")
    results = study(
        tmp_path / "fashion.toml", out=tmp_path / "out", data=str(tmp_path / "fashion-mnist.npz"), engine="here"
    )
    assert results["cost"]["failed"] == 0, results["problems"]
    states = {row["method"]: row["tuning"]["state"] for row in results["settings"][0]["rows"]}
    assert states == {
        "retrain": "takes no budget",
        "scrub": "tuned",
        "boundary-shrink": "tuned",
        "neural-tangent-kernel": "nothing to tune",
    }


def test_random_against_worst(tmp_path: Path) -> None:
    base = train("digits", out=tmp_path / "base", model="mlp", model_options={"width": 8}, epochs=2, seed=100)
    changes = {
        "epochs = 20": "epochs = 2",
        'model = "mlp"': 'model = "mlp"\nmodel_options = { width = 8 }',
        'methods = "all"': 'methods = ["retrain", "fine-tune"]',
        "seeds = [0, 1, 2]": "seeds = [0]",
        "references = 6": "references = 1",
    }
    for objective in ("hidden", "distant"):
        worst(base, size="10%", objective=objective, out=tmp_path / f"{objective}.json")
        changes[f'"{objective}.json"'] = f'"{(tmp_path / objective).as_posix()}.json"'
    (tmp_path / "worst-small.toml").write_text(shrunk("worst-small.toml", changes), encoding="utf-8")
    results = study(tmp_path / "worst-small.toml", out=tmp_path / "out", engine="here")
    assert results["cost"]["failed"] == 0, results["problems"]
    assert [setting["forgotten"] for setting in results["settings"]] == [144, 144, 144]
