"""What an owner signs with: the key, and the transparency log that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import InvalidArgument, RecordError, RunError
from expunge.core.files import read_bytes
from expunge.records.keys import TRUSTED, KeyRole, SigningKey, check_name, find_key, load_signing_key, load_trusted
from expunge.records.log import CHECKPOINT, HEADER, read_log
from expunge.records.note import open_checkpoint


@dataclass(frozen=True, kw_only=True)
class Office:
    """A key and the folder of a log. ``origin`` is the name of a log that is to be begun, or must be its name.

    ``listed`` is the name under which trusted.json, beside the key, lists it as a log's; None where it does not.
    """

    key: SigningKey
    log: Path
    origin: str | None
    listed: str | None

    @classmethod
    def of(cls, key: SigningKey | Path | str, log: Path | str | None = None, origin: str | None = None) -> Office:
        """The log lies beside the key and bears the name that trusted.json gives it, unless said."""
        if isinstance(key, SigningKey):
            if log is None:
                raise InvalidArgument("a key that is no file has no log beside it: name the log's folder")
            return cls(key=key, log=Path(log), origin=origin, listed=None)
        path = Path(key)
        if not path.is_file() and not path.is_dir():
            raise RunError(
                f"{path} is missing and records are signed with it: make one in {path.parent} with "
                "`expunge keygen`, or name yours with `key`"
            )
        signing = load_signing_key(path)
        folder = path.parent / "log" if log is None else Path(log)
        listed = _listed(path.parent / TRUSTED, signing)
        if origin is None and not (folder / HEADER).is_file():
            if listed is None:
                raise RunError(
                    f"{folder} holds no log yet and {path.parent / TRUSTED} names none for this key: name the log with "
                    "`origin`, for example example.com/unlearning"
                )
            origin = listed
        return cls(key=signing, log=folder, origin=origin, listed=listed)

    def check(self) -> None:
        """Refuse a log that could not be written to, before anything is signed for it."""
        if (self.log / HEADER).is_file():
            there = read_log(self.log).origin
            if self.origin not in (None, there):
                raise RunError(f"{self.log} holds the log {there!r}, not {self.origin!r}: choose another `log`")
            self._check_signer(there)
            return
        if self.origin is None:
            raise RunError(f"{self.log} holds no log yet: name the one to begin with `origin`")
        check_name(self.origin)
        found = [item.name for item in self.log.iterdir()] if self.log.is_dir() else []
        if self.log.is_file() or any(not name.startswith(".") for name in found):
            raise RunError(f"{self.log} is no log and not empty: choose another `log`")

    def _check_signer(self, origin: str) -> None:
        head = self.log / CHECKPOINT
        if not head.is_file():
            return
        try:
            open_checkpoint(read_bytes(head, "the log"), [self.key.trusted(origin, KeyRole.LOG)], str(head))
        except RecordError:
            raise RunError(
                f"{self.log} is signed with another key than {self.key.keyid[:16]}…: name the log's own with `key`, "
                "or another log with `log`"
            ) from None

    def notices(self, origin: str) -> tuple[str, ...]:
        """What the owner should know of key and log, whose name is ``origin``."""
        found = (self.key.warning,) if self.key.warning else ()
        if self.listed is not None and self.listed != origin:
            found += (
                f"trusted.json names the log {self.listed!r}, this one is {origin!r}: whoever verifies needs the key "
                "listed under that name too",
            )
        return found


def _listed(path: Path, key: SigningKey) -> str | None:
    if not path.is_file():
        return None
    found = find_key(load_trusted(path), key.keyid, KeyRole.LOG)
    return None if found is None else found.name


def known_heads(office: Office, files: Sequence[Path | str]) -> tuple[bytes, ...]:
    """Signed heads of this log that somebody kept; refused where the log did not grow from them."""
    found: list[bytes] = []
    for file in files:
        content = read_bytes(Path(file), "the known checkpoint")
        log = read_log(office.log) if (office.log / HEADER).is_file() else None
        if log is None:
            raise RunError(f"{office.log} holds no log yet, so nobody can have kept {file} of it: leave it out")
        try:
            known = open_checkpoint(content, [office.key.trusted(log.origin, KeyRole.LOG)], str(file)).checkpoint
        except RecordError:
            raise RunError(
                f"{file} is no checkpoint of the log {log.origin!r} under this key: ask for the "
                "log/checkpoint that was kept"
            ) from None
        if known.size > log.size or log.head(known.size).root != known.root:
            raise RunError(
                f"{file} is signed over {known.size} records that this log does not begin with ({log.size} records in "
                f"{office.log}): the log was rolled back or exchanged; put back the one that was signed"
            )
        found.append(content)
    return tuple(found)
