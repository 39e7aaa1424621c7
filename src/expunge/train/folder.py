"""Starting and continuing a run folder: one writer at a time, the same command or none."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expunge.core.errors import RunError
from expunge.train.run import COMMITTED, Run, write_manifest
from expunge.train.state import read_tensors, tensors_digest

try:
    import fcntl
except ImportError:  # no advisory locks on this system: two writers are not told apart
    fcntl = None

BOUND = ("recipe", "roots", "noise_commitment")  # what a commitment fixes of a training's request


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Hold the folder against a second process."""
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / ".lock").open("ab")
    except OSError as error:
        raise RunError(f"{path} cannot be used as --out ({error.strerror or error}): choose another place") from error
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"{path} is being written by another process: wait for it or choose another --out"
                ) from None
        try:
            yield
        except BaseException:
            if new and [item.name for item in path.iterdir()] == [".lock"]:  # refused before anything was written
                (path / ".lock").unlink()
                path.rmdir()
            raise


def sound(run: Run) -> Run:
    """A finished run whose weights are those it announces."""
    if tensors_digest(read_tensors(run.model_file)).hex() != run.weights_digest:
        raise RunError(f"{run.path} is finished but its weights were altered: remove the folder to make the run again")
    return run


def finished_or_other(path: Path, manifest: Mapping[str, Any]) -> Run | None:
    """The finished run that the same command made, if there is one; a folder with anything else in it is refused.

    ``manifest["request"]`` is what decides the result, and what is compared. A folder that was committed is open to
    the trainings that keep to what was committed.
    """
    if (path / "run.json").exists():
        found = Run.open_any(path)
        there, asked = found.manifest["request"], manifest["request"]
        if (there.get("operation"), asked["operation"]) == ("train", "commit"):
            raise RunError(
                f"the training in {path} has begun already: a commitment comes before it; choose another --out"
            )
        if found.manifest["status"] == COMMITTED and asked["operation"] == "train":
            _check_beacon(found, manifest)
            there, asked = ({name: request.get(name) for name in BOUND} for request in (there, asked))
        if there != asked:
            raise RunError(
                f"{path} holds another run ({_difference(there, asked)}): choose another --out, or remove that folder"
            )
        return sound(found) if found.manifest["status"] == "finished" else None
    check_free(path)
    return None


def _check_beacon(found: Run, manifest: Mapping[str, Any]) -> None:
    """A beacon that was known by the commitment orders nothing; no record of the training could be signed."""
    since, made = (manifest["beacon_described"] or {}).get("not_before"), found.manifest.get("committed_at")
    if since is not None and made is not None and since < made:
        raise RunError(
            f"the beacon is of {since}, {found.path} was committed at {made}: a beacon must come after the commitment; "
            "take a later one"
        )


def check_free(path: Path) -> None:
    """A folder without run.json must hold nothing else; hidden names are what killed processes leave."""
    foreign = [item.name for item in path.iterdir() if not item.name.startswith(".")] if path.is_dir() else []
    if foreign:
        raise RunError(f"{path} is not empty and not a run (it holds {foreign[0]!r}): choose another --out")


def start_or_continue(path: Path, manifest: Mapping[str, Any]) -> Run:
    """A new run, in a committed folder too, or the interrupted one of the same command; all else was refused before."""
    if (path / "run.json").exists():
        found = Run.open_any(path)
        if found.manifest["status"] != COMMITTED:
            _check_trace(found, manifest)
            return found
    write_manifest(path, manifest)
    return Run(path, manifest)


def _check_trace(found: Run, manifest: Mapping[str, Any]) -> None:
    there, asked = found.manifest.get("trace"), manifest.get("trace")
    if there is not None and there != asked:
        raise RunError(
            f"{found.path} was begun with --trace {there}, {asked} is asked for: a trace is of one kind from the first "
            f"step; say --trace {there}, or choose another --out"
        )


def _difference(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> str:
    for name in sorted(set(there) | set(here), key=lambda name: (name not in ("name", "method"), name)):
        before, now = there.get(name, "nothing"), here.get(name, "nothing")
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            return _difference(before, now, f"{prefix}{name} ")
        return f"{prefix}{name.replace('_', ' ')} {_short(before)} there, {_short(now)} asked for"
    return "the same request"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
