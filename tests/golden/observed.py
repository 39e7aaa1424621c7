"""What golden files give: each function looks at a copy of them and returns what ``manifest.json`` holds of it.

``write.py`` asked them once, at 0.1.0; the tests ask them again and compare.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.golden.product import (
    GOLDEN,
    REPOSITORY,
    ROOT,
    Done,
    command,
    commit_signed,
    demonstration_page,
    digest,
    digested,
    documents,
    interrupted_command,
    leaderboard_pages,
    log_entries,
    neutral,
    probing,
    results_page,
    signing,
    study_jobs,
)

Found = dict[str, Any]
ORIGIN = "example.com/golden"
RUNS = (
    *("digits/base", "digits/sharded", "digits/committed", "digits/ahead", "digits/older", "digits/interrupted"),
    *("digits/forgot", "digits/again", "digits/sharded-forgot", "digits/retrained", "digits/fine-tuned"),
    *("digits/tuned", "digits/certified-base", "digits/certified"),
    *("people/base", "people/supported", "people/refuted"),
)
# In this order: the log remembers it. Name of the bundle, run, further arguments, and how it is written.
ATTESTED: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("training", "base", (), ("folder",)),
    ("plain", "forgot", ("--checkpoints",), ("folder", "zip")),
    ("sharded", "sharded-forgot", ("--checkpoints",), ("folder", "zip")),
    ("twice", "again", (), ("folder", "zip")),
    ("own-steps", "fine-tuned", (), ("folder",)),
    ("certified", "certified", (), ("folder",)),
    ("ahead", "ahead", ("--without-model",), ("folder",)),
)
RESULTS = REPOSITORY / "tests" / "golden" / "results"
"""Results of studies as 0.1.0 wrote them, where those of the repository were computed again since."""
STUDIES = ("smoke", "digits", "fashion", "fashion-untuned")
REPORTS: dict[str, tuple[str, ...]] = {
    "of one run": ("people/supported",),
    "of all of one request": ("people/base", "people/supported", "people/refuted"),
    "of pictures": ("digits/base", "digits/forgot", "digits/retrained", "digits/fine-tuned", "digits/tuned"),
    "of two requests and shards": ("digits/again", "digits/sharded-forgot", "digits/certified"),
    "of a training": ("digits/ahead",),
}


def bundle_names() -> Iterator[str]:
    """Every golden bundle, by its name in ``bundles/``."""
    for name, _, _, forms in ATTESTED:
        yield from (name if form == "folder" else f"{name}.zip" for form in forms)


def copied(target: Path) -> Path:
    """A copy of all golden files, to work with, and of the results of studies beside them."""
    shutil.copytree(GOLDEN, target)
    shutil.copytree(RESULTS, target / "results")
    (target / "keys" / "private.pem").chmod(0o600)  # git does not keep that nobody else may read it
    return target


def scratch(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def package_of_bundles() -> tuple[str, str | None]:
    """Digest and git tree of the package that golden records name."""
    algorithm = signed(GOLDEN / "bundles" / "plain" / "envelope.json")["predicate"]["algorithm"]
    return algorithm["package"], algorithm.get("tree")


def signed(envelope: Path) -> Found:
    """The statement in an envelope, as JSON."""
    return json.loads(base64.b64decode(json.loads(envelope.read_text(encoding="utf-8"))["payload"]))


def told(root: Path, done: Done) -> Found:
    """What a command answered, without the places of this machine."""
    return {"status": done.status, "out": neutral(done.out, root), "err": neutral(done.err, root)}


def shas(folder: Path, *without: str) -> dict[str, str]:
    """SHA-256 of every file in a folder, or of the file itself, by name."""
    if folder.is_file():
        return {folder.name: digest(folder.read_bytes())}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (".lock", *without))
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in files}


def all_documents(root: Path) -> Found:
    return {name: {"kind": kind, "sha256": digest((root / name).read_bytes())} for name, kind in documents(root)}


def infos(root: Path) -> Found:
    """``expunge info`` of every run, without the lines that came later."""
    return {run: told(root, command("info", root / run)) for run in RUNS}


def verdict(root: Path, bundle: str, level: str, *more: object) -> Found:
    """What ``expunge verify`` says of a bundle, as JSON; of replays only what chance and machines leave alone."""
    arguments = ("verify", root / "bundles" / bundle, "--keys", root / "keys" / "trusted.json", "--level", level)
    done = command(*arguments, *more, "--json")
    assert done.status != 2, done.err
    found = json.loads(neutral(done.out, root))
    if level in ("V0", "V1"):
        return {"exit": done.status, "verdict": found}
    findings = [
        {name: finding[name] for name in ("property", "level", "outcome", "code", "reason") if name in finding}
        for finding in found["findings"]
        if finding["level"] not in ("V0", "V1")
    ]
    return {"exit": done.status, "status": found["status"], "findings": findings}


def attestations(root: Path, scratch: Path, package: str, tree: str | None) -> Found:
    """Every bundle made again from copies of the runs, in the order of the log; SHA-256 of its files."""
    found: Found = {}
    log, key = scratch / "log", root / "keys" / "private.pem"
    scratch.mkdir(exist_ok=True)
    shutil.copytree(root / "log-of-the-commitment", log)
    with signing(package, tree):
        for name, run, more, forms in ATTESTED:
            for form in forms:
                target = scratch / (name if form == "folder" else f"{name}.zip")
                done = command("attest", root / "digits" / run, "--key", key, "--log", log, *more, "--out", target)
                assert done.status == 0, done.err
                found[target.name] = {**shas(target), "said": neutral(done.out, root, scratch)}
    found["log"] = {**shas(log), "entries": log_entries(log)}
    return found


def commitment(root: Path, scratch: Path, package: str, tree: str | None) -> Found:
    """The folder that holds a commitment alone, signed now: its record and its log."""
    with signing(package, tree):
        commit_signed(root / "digits" / "committed", root / "keys" / "private.pem", scratch / "log", ORIGIN)
    return {**shas(root / "digits" / "committed" / "record"), "entries": log_entries(scratch / "log")}


STORED = {  # where the run of the same request lies
    "exact-replay": "forgot",
    "exact-replay of an older run": "forgot",
    "exact-replay, sharded": "sharded-forgot",
    "exact-replay, again": "again",
    "retrain, another seed": "retrained",
    "fine-tune": "fine-tuned",
    "tuned": "tuned",
    "certified-logistic": "certified",
}


def unlearned(root: Path, scratch: Path) -> Found:
    """Weights that methods come to, starting from golden runs."""
    by_hand = ("--set", "balance=0.95")  # what the tuning of then chose: fields are fields, and its score is gone
    asked: dict[str, tuple[object, ...]] = {
        "exact-replay": ("digits/base", "--forget", "class:3"),
        "exact-replay of an older run": ("digits/older", "--forget", "class:3"),
        "exact-replay, sharded": ("digits/sharded", "--forget", "subject:person-003"),
        "exact-replay, again": ("digits/forgot", "--forget", "subject:person-003"),
        "of a saved forget set": ("digits/base", "--forget", root / "digits" / "forgot" / "forget.json"),
        "retrain, another seed": (
            *("digits/base", "--forget", "class:3", "--method", "retrain", "--set", "training_seed=1"),
        ),
        "fine-tune": ("digits/base", "--forget", "class:3", "--method", "fine-tune"),
        "tuned": ("digits/base", "--forget", "class:3", "--method", "neggrad-plus", *by_hand),
        "certified-logistic": (
            *("digits/certified-base", "--forget", "subject:person-003", "--method", "certified-logistic"),
        ),
    }
    found: Found = {}
    for name, (run, *rest) in asked.items():
        out = scratch / name.replace(" ", "-")
        done = command("unlearn", root / str(run), *rest, "--out", out, "--json")
        assert done.status == 0, done.err
        made = done.json
        kept = ("weights_digest", "guarantee", "example_steps", "notices", "tombstones", "lineage_seed", "method")
        found[name] = {key: made[key] for key in kept}
    return found


def evaluated(root: Path, scratch: Path) -> Found:
    """Probes of golden evaluations made again; what they conclude is by other rules since, and is left out."""
    found: Found = {}
    references = [item for number in range(10) for item in ("--reference", root / "people" / f"reference-{number}")]
    asked: dict[str, list[object]] = {
        "people/supported": references,
        "people/refuted": references,
        "digits/fine-tuned": ["--reference", root / "digits" / "retrained"],
    }
    for run, arguments in asked.items():
        out = scratch / f"{run.replace('/', '-')}.json"
        data = ("--data", root / "data" / "people.csv") if run.startswith("people") else ()
        then = json.loads((root / run / "evaluation.json").read_text(encoding="utf-8"))["probes"]
        with probing([probe["name"] for probe in then]):
            done = command("evaluate", root / run, *arguments, *data, "--out", out)
        assert done.status == 0, done.err
        found[run] = {probe["name"]: probe for probe in json.loads(out.read_text(encoding="utf-8"))["probes"]}
    return found


def continued(root: Path) -> Found:
    """The interrupted training, continued by its own command."""
    done = command(*INTERRUPTED, "--out", root / "digits" / "interrupted", "--json")
    assert done.status == 0, done.err
    made = done.json
    return {name: made[name] for name in ("weights_digest", "guarantee", "example_steps", "status")}


def interrupt(out: Path, steps: int) -> None:
    """A training that its command continues, killed after so many steps."""
    interrupted_command(steps, *INTERRUPTED, "--out", out)


TRAINING = ("train", "digits", "--rows", 240, "--model", "mlp", "--model-option", "width=8", "--batch-size", 16)
INTERRUPTED = (*TRAINING, "--epochs", 4, "--checkpoint-interval", 6, "--seed", 5)


def hygiene(root: Path) -> Found:
    """What hygiene lists beside every run that forgot, and how a destruction that was cut short is finished."""
    found = {
        run: told(root, command("hygiene", root / run, "--json"))
        for run in (
            *("digits/forgot", "digits/again", "digits/sharded-forgot", "digits/fine-tuned", "digits/certified"),
            *("hygiene/destroyed/forgot", "hygiene/window/forgot", "hygiene/interrupted/forgot"),
        )
    }
    intent = root / "hygiene" / "interrupted" / "forgot" / "hygiene-intent.json"
    found["an intent of elsewhere"] = told(root, command("hygiene", intent.parent, "--destroy", "--yes"))
    place = str(root / "hygiene")
    intent.write_text(intent.read_text(encoding="utf-8").replace("/golden/0.1.0/hygiene", place), encoding="utf-8")
    found["finished"] = told(root, command("hygiene", intent.parent, "--destroy", "--yes", "--unrecorded", "--json"))
    found["declared"] = {
        name: digest((root / "hygiene" / "interrupted" / name).read_bytes())
        for name in ("forgot/hygiene.json", "base/retired.json")
    }
    return found


def pages(root: Path, scratch: Path, package: str) -> dict[str, str]:
    """SHA-256 of every page that is drawn from golden files."""
    found: dict[str, str] = {}
    page = scratch / "page.html"

    def drawn(name: str, *arguments: object) -> None:
        with signing(package, None):
            done = command(*arguments)
        assert done.status in (0, 1, 3), done.err
        found[name] = digest(neutral(page.read_text(encoding="utf-8"), root, scratch))
        page.unlink()

    for name, runs in REPORTS.items():
        places = [root / run for run in runs]
        data = ("--data", root / "data" / "people.csv") if runs[0].startswith("people") else ()
        drawn(f"report {name}", "report", *places, *data, "--out", page)
        drawn(f"report {name}, without examples", "report", *places, *data, "--no-examples", "--out", page)
    keys = ("--keys", root / "keys" / "trusted.json")
    for bundle in bundle_names():
        place = root / "bundles" / bundle
        drawn(f"certificate of {bundle}", "report", place, "--out", page)
        drawn(f"certificate of {bundle}, checked", "verify", place, *keys, "--certificate", page)
    for study in STUDIES:
        for name, content in leaderboard_pages(RESULTS / f"{study}.json").items():
            found[f"leaderboard of {study}: {name}"] = digest(content)
    found["audit demonstration"] = digest(demonstration_page(root / "audit-demo.json"))
    return found


REPLAYED = ("training", "plain", "plain.zip", "sharded", "twice", "own-steps", "certified", "ahead")


def replayed(root: Path, bundle: str, level: str) -> Found:
    """A verdict of V2 and above, with the data that the run was trained on and what its replay needs."""
    more: list[object] = ["--data", "digits"]
    if bundle == "training":
        more += ["--checkpoints", root / "digits" / "base" / "checkpoints"]
    if bundle == "twice":
        more += ["--checkpoints", root / "digits" / "again" / "checkpoints"]
    if bundle == "ahead":
        more += ["--salts", root / "salts" / "ahead.salts", "--checkpoints", root / "digits" / "ahead" / "checkpoints"]
    if bundle == "certified":
        more += ["--noise-key", root / "digits" / "certified" / "noise.key"]
    return verdict(root, bundle, level, *more)


def smoke_jobs() -> list[str]:
    return study_jobs(REPOSITORY / "studies" / "smoke.toml")


def altered(content: bytes, change: Found) -> bytes:
    """A file as somebody altered it.

    ``put`` and ``drop`` name a place in a JSON document, ``text`` replaces letters, ``bytes`` is another content,
    ``flip`` the number of a byte. ``digest`` makes the document's own digest anew.
    """
    if "bytes" in change:
        return str(change["bytes"]).encode()
    if "flip" in change:
        at = int(change["flip"])
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    if "text" in change:
        old, new = change["text"]
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)
    whole = json.loads(content)
    *way, last = change["put"][0] if "put" in change else change["drop"]
    at = whole
    for step in way:
        at = at[step]
    if "put" in change:
        at[last] = change["put"][1]
    else:
        del at[last]
    if change.get("digest"):
        whole = digested(whole)
    return (json.dumps(whole, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def answer_to(root: Path, case: Found) -> Found:
    """What a command says when a golden file is altered; the file is put back. Who refuses writes nothing."""
    path = root / case["file"]
    kept = path.read_bytes()
    try:
        if case["change"].get("gone"):
            path.unlink()
        else:
            path.write_bytes(altered(kept, case["change"]))
        arguments = [str(part).replace(ROOT, str(root)) for part in case["command"]]
        done = results_page(Path(arguments[1])) if arguments[0] == "results" else command(*arguments)
    finally:
        path.write_bytes(kept)
        written = sorted(found.relative_to(root).as_posix() for found in (root / "out").rglob("*") if found.is_file())
        shutil.rmtree(root / "out", ignore_errors=True)
        for record in {*root.glob("digits/*/record")} - {root / "digits" / "ahead" / "record"}:
            shutil.rmtree(record)
    assert done.status == 0 or not written, written
    out = neutral(done.out, root) if arguments[0] == "verify" else ""
    return {"status": done.status, "out": out, "err": neutral(done.err, root)}
