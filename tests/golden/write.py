"""Wrote the golden files of 0.1.0, once, with the code as it was then; they are never written again.

    python -m tests.golden.write files /golden/0.1.0   # documents and runs, in a folder that nobody has
    mv /golden/0.1.0 tests/golden/0.1.0
    python -m tests.golden.write bundles                # bundles and log, from copies of the runs
    python -m tests.golden.write manifest               # what each of them gives

A later release that wants golden files of its own writes them into a folder of its own name.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.golden import observed
from tests.golden.product import (
    GOLDEN,
    REPOSITORY,
    ROOT,
    command,
    digest,
    environment_there,
    interrupted_destruction,
    package_now,
    tree_now,
)

BASE = (*observed.TRAINING, "--epochs", 4, "--checkpoint-interval", 6)
PERSON = "subject:person-003"
CLASS = "class:3"
CENTRES = np.array([[1, 1, 0, 0], [-1, 1, 0, 0], [0, -1, 1, 0], [0, -1, -1, 1]]) * 1.2


def said(*arguments: object, folder: Path | None = None) -> None:
    done = command(*arguments, folder=folder)
    if done.status != 0:
        raise SystemExit(f"{arguments}: {done.err}")


def without(folder: Path, *names: str) -> None:
    """Leave out what no test needs."""
    for name in names:
        for path in folder.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_people(path: Path) -> None:
    drawn = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    lines = ["id,person,a,b,c,d,kind"]
    for row in range(1000):
        values = CENTRES[row % 4] + drawn.normal(size=4)
        numbers = ",".join(f"{value:.3f}" for value in values)
        lines.append(f"row-{row:03d},person-{row // 8:02d},{numbers},{'abcd'[row % 4]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_digits(root: Path) -> None:
    folder, key = root / "digits", root / "keys" / "private.pem"
    base, sharded = folder / "base", folder / "sharded"
    said(*BASE, "--out", base)
    said(
        *observed.TRAINING,
        *("--epochs", 2, "--shards", 2, "--slices", 2, "--checkpoint-interval", 20),
        "--out",
        sharded,
    )
    said("unlearn", base, "--forget", CLASS, "--out", folder / "forgot")
    said("unlearn", folder / "forgot", "--forget", PERSON, "--case", "2026-0017", "--out", folder / "again")
    said("unlearn", sharded, "--forget", PERSON, "--out", folder / "sharded-forgot")
    again = ("--method", "retrain", "--set", "training_seed=1", "--trace", "gradients")
    said("unlearn", base, "--forget", CLASS, *again, "--out", folder / "retrained")
    said("unlearn", base, "--forget", CLASS, "--method", "fine-tune", "--out", folder / "fine-tuned")
    tuning = root / "tuning"
    said(
        "tune",
        base,
        "--method",
        "neggrad-plus",
        "--method",
        "fine-tune",
        "--kind",
        "class",
        "--trials",
        3,
        "--out",
        tuning,
    )
    without(tuning, "twin-*")
    tuned = ("--method", "neggrad-plus", "--tuned", tuning / "tuning.json")
    said("unlearn", base, "--forget", CLASS, *tuned, "--out", folder / "tuned")
    convex = ("--model", "linear", "--task", "logistic", "--epochs", 300, "--batch-size", 1000, "--rate", 4)
    convex += ("--weight-decay", 0.01, "--calendar", "constant", "--perturbation", 2, "--checkpoint-interval", 100)
    said("train", "digits", "--rows", 240, *convex, "--out", folder / "certified-base")
    certified = ("--method", "certified-logistic", "--out", folder / "certified")
    said("unlearn", folder / "certified-base", "--forget", PERSON, *certified)
    said(*BASE, "--seed", 7, "--commit-only", "--out", folder / "committed")
    ahead = (
        "--epochs",
        1,
        "--salts",
        root / "salts" / "ahead.salts",
        "--checkpoint-interval",
        50,
        "--out",
        folder / "ahead",
    )
    log = root / "log-of-the-commitment"
    said(*observed.TRAINING, *ahead, "--commit-only", "--key", key, "--log", log, "--origin", observed.ORIGIN)
    beacon = root / "data" / "beacon.txt"
    beacon.write_text(json.dumps({"source": "drand", "value": "ab" * 32, "round": 4242}) + "\n", encoding="utf-8")
    said(*observed.TRAINING, *ahead, "--beacon", beacon)
    observed.interrupt(folder / "interrupted", steps=20)
    said("evaluate", folder / "fine-tuned", "--reference", folder / "retrained")
    older = shutil.copytree(base, folder / "older")
    told = json.loads((older / "run.json").read_text(encoding="utf-8"))
    del told["trace"], told["beacon_described"]
    (older / "run.json").write_text(
        json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8"
    )
    for name in ("tuned", "retrained"):
        without(folder / name, "checkpoints", "trace")


def write_people_runs(root: Path) -> None:
    """Runs whose evaluations come to Supported and Refuted."""
    folder, data = root / "people", root / "data"
    columns = ("--label", "kind", "--id", "id", "--subject", "person")
    said("train", "people.csv", *columns, "--model", "linear", "--epochs", 20, "--out", folder / "base", folder=data)
    asked = ("--forget", "class:d", "--data", data / "people.csv")
    said("unlearn", folder / "base", *asked, "--out", folder / "supported")
    said("unlearn", folder / "base", *asked, "--method", "fine-tune", "--out", folder / "refuted")
    references: list[object] = []
    for number in range(10):
        reference = folder / f"reference-{number}"
        again = ("--method", "retrain", "--set", f"training_seed={number + 1}", "--trace", "off")
        said("unlearn", folder / "base", *asked, *again, "--out", reference)
        references += ["--reference", reference]
    for run in ("supported", "refuted"):
        said("evaluate", folder / run, *references, "--data", data / "people.csv")
    for run in folder.iterdir():
        without(run, "checkpoints", "trace")
        if run.name.startswith("reference"):
            without(run, "leaves*.bin", "assignment.bin", "units.bin", "log.jsonl")


def write_hygiene(root: Path) -> None:
    """A destruction that was finished, one that waits for auditors, one that was cut short."""
    for name in ("destroyed", "window", "interrupted"):
        folder = root / "hygiene" / name
        small = ("--rows", 120, "--epochs", 1, "--checkpoint-interval", 4)
        said(*observed.TRAINING, *small, "--out", folder / "base")
        said("unlearn", folder / "base", "--forget", CLASS, "--out", folder / "forgot")
    hygiene = root / "hygiene"
    said("hygiene", hygiene / "destroyed" / "forgot", "--destroy", "--yes", "--unrecorded")
    said("hygiene", hygiene / "window" / "forgot", "--window", 3650)
    interrupted_destruction(hygiene / "interrupted" / "forgot", steps=2)
    assert (hygiene / "interrupted" / "forgot" / "hygiene-intent.json").is_file()


def write_bundles(root: Path) -> None:
    """From a copy of the runs, so that these stay unsigned."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "golden"
        shutil.copytree(root, copy)
        (copy / "keys" / "private.pem").chmod(0o600)
        observed.attestations(copy, Path(place) / "made", package_now(), tree_now())
        (root / "bundles").mkdir()
        for name in observed.bundle_names():
            made = Path(place) / "made" / name
            shutil.copytree(made, root / "bundles" / name) if made.is_dir() else shutil.copy(made, root / "bundles")
        shutil.copytree(Path(place) / "made" / "log", root / "log")


def write_store(root: Path) -> None:
    """How the jobs of the smoke study ended; their results would be too large."""
    with tempfile.TemporaryDirectory() as place:
        said("study", REPOSITORY / "studies" / "smoke.toml", "--out", Path(place) / "out")
        store = Path(place) / "out" / "store"
        for path in (store / "store.json", *sorted(store.glob("??/*/entry.json"))):
            target = root / "store" / path.relative_to(store)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def write_demonstration(root: Path) -> None:
    folder = root.parent / "audit-demo"
    done = command("audit-demo", "--out", folder, "--json")
    assert done.status == 0, done.err
    found = {name: value for name, value in done.json.items() if name != "report"}
    text = json.dumps(found, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
    (root / "audit-demo.json").write_text(text, encoding="utf-8")


def files(root: Path) -> None:
    root.mkdir(parents=True)
    said("keygen", "--out", root / "keys", "--name", observed.ORIGIN)
    write_people(root / "data" / "people.csv")
    write_digits(root)
    write_people_runs(root)
    write_hygiene(root)
    write_demonstration(root)
    write_store(root)
    for path in root.rglob(".lock"):
        path.unlink()


def cases() -> Iterator[dict[str, Any]]:
    """Golden files as somebody altered them, and what is called then."""
    base, forgot, certified = "digits/base/run.json", "digits/forgot/run.json", "digits/certified/run.json"
    unlearn = ["unlearn", f"{ROOT}/digits/base", "--forget", "class:4", "--out", f"{ROOT}/out/unlearned"]
    report = ["report", f"{ROOT}/digits/forgot", "--out", f"{ROOT}/out/report.html"]
    attest = ["attest", f"{ROOT}/digits/forgot", "--key", f"{ROOT}/keys/private.pem", "--out", f"{ROOT}/out/bundle"]
    attest += ["--origin", observed.ORIGIN, "--log", f"{ROOT}/out/log"]
    info = ["info", f"{ROOT}/digits/base"]
    evaluate = ["evaluate", f"{ROOT}/digits/fine-tuned", "--reference", f"{ROOT}/digits/retrained"]
    evaluate += ["--out", f"{ROOT}/out/evaluation.json"]

    def case(file: str, called: list[str], **change: Any) -> dict[str, Any]:
        return {"file": file, "change": change, "command": called}

    for called in (info, unlearn, [*report[:1], f"{ROOT}/digits/base", *report[2:]]):
        yield case(base, called, put=[["format"], "expunge/run/9"])
        yield case(base, called, drop=["format"])
        yield case(base, called, bytes="[]")
        yield case(base, called, bytes='{"format": "expunge/run/1", "format": "expunge/run/1"}')
        yield case(base, called, bytes='{"format": NaN}')
        yield case(base, called, gone=True)
    for called in (unlearn, [*report[:1], f"{ROOT}/digits/base", *report[2:]]):
        yield case(base, called, put=[["status"], "running"])
        yield case(base, called, put=[["status"], "committed"])
        yield case(base, called, put=[["recipe", "epochs"], 5])
        yield case(base, called, put=[["recipe", "batch_size"], "many"])
        yield case(base, called, put=[["recipe_digest"], "0" * 64])
        yield case(base, called, put=[["weights_digest"], "0" * 64])
    yield case(base, unlearn, put=[["beacon"], "11" * 32])
    yield case(base, unlearn, put=[["beacon_described", "source"], "drand"])
    yield case(base, unlearn, put=[["beacon_described", "strange"], 1])
    yield case(base, unlearn, put=[["trace"], "everything"])
    yield case(base, unlearn, put=[["data", "roots", "train"], "0" * 64])
    yield case(base, unlearn, put=[["data", "roots", "holdout"], "0" * 64])
    yield case("digits/base/leaves.bin", unlearn, flip=40)
    yield case("digits/base/assignment.bin", unlearn, flip=3)
    yield case("digits/base/model.safetensors", evaluate, flip=900)
    yield case("digits/base/model.safetensors", evaluate, gone=True)
    yield case("digits/base/checkpoints/shard-0-step-00000006.safetensors", unlearn, flip=900)
    yield case(forgot, report, put=[["guarantee"], {"kind": "empirical", "passed": ["mean-margin"]}])
    yield case(forgot, report, put=[["guarantee"], {"kind": "certain"}])
    yield case(forgot, report, put=[["tombstones"], [0.5]])
    yield case(forgot, report, put=[["tombstones"], [-1]])
    yield case(forgot, report, put=[["tombstones"], [2**31]])
    yield case(forgot, report, put=[["released"], {"train": [1]}])
    yield case(forgot, report, put=[["operation"], "adopt"])
    yield case(forgot, report, put=[["example_steps"], 1e300])
    yield case(forgot, report, put=[["example_steps"], "many"])
    yield case(forgot, report, put=[["weights_digest"], "0" * 63])
    yield case(forgot, attest, put=[["parent", "weights_digest"], "0" * 64])
    yield case(forgot, attest, put=[["status"], "running"])
    yield case("digits/forgot/forget.json", attest, put=[["slots"], [1, 2]])
    yield case("digits/forgot/forget.json", attest, drop=["slots"])
    yield case("digits/forgot/forget.json", attest, put=[["root"], "0" * 64])
    yield case("digits/forgot/trace/shard-0.bin", attest, flip=70)
    yield case("digits/forgot/checkpoints/shard-0-step-00000048.safetensors", attest, flip=900)
    yield case(certified, [*attest[:1], f"{ROOT}/digits/certified", *attest[2:]], put=[["guarantee", "epsilon"], 0.5])
    continued = [str(part) for part in (*observed.INTERRUPTED, "--out", f"{ROOT}/digits/interrupted")]
    yield case("digits/interrupted/run.json", [*continued, "--seed", "6"], put=[["note"], "not read"])
    yield case("digits/interrupted/run.json", [*continued, "--epochs", "5"], put=[["note"], "not read"])
    yield case("digits/interrupted/run.json", continued, put=[["environment", "torch"], "1.0.0"])
    committed = [str(part) for part in (*BASE, "--out", f"{ROOT}/digits/base", "--commit-only")]
    yield case(base, committed, put=[["note"], "not read"])
    yield case(base, [str(part) for part in (*BASE, "--out", f"{ROOT}/digits/base", "--seed", 9)], put=[["note"], ""])
    yield from evaluation_cases(case)
    yield from other_cases(case)


def evaluation_cases(case: Any) -> Iterator[dict[str, Any]]:
    file = "people/supported/evaluation.json"
    report = ["report", f"{ROOT}/people/supported", "--data", f"{ROOT}/data/people.csv"]
    report += ["--out", f"{ROOT}/out/report.html"]
    refuted = [report[0], f"{ROOT}/people/refuted", *report[2:]]
    yield case(file, report, put=[["format"], "expunge/evaluation/9"])
    yield case(file, report, drop=["format"])
    yield case(file, report, put=[["verdict", "verdict"], "refuted"])
    yield case(file, report, bytes="{}")
    for way, value in (
        (["verdict", "verdict"], "certain"),
        (["verdict", "p"], None),
        (["verdict", "p"], 1.5),
        (["probes", 0, "name"], "mean-margin"),
        (["probes", 0, "role"], "hope"),
        (["probes", 0, "direction"], "sideways"),
        (["probes", 0, "references"], []),
        (["probes", 0, "verdict", "verdict"], "undecided"),
        (["probes", 0, "unlearned", "low"], 1e300),
        (["probes", 0, "unlearned", "n"], 0),
        (["original", "weights_digest"], "0" * 64),
        (["weights_digest"], "0" * 64),
        (["references"], []),
        (["references", 0, "lineage_seed"], "seed"),
        (["method"], "scrub"),
        (["forget", "examples"], 3),
        (["forget", "share"], 1.5),
        (["forget", "rules"], ["class:a"]),
        (["guarantee"], {"kind": "empirical", "passed": []}),
        (["examples", 0, "slot"], 0),
        (["probes", 0, "name"], "a\u0007b"),
        (["probes", 0, "name"], "x" * 5000),
        (["verdict", "detail"], "\u202e"),
        (["tolerances_version"], -1),
    ):
        yield case(file, report, put=[way, value], digest=True)
    yield case(file, report, drop=["probes"], digest=True)
    yield case(
        *("people/refuted/evaluation.json", refuted),
        put=[["guarantee"], {"kind": "empirical", "passed": ["mean-margin"]}],
        digest=True,
    )
    yield case("people/supported/run.json", report, put=[["method", "name"], "retrain"])
    yield case("people/base/run.json", [report[0], f"{ROOT}/people/base", *report[2:]], put=[["parameters"], -1])


def other_cases(case: Any) -> Iterator[dict[str, Any]]:
    tuned = ["unlearn", f"{ROOT}/digits/base", "--forget", "class:4", "--method", "neggrad-plus"]
    tuned += ["--tuned", f"{ROOT}/tuning/tuning.json", "--out", f"{ROOT}/out/tuned"]
    tuning = "tuning/tuning.json"
    yield case(tuning, tuned, put=[["format"], "expunge/tuning/9"])
    yield case(tuning, tuned, put=[["seed"], 3])
    yield case(tuning, tuned, put=[["mode"], "guess"], digest=True)
    yield case(tuning, tuned, put=[["methods"], []], digest=True)
    yield case(tuning, tuned, drop=["methods", 0, "chosen"], digest=True)
    yield case(tuning, tuned, put=[["budget"], "half"], digest=True)
    saved = ["unlearn", f"{ROOT}/digits/base", "--forget", f"{ROOT}/digits/forgot/forget.json"]
    saved += ["--out", f"{ROOT}/out/saved"]
    forget = "digits/forgot/forget.json"
    for way, value in (
        (["format"], "expunge/forget-set/9"),
        (["root"], "0" * 64),
        (["slots"], []),
        (["slots"], [3, 2]),
        (["slots"], [1, 1]),
        (["slots"], [-1]),
        (["slots"], [10_000]),
        (["slots"], ["one"]),
        (["rules"], "class:3"),
    ):
        yield case(forget, saved, put=[way, value])
    destroyed = ["hygiene", f"{ROOT}/hygiene/destroyed/forgot"]
    declared = "hygiene/destroyed/forgot/hygiene.json"
    yield case(declared, destroyed, put=[["format"], "expunge/hygiene/9"])
    yield case(declared, destroyed, put=[["strange"], 1])
    yield case(declared, destroyed, put=[["retired", 0, "digest"], "0" * 63])
    yield case(declared, destroyed, put=[["window"], {"days": 0, "until": "2026-01-01T00:00:00Z"}])
    yield case(declared, destroyed, bytes="[]")
    retired = ["unlearn", f"{ROOT}/hygiene/destroyed/base", "--forget", CLASS, "--out", f"{ROOT}/out/retired"]
    yield case(declared, retired, put=[["strange"], 1])
    interrupted = ["hygiene", f"{ROOT}/hygiene/interrupted/forgot", "--destroy", "--yes", "--unrecorded"]
    intent = "hygiene/interrupted/forgot/hygiene-intent.json"
    yield case(intent, interrupted, put=[["format"], "expunge/hygiene-intent/9"])
    yield case(intent, interrupted, put=[["run"], "0" * 64])
    yield case(intent, interrupted, put=[["steps", 0, "path"], "/etc/passwd"])
    yield case(intent, interrupted, drop=["steps", 0, "remedy"])
    file = "results/smoke.json"
    called = ["results", f"{ROOT}/{file}"]
    yield case(file, called, put=[["format"], "expunge/study-results/9"])
    for way, value in (
        (["settings"], []),
        (["settings", 0, "rows", 0, "method"], "\u202e"),
        (["settings", 0, "rows", 0, "label"], "x" * 5000),
        (["settings", 0, "rows", 0, "verdicts"], {"supported": 9}),
        (["settings", 0, "rows", 0, "guarantee"], "certain"),
        (["settings", 0, "rows", 0, "seeds", 0, "status"], "hoped for"),
        (["settings", 0, "rows", 0, "figures", "cost"], {"mean": 1, "low": 2, "high": 3, "n": 2}),
        (["settings", 0, "rows", 0, "figures", "cost"], {"mean": 1, "n": 0}),
        (["settings", 0, "rows", 0, "figures", "cost", "mean"], 1e300),
    ):
        yield case(file, called, put=[way, value])
    yield case(file, called, drop=["settings", 0, "rows"])
    verify = ["verify", f"{ROOT}/bundles/plain", "--keys", f"{ROOT}/keys/trusted.json", "--level", "V1"]
    for file, change in (
        ("envelope.json", {"flip": 200}),
        ("commit.json", {"gone": True}),
        ("recipe.json", {"text": ['"epochs":4', '"epochs":5']}),
        ("leaves.bin", {"flip": 40}),
        ("leaves-holdout.bin", {"flip": 40}),
        ("assignment.bin", {"flip": 3}),
        ("units.bin", {"flip": 3}),
        ("trace.bin", {"flip": 70}),
        ("model.safetensors", {"flip": 900}),
        ("model.safetensors", {"gone": True}),
        ("log/checkpoint", {"flip": 30}),
    ):
        yield {"file": f"bundles/plain/{file}", "change": change, "command": verify}
    zipped = [verify[0], f"{ROOT}/bundles/plain.zip", *verify[2:]]
    for at in (0, 10, 200, 5000):
        yield {"file": "bundles/plain.zip", "change": {"flip": at}, "command": zipped}
    yield case("keys/trusted.json", verify, bytes="[]")
    yield case("keys/trusted.json", verify, text=["trusted-keys/1", "trusted-keys/9"])
    yield case("keys/trusted.json", verify, text=['"owner"', '"king"'])


def manifest() -> None:
    """What each golden file gives, asked of copies."""
    (GOLDEN / "manifest.json").unlink(missing_ok=True)
    place = Path(tempfile.mkdtemp())
    package, tree = observed.package_of_bundles()
    found: dict[str, Any] = {
        "version": "0.1.0",
        "environment": environment_there(GOLDEN / "digits" / "base"),
        "package": package,
        "tree": tree,
        "documents": observed.all_documents(GOLDEN),
        "results": {
            path.name: digest(path.read_bytes()) for path in sorted((REPOSITORY / "studies" / "results").glob("*.json"))
        },
        "smoke jobs": observed.smoke_jobs(),
    }
    root = observed.copied(place / "a")
    found["infos"] = observed.infos(root)
    found["verdicts"] = {
        bundle: {level: observed.verdict(root, bundle, level) for level in ("V0", "V1")}
        for bundle in observed.bundle_names()
    }
    found["replays"] = {
        bundle: {level: observed.replayed(root, bundle, level) for level in ("V2", "V3", "V4")}
        for bundle in observed.REPLAYED
    }
    found["pages"] = observed.pages(root, observed.scratch(place / "pages"), package)
    found["evaluations"] = observed.evaluated(root, observed.scratch(place / "evaluations"))
    found["unlearned"] = observed.unlearned(root, observed.scratch(place / "unlearned"))
    found["continued"] = observed.continued(root)
    root = observed.copied(place / "b")
    found["attestations"] = observed.attestations(root, observed.scratch(place / "attested"), package, tree)
    found["commitment"] = observed.commitment(root, observed.scratch(place / "committed"), package, tree)
    root = observed.copied(place / "c")
    found["hygiene"] = observed.hygiene(root)
    root = observed.copied(place / "d")
    answers = ({**case, "answer": observed.answer_to(root, case)} for case in cases())
    found["refusals"] = [case for case in answers if case["answer"]["status"] != 0]  # some are not noticed
    text = json.dumps(found, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
    (GOLDEN / "manifest.json").write_text(text, encoding="utf-8")
    shutil.rmtree(place)


if __name__ == "__main__":
    match sys.argv[1]:
        case "files":
            files(Path(sys.argv[2]))
        case "bundles":
            write_bundles(GOLDEN)
        case _:
            manifest()
