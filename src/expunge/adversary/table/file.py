"""Attacks on the bundle itself: files exchanged after signing, other keys and logs, files dangerous to open."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from expunge.adversary.table.retelling import saved
from expunge.adversary.table.scene import ORIGIN, Scene
from expunge.adversary.table.story import Handed
from expunge.core.files import write_bytes
from expunge.core.hashing import sha256
from expunge.records.bundle import ENVELOPE, MODEL, TRACE, write_zip
from expunge.records.draft import bundle_files, sign
from expunge.records.keys import signing_key
from expunge.records.log import Log
from expunge.records.note import sign_checkpoint

BOMB = 2**26  # bytes of zeros, which pack to a thousandth
DEEP = 40  # levels of nesting
PICKLE = b"cos\nsystem\n(S'true'\ntR."  # whoever loads it runs a command


def model_swapped(scene: Scene, out: Path) -> Handed:
    """21: the original's model lies in the bundle of the run that has forgotten."""
    files = scene.files_of(scene.story)
    return scene.packed(scene.story, {**files, MODEL: saved(scene.base.tale.model)}, out)


def forked(scene: Scene, out: Path) -> Handed:
    """23: the auditor has seen this log before, with another entry where the run's training is entered now."""
    story = scene.story
    signed = sign(story.draft, scene.key)
    seen = Log(ORIGIN, (signed.digests[0], sha256(b"what the log was shown to hold")))
    kept = sign_checkpoint(seen.head(), scene.key)
    log = Log(ORIGIN, signed.digests)
    head = sign_checkpoint(log.head(), scene.key)
    files = bundle_files(signed, log, head, () if story.note is None else (story.note,))
    files[f"log/consistency-{seen.size}.json"] = log.consistency(seen.size).as_bytes()
    return _known(scene.packed(story, files, out), kept, out)


def rolled_back(scene: Scene, out: Path) -> Handed:
    """23: the auditor has seen this log with more entries than it has now."""
    signed = sign(scene.story.draft, scene.key)
    seen = Log(ORIGIN, (*signed.digests, sha256(b"a record that was taken back")))
    kept = sign_checkpoint(seen.head(), scene.key)
    return _known(scene.hand_over(scene.story, out), kept, out)


def other_key(scene: Scene, out: Path) -> Handed:
    """24: record, chain and log are signed by somebody who is on nobody's list."""
    story = scene.story
    draft = replace(story.draft, chain=(story.link(0), *story.draft.chain[1:]))
    return scene.hand_over(replace(story, draft=draft, note=None), out, signing_key(sha256(b"a stranger")))


def copied_envelope(scene: Scene, out: Path) -> Handed:
    """33: the run's own record lies among its ancestors once more."""
    envelope = scene.files_of(scene.story)[ENVELOPE]
    assert isinstance(envelope, bytes)
    return _with_file(scene, out, f"parents/{sha256(envelope).hex()}.json", envelope)


def pickled(scene: Scene, out: Path) -> Handed:
    """26: the weights come as a pickle, which could run anything."""
    return _with_file(scene, out, MODEL, PICKLE)


def not_a_number(scene: Scene, out: Path) -> Handed:
    """26: a number in the recipe is NaN, which some readers take for JSON."""
    recipe = scene.files_of(scene.story)["recipe.json"]
    assert isinstance(recipe, bytes)
    return _with_file(scene, out, "recipe.json", recipe.replace(b'"epochs":8', b'"epochs":NaN'))


def key_twice(scene: Scene, out: Path) -> Handed:
    """26: a field stands twice in the envelope, so that two readers see two records."""
    envelope = scene.files_of(scene.story)[ENVELOPE]
    assert isinstance(envelope, bytes)
    payload = json.dumps(json.loads(envelope)["payload"]).encode()
    return _with_file(scene, out, ENVELOPE, b'{"payload":' + payload + b"," + envelope[1:])


def too_deep(scene: Scene, out: Path) -> Handed:
    """26: JSON nested so deeply that a careless reader runs out of stack."""
    return _with_file(scene, out, "recipe.json", b'{"a":' * DEEP + b"1" + b"}" * DEEP)


def path_escape(scene: Scene, out: Path) -> Handed:
    """26: a zip with a file that would be unpacked beside the bundle."""
    return _zipped(scene, out, lambda archive: archive.writestr("../trusted.json", b"{}"))


def link(scene: Scene, out: Path) -> Handed:
    """26: a zip with a link to a file of the verifier's."""

    def add(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(TRACE)
        entry.create_system = 3  # Unix, where the attributes hold a file's kind
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, b"/etc/hostname")

    return _zipped(scene, out, add, leaving_out=TRACE)


def bomb(scene: Scene, out: Path) -> Handed:
    """26: a zip that unpacks to a thousand times its size."""

    def add(archive: zipfile.ZipFile) -> None:
        archive.writestr(TRACE, bytes(BOMB), zipfile.ZIP_DEFLATED)

    return _zipped(scene, out, add, leaving_out=TRACE)


def _with_file(scene: Scene, out: Path, name: str, content: bytes) -> Handed:
    files = scene.files_of(scene.story)
    return scene.packed(scene.story, {**files, name: content}, out)


def _zipped(
    scene: Scene, out: Path, add: Callable[[zipfile.ZipFile], None], *, leaving_out: str | None = None
) -> Handed:
    """The honest bundle as a zip, with an entry that no honest writer makes."""
    files = scene.files_of(scene.story)
    path = out / "bundle.zip"
    out.mkdir(parents=True, exist_ok=True)
    write_zip(path, {name: content for name, content in files.items() if name != leaving_out})
    with zipfile.ZipFile(path, "a") as archive:
        add(archive)
    return Handed(bundle=path, keys=scene.trusted, data=scene.story.data, salts=scene.story.salts)


def _known(handed: Handed, note: bytes, out: Path) -> Handed:
    """The auditor kept a checkpoint of the log from an earlier visit."""
    path = out / "kept-checkpoint"
    write_bytes(path, note)
    return replace(handed, known_checkpoint=path)
