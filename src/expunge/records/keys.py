"""Ed25519 keys: made, kept in a folder, and the verifier's own list of whom it trusts.

A key's id is the SHA-256, in hexadecimal, of the canonical JSON
``{"keytype":"ed25519","keyval":{"public":"<64 hexadecimal digits>"},"scheme":"ed25519"}``, which is the key id of TUF
and in-toto too. Keys come from the caller's list only, never from a bundle.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.core.installed import needed_by
from expunge.core.wording import nearest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE = "private.pem"
TRUSTED = "trusted.json"
FORMAT = "expunge/trusted-keys/1"
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
LARGEST_KEY_FILE = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}\Z")  # also a key name of signed notes: no space, no plus


class KeyRole(Enum):
    """What a key is trusted with; one key may stand in the list once per role."""

    OWNER = "owner"  # signs records
    LOG = "log"  # signs checkpoints of a transparency log; its name is the log's origin
    WITNESS = "witness"  # cosigns checkpoints of logs that it watches


@dataclass(frozen=True)
class TrustedKey:
    """A public key with the name and the role that the verifier gave it."""

    name: str
    public: bytes
    role: KeyRole = KeyRole.OWNER

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC_BYTES:
            raise InvalidArgument(f"a public key of {len(self.public)} bytes is no Ed25519 key: it has {PUBLIC_BYTES}")

    @property
    def keyid(self) -> str:
        return keyid_of(self.public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this key signed the message; never raises on any bytes."""
        return signature_holds(self.public, message, signature)

    def as_json(self) -> dict[str, str]:
        """Not by the form: the id is concluded from the key, and every entry is refused with its number in the list."""
        return {
            "keyid": self.keyid,
            "name": self.name,
            "public": base64.b64encode(self.public).decode("ascii"),
            "role": self.role.value,
        }


@dataclass(frozen=True)
class SigningKey:
    """A private key; ``warning`` is a sentence where others on the machine can read its file, else empty."""

    public: bytes
    warning: str = ""
    _key: Ed25519PrivateKey | None = field(default=None, repr=False, compare=False)

    @property
    def keyid(self) -> str:
        return keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same message has the same signature (RFC 8032)."""
        if self._key is None:
            raise InvalidArgument(f"key {self.keyid[:16]}… has no private part: load it with load_signing_key")
        return self._key.sign(message)

    def trusted(self, name: str, role: KeyRole = KeyRole.OWNER) -> TrustedKey:
        """The public half as an entry of a list."""
        return TrustedKey(name, self.public, role)


def check_name(name: str) -> None:
    """A name that fits every place where keys are named, signature lines of notes included."""
    if not NAME.match(name):
        raise InvalidArgument(
            f"key name {name[:99]!r} must be 1–200 letters, digits or . _ : @ / - and start with a letter or digit, "
            "for example 'example.com/unlearning'"
        )


def keyid_of(public: bytes) -> str:
    """Hexadecimal SHA-256 of the key's canonical JSON; see the module."""
    form = {"keytype": "ed25519", "keyval": {"public": public.hex()}, "scheme": "ed25519"}
    return sha256(canonical_json(form)).hex()


def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 verification (RFC 8032); False for anything that is no key or no signature."""
    _need_package()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(seed: bytes) -> SigningKey:
    """The key of 32 secret bytes (RFC 8032, section 5.1.5)."""
    _need_package()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(seed) != PUBLIC_BYTES:
        raise InvalidArgument(f"a secret of {len(seed)} bytes makes no Ed25519 key: it must have {PUBLIC_BYTES}")
    return _from_private(Ed25519PrivateKey.from_private_bytes(seed))


def keygen(folder: Path, name: str, roles: Sequence[KeyRole] = (KeyRole.OWNER, KeyRole.LOG)) -> SigningKey:
    """Write a new ``private.pem`` (mode 0600) and ``trusted.json`` with its public half; nothing is overwritten."""
    _need_package()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    check_name(name)
    if not roles:
        raise InvalidArgument("a key without a role is trusted with nothing: name at least one of owner, log, witness")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: keys are written into a folder, choose another")
    for path in (folder / PRIVATE, folder / TRUSTED):
        if path.exists() or path.is_symlink():
            raise RunError(f"{path} exists and keys are never overwritten: choose another folder")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_secret(folder / PRIVATE, pem)
    key = _from_private(private)
    write_trusted(folder / TRUSTED, [key.trusted(name, role) for role in roles])
    return key


def load_signing_key(path: Path) -> SigningKey:
    """Read ``private.pem``: PKCS8, Ed25519, not encrypted."""
    _need_package()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.is_dir():
        raise RunError(f"{path} is a folder: name the key file in it, such as {path / PRIVATE}")
    content = _small(path, "the signing key")
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise DataError(
            f"{path} is encrypted with a password, which is not asked for here: write it out without one, "
            "with mode 0600, or make a key with expunge keygen"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise DataError(f"{path} holds no private key in PEM form (PKCS8): make one with expunge keygen") from None
    if not isinstance(private, Ed25519PrivateKey):
        kind = type(private).__name__.strip("_").removesuffix("PrivateKey")
        raise DataError(f"{path} holds a key of type {kind}, records are signed with Ed25519: use expunge keygen")
    return _from_private(private, _open_to_others(path))


def write_trusted(path: Path, keys: Iterable[TrustedKey]) -> None:
    """Write a list of trusted keys, for people to read and to put together."""
    write_text(path, plain_json({"format": FORMAT, "keys": [key.as_json() for key in keys]}))


def load_trusted(path: Path) -> tuple[TrustedKey, ...]:
    """Read the verifier's own list; each key's id must be its own, and no key stands twice in one role."""
    content = _small(path, "the list of trusted keys")
    if b"PRIVATE KEY" in content:
        raise DataError(f"{path} is a private key and no list of trusted keys: give {path.with_name(TRUSTED)}")
    value = parse_json(content)
    if not isinstance(value, dict) or cast("dict[str, Any]", value).get("format") != FORMAT:
        raise DataError(
            f"{path} is no list of trusted keys: it must be JSON with format {FORMAT!r}, see expunge keygen"
        )
    entries = cast("dict[str, Any]", value).get("keys")
    if set(cast("dict[str, Any]", value)) != {"format", "keys"} or not isinstance(entries, list):
        raise DataError(f"{path} must hold exactly the fields format and keys, keys being a list")
    keys = tuple(
        _trusted(entry, f"{path}, key {number}") for number, entry in enumerate(cast("list[Any]", entries), start=1)
    )
    if not keys:
        raise DataError(f"{path} names no key, so nothing could ever be accepted: add the keys that you trust")
    for at, key in enumerate(keys):
        if any((key.keyid, key.role) == (other.keyid, other.role) for other in keys[:at]):
            raise DataError(f"{path} lists key {key.keyid[:16]}… twice as {key.role.value}: keep one entry")
    return keys


def find_key(keys: Iterable[TrustedKey], keyid: str, role: KeyRole) -> TrustedKey | None:
    """The key with that id in that role, if the list has it."""
    return next((key for key in keys if key.role is role and key.keyid == keyid), None)


def _trusted(entry: Any, where: str) -> TrustedKey:
    fields = ("keyid", "name", "public", "role")
    if not isinstance(entry, dict) or set(cast("dict[str, Any]", entry)) != set(fields):
        raise DataError(f"{where} must have exactly the fields {', '.join(fields)}")
    found = cast("Mapping[str, Any]", entry)
    odd = next((name for name in fields if not isinstance(found[name], str)), None)
    if odd is not None:
        raise DataError(f"{where}: {odd} {found[odd]!r:.60} must be text")
    known = [role.value for role in KeyRole]
    if found["role"] not in known:
        raise DataError(
            f"{where}: role {found['role']!r:.60} is not one of {', '.join(known)}{nearest(found['role'][:60], known)}"
        )
    try:
        public = base64.b64decode(found["public"].encode("ascii"), validate=True)
        key = TrustedKey(found["name"], public, KeyRole(found["role"]))
    except (ValueError, InvalidArgument) as error:
        raise DataError(f"{where}: {error}") from None
    if key.keyid != found["keyid"]:
        raise DataError(
            f"{where}: keyid {found['keyid'][:16]!r}… is not that of its public key, which is {key.keyid[:16]}…: one "
            "of them was altered; ask for the key again, by another way than the record"
        )
    return key


def _from_private(private: Ed25519PrivateKey, warning: str = "") -> SigningKey:
    return SigningKey(private.public_key().public_bytes_raw(), warning, private)


def _small(path: Path, what: str) -> bytes:
    try:
        size = path.stat().st_size
    except OSError:
        size = 0  # read_bytes says what is wrong
    if size > LARGEST_KEY_FILE:
        raise DataError(f"{path} holds {size} bytes, {what} has at most {LARGEST_KEY_FILE}: give the right file")
    return read_bytes(path, what)


def _open_to_others(path: Path) -> str:
    if os.name != "posix":
        return ""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ""
    return f"{path} has mode {mode:04o}, so others on this machine can use the key: chmod 600 {path}"


def _write_secret(path: Path, content: bytes) -> None:
    """A new file that only its owner can read, from its first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise RunError(f"{path} exists and keys are never overwritten: choose another folder") from None
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror or error}): choose another folder") from error


def _need_package() -> None:
    with needed_by("a signature"):
        import cryptography  # noqa: F401  # pyright: ignore[reportUnusedImport]
