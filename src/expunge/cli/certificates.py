"""Bundles on the command line: the page that `report` and `verify --certificate` write, and what `info` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expunge.records.certificate import Certificate
    from expunge.records.verdict import Verdict


def is_bundle(path: Path) -> bool:
    """A zip, or a folder with an envelope; run folders keep theirs further down."""
    return path.is_file() or ((path / "envelope.json").is_file() and not (path / "run.json").exists())


def unchecked(bundle: Path) -> Certificate:
    """What a bundle says of itself."""
    from expunge.records.bundle import open_bundle
    from expunge.verify.certificate import certificate

    with open_bundle(bundle) as opened:
        return certificate(opened)


def write_certificate_of(bundle: Path, verdict: Verdict | None, keys: Path | None, out: Path) -> Certificate:
    """Write the page and return what it says; without a verdict it says that nothing was checked."""
    from expunge.core.clock import utc_now
    from expunge.records.bundle import open_bundle
    from expunge.records.keys import load_trusted
    from expunge.report.certificate import write_certificate
    from expunge.verify.certificate import certificate

    trusted = () if keys is None else load_trusted(keys)
    with open_bundle(bundle) as opened:
        told = certificate(opened, verdict, trusted, at=None if verdict is None else utc_now())
    write_certificate(told, out)
    return told
