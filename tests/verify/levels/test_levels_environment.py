"""What replay stands on: the same machine, trusted code, the noise key. Where one is missing, nothing is decided."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json
from tests.verify.levels.replaying import ORIGIN, finding_of, sealed, story_of, verified

import expunge.verify.levels.environment as environment
from expunge.adversary.table.story import RunStory
from expunge.core import entry_points
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.source import Source
from expunge.methods.unlearn import unlearn
from expunge.records.keys import KeyRole, SigningKey, write_trusted
from expunge.records.record import Environment, ProfileName
from expunge.records.trust import trust_digest
from expunge.records.verdict import Level, Status
from expunge.schedule.recipe import Profile
from expunge.train.perturbation import draw_noise
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.levels.environment import differences

PERSON = "subject:someone-03"
FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("environment") / "base", **FIELDS)


def elsewhere(story: RunStory, **fields: Any) -> RunStory:
    """The story whose environment says something else."""
    found: Environment = story.record.environment
    own = {name: value for name, value in fields.items() if hasattr(found, name)}
    rest = {name: value for name, value in fields.items() if name not in own}
    return story.changed(environment=replace(found, fingerprint={**found.fingerprint, **rest}, **own))


MACHINES: dict[str, tuple[dict[str, Any], str]] = {
    "oneDNN off": ({"onednn": False}, "onednn False there, True here"),
    "another release": ({"torch": "2.5.0"}, "torch '2.5.0' there"),
    "another loop": ({"loop_arithmetic": 0}, "loop arithmetic 0 there, 1 here"),
    "a variable": ({"variables": {"mkl_cbwr": "AVX2"}}, "variables.mkl cbwr 'AVX2' there, nothing here"),
    "another processor": ({"processor": "Z80"}, "processor 'Z80' there"),
    "another self-test": ({"self_test": bytes(32)}, "self test 0000000000000000… there"),
    "a truth that is a number": ({"onednn": 1}, "onednn 1 there, True here"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_another_machine_is_neither_fraud_nor_a_pass(
    machine: str, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Acceptance 18: undecided, the fields named, and what was reached is V1."""
    fields, said = MACHINES[machine]
    bundle = sealed(elsewhere(story_of(base, owner), **fields), owner, tmp_path)
    for level in ("V2", "V3", "V4"):
        verdict = verified(bundle, trusted, level, data=pictures)
        assert (verdict.status.exit_status, verdict.reached) == (3, Level.V1)
        found = finding_of(verdict, "environment")
        assert found.reason == "environment-mismatch"
        assert said in found.detail
        assert not [finding for finding in verdict.findings if finding.name in ("execution", "twin run")]


def test_another_process_with_other_settings_is_another_machine(
    tmp_path: Path, owner: SigningKey, pictures: Dataset
) -> None:
    """The same from outside: the command's own exit status under a setting that changes arithmetic."""
    rows = tmp_path / "rows.npz"
    np.savez(rows, x=pictures.content["image"], y=pictures.labels)
    run = train(Source(location=str(rows)), out=tmp_path / "run", **FIELDS)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    write_trusted(tmp_path / "trusted.json", (owner.trusted(ORIGIN, KeyRole.OWNER), owner.trusted(ORIGIN, KeyRole.LOG)))
    code = (
        "import sys, json; from expunge.verify.verify import verify\n"
        f"verdict = verify({str(bundle)!r}, keys={str(tmp_path / 'trusted.json')!r}, level='V2', data={str(rows)!r})\n"
        "print(json.dumps(verdict.as_json())); sys.exit(verdict.status.exit_status)"
    )
    settings = {"OMP_NUM_THREADS": "2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    plain = {name: value for name, value in os.environ.items() if name not in settings}

    def done(**given: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env={**plain, **given}, timeout=280)

    known = {name.lower() for name in settings} & set(run_json(run)["environment"]["variables"])
    assert done().returncode == (3 if known else 0)
    for name, value in settings.items():
        other = done(**{name: value})
        assert other.returncode == 3, other.stderr
        (found,) = [item for item in json.loads(other.stdout)["findings"] if item["property"] == "environment"]
        assert found["reason"] == "environment-mismatch"
        assert name.lower().replace("_", " ") in found["detail"]


def test_differences_are_found_wherever_they_are() -> None:
    here = {"a": 1, "b": {"c": "x", "d": None}}
    assert differences(here, here) == []
    assert differences(here, {"a": 1, "b": {"c": "y"}}) == [
        "b.c 'y' there, 'x' here",
        "b.d nothing there, None here",
    ]


def test_a_machine_that_does_not_repeat_itself_decides_nothing(
    base: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = sealed(story_of(base, owner), owner, tmp_path)
    monkeypatch.setattr(environment, "self_test", lambda *_: ("0" * 64, False))
    verdict = verified(bundle, trusted, "V2", data=pictures)
    assert verdict.status is Status.UNDECIDED
    assert finding_of(verdict, "environment").reason == "verifier-not-deterministic"


@pytest.mark.parametrize("how", ["tolerant", "threads"])
def test_runs_that_claim_no_bits_are_undecided(
    how: str, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    other: dict[str, Any] = {"profile": Profile.SPEED} if how == "tolerant" else {"threads": 2}
    run = train(pictures, out=tmp_path / "run", **{**FIELDS, "epochs": 1, "batch_size": 60}, **other)
    verdict = verified(sealed(story_of(run, owner), owner, tmp_path), trusted, "V2", data=pictures)
    assert (verdict.status, verdict.reached) == (Status.UNDECIDED, Level.V1)
    assert finding_of(verdict, "exactness").reason == ("tolerant-profile" if how == "tolerant" else "not-exact")


def test_a_tolerant_run_that_is_labelled_exact_is_found_by_its_bits(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Fixture 27: where profile and fingerprint were made consistent, other bits come out."""
    run = train(pictures, out=tmp_path / "run", **FIELDS, profile=Profile.SPEED)
    told = {"environment__profile": ProfileName.EXACT_CPU, "environment__not_exact": None}
    story = story_of(run, owner).changed(**told)
    verdict = verified(sealed(story, owner, tmp_path), trusted, "V2", data=pictures)
    assert verdict.status is not Status.ACCEPTED


OWN = """
import pathlib

from torch import nn

pathlib.Path({marker!r}).write_text("imported")


def factory(inputs, classes, width=7):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.{activation}(), nn.Linear(width, classes))
"""


def own_module(folder: Path, activation: str = "Tanh") -> Path:
    marker = folder / "imported.txt"
    (folder / "their_model.py").write_text(OWN.format(marker=str(marker), activation=activation), encoding="utf-8")
    return marker


@pytest.fixture
def their_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    own_module(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("their_model", None)


def test_code_that_is_not_built_in_runs_only_when_it_is_trusted(
    their_model: Path, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    run = train(pictures, out=tmp_path / "run", **{**FIELDS, "model": "their_model:factory"})
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    sources = run_json(run)["environment"]["factory"]
    digest = trust_digest("model", "their_model:factory", sources)
    marker = their_model / "imported.txt"

    def forgotten() -> None:
        sys.modules.pop("their_model", None)
        marker.unlink(missing_ok=True)

    forgotten()
    borrowed = trust_digest("model", "another_model:factory", sources)
    for trust in ((), ("ab" * 32,), (sources,), (borrowed,)):
        verdict = verified(bundle, trusted, "V2", data=pictures, trust=trust)
        found = finding_of(verdict, "code")
        assert (verdict.status, found.reason) == (Status.UNDECIDED, "code-not-trusted")
        assert digest in found.detail
        assert not marker.exists(), "it was imported before anybody trusted it"
        assert "their_model" not in sys.modules
    assert verified(bundle, trusted, "V3", data=pictures, trust=[digest.upper()]).status is Status.ACCEPTED
    assert marker.exists()
    forgotten()
    own_module(their_model, "Sigmoid")
    verdict = verified(bundle, trusted, "V2", data=pictures, trust=[digest])
    assert (verdict.status, finding_of(verdict, "code").reason) == (Status.UNDECIDED, "code-not-trusted")
    assert "install the very code that was trusted" in finding_of(verdict, "code").detail
    assert not marker.exists(), "it was imported although it is not what was trusted"
    assert "their_model" not in sys.modules
    forgotten()
    (their_model / "their_model.py").unlink()
    verdict = verified(bundle, trusted, "V2", data=pictures, trust=[digest])
    assert finding_of(verdict, "code").reason == "code-not-trusted"


def test_packages_above_a_model_run_only_when_they_are_what_was_trusted(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for a module inside a package would import the package; helpers inside the factory count as well."""
    package, ran = tmp_path / "code" / "their_package", tmp_path / "ran"
    package.mkdir(parents=True)
    texts = {
        "__init__": "",
        "models": "def factory(inputs, classes):\n    from their_package.blocks import made\n\n"
        "    return made(classes)\n",
        "blocks": "from torch import nn\n\ndef made(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(package.parent))
    run = train(pictures, out=tmp_path / "run", **{**FIELDS, "model": "their_package.models:factory"})
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    digest = trust_digest("model", "their_package.models:factory", run_json(run)["environment"]["factory"])

    def outcome() -> Any:
        for name in [name for name in sys.modules if name.startswith("their_package")]:
            sys.modules.pop(name)
        return finding_of(verified(bundle, trusted, "V2", data=pictures, trust=[digest]), "code").reason

    assert outcome() is None
    for name, text in texts.items():
        (package / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\n{text}")
        assert outcome() == "code-not-trusted", name
        assert not ran.exists()
        (package / f"{name}.py").write_text(text)
    assert outcome() is None


def test_a_name_that_could_be_imported_is_not_trusted_for_being_called_zoo(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """A record that calls somebody's factory built in, and one that trusts an empty digest."""
    run = train(pictures, out=tmp_path / "run", **FIELDS, model_options={"width": 9})
    for factory in ("zoo", ""):
        draft = elsewhere(story_of(run, owner), factory=factory)
        assert verified(sealed(draft, owner, tmp_path / (factory or "none")), trusted, "V2", data=pictures).codes == ()


def test_somebody_elses_method_runs_only_when_it_is_trusted(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No entry point is loaded before; and where other weights come out, nobody vouched for the method's bits."""
    from examples.own_method import SoftAscent

    asked: list[str] = []

    class Offered(EntryPoint):
        def load(self) -> Any:
            asked.append(self.name)
            return super().load()

    offered = Offered("soft-ascent", "examples.own_method:SoftAscent", "expunge.methods")
    another = Offered("another", "no_such_module:Method", "expunge.methods")
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [another, offered])
    run = unlearn(base, PERSON, method=SoftAscent(), out=tmp_path / "run", data=pictures, budget=0.5)
    draft = story_of(run, owner)
    sources = draft.record.algorithm.source.hex()  # type: ignore[union-attr]
    digest = trust_digest("method", "soft-ascent", sources)
    bundle = sealed(draft, owner, tmp_path)
    asked.clear()
    for trust in ((), ("ab" * 32,), (sources,), (trust_digest("model", "soft-ascent", sources),)):
        found = finding_of(verified(bundle, trusted, "V2", data=pictures, trust=trust), "code")
        assert (found.reason, asked) == ("code-not-trusted", [])
        assert digest in found.detail
    given = {"data": pictures, "trust": [digest], "checkpoints": base.path}
    assert verified(bundle, trusted, "V3", **given).status is Status.ACCEPTED
    assert set(asked) == {"soft-ascent"}, "another method was loaded, which nobody trusted"
    stronger = draft.changed(algorithm__fields={**draft.record.algorithm.fields, "strength": 7.0})
    other = verified(sealed(stronger, owner, tmp_path / "other"), trusted, "V2", **given)
    assert (other.status, finding_of(other, "method").reason) == (Status.UNDECIDED, "not-exact")


NOISY: dict[str, Any] = {
    "task": "logistic",
    "model": "linear",
    "perturbation": 0.5,
    "epochs": 3,
    "batch_size": 200,
    "checkpoint_interval": 1,
}


def test_secret_noise_comes_with_its_key_alone(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Acceptance 20: not reproducible from the bundle, reproducible with the key."""
    run = train(pictures, out=tmp_path / "run", **NOISY)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    key = (run.path / "noise.key").read_bytes()
    held = {path.name: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    assert not any(key in content or key.hex().encode() in content for content in held.values())
    without = verified(bundle, trusted, "V2", data=pictures)
    assert (without.status, without.reached) == (Status.UNDECIDED, Level.V1)
    assert finding_of(without, "noise").reason == "evidence-missing"
    real = draw_noise(run.recipe, key, run.schedule.seed)
    public = run.recipe.perturbation * Stream(run.schedule.seed, "noise").normal(real.size).reshape(real.shape)
    announced = bytes.fromhex(run_json(run)["noise_commitment"])
    for guess in (
        public,
        draw_noise(run.recipe, announced, run.schedule.seed),
        draw_noise(run.recipe, bytes(32), run.schedule.seed),
    ):
        assert abs(np.corrcoef(guess.ravel(), real.ravel())[0, 1]) < 0.3
    for name, content in (("announced", announced), ("zero", bytes(32))):
        (tmp_path / name).write_bytes(content)
        other = verified(bundle, trusted, "V2", data=pictures, noise_key=tmp_path / name)
        assert finding_of(other, "noise").reason == "evidence-missing"
        assert "is not the noise key that was announced" in finding_of(other, "noise").detail
    for level in ("V2", "V3", "V4"):
        verdict = verified(bundle, trusted, level, data=pictures, noise_key=run.path / "noise.key")
        assert verdict.status is Status.ACCEPTED, verdict.as_json()
