"""Ed25519 against RFC 8032, against the RFC read word by word, and against libsodium; key files and lists."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.records.keys import (
    PRIVATE,
    TRUSTED,
    KeyRole,
    SigningKey,
    TrustedKey,
    find_key,
    keygen,
    keyid_of,
    load_signing_key,
    load_trusted,
    signature_holds,
    signing_key,
    write_trusted,
)

VECTORS = [  # RFC 8032, section 7.1: secret, public, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]

# The slow twin: Ed25519 from the text of RFC 8032, sections 5.1.5 to 5.1.7, in affine coordinates.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
Point = tuple[int, int]


def recover_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return P - x if x % 2 != sign else x


BASE = (recover_x(BASE_Y, 0), BASE_Y)


def plus(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def times(factor: int, point: Point) -> Point:
    total: Point = (0, 1)
    while factor:
        if factor & 1:
            total = plus(total, point)
        point, factor = plus(point, point), factor >> 1
    return total


def encoded(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decoded(text: bytes) -> Point:
    number = int.from_bytes(text, "little")
    y = number & (1 << 255) - 1
    return recover_x(y, number >> 255), y


def slow_secret(seed: bytes) -> tuple[int, bytes]:
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return int.from_bytes(digest[:32], "little"), bytes(digest[32:])


def hashed(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def slow_sign(seed: bytes, message: bytes) -> tuple[bytes, bytes]:
    scalar, prefix = slow_secret(seed)
    public = encoded(times(scalar, BASE))
    nonce = hashed(prefix, message)
    commitment = encoded(times(nonce, BASE))
    response = (nonce + hashed(commitment, public, message) * scalar) % L
    return public, commitment + response.to_bytes(32, "little")


def slow_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    response = int.from_bytes(signature[32:], "little")
    right = plus(decoded(signature[:32]), times(hashed(signature[:32], public, message), decoded(public)))
    return response < L and times(response, BASE) == right


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = signing_key(bytes.fromhex(secret))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert key.trusted("someone").verify(bytes.fromhex(message), bytes.fromhex(signature))
    assert slow_sign(bytes.fromhex(secret), bytes.fromhex(message))[1].hex() == signature


@settings(max_examples=5, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_the_slow_twin_and_a_foreign_implementation_sign_the_same(seed: bytes, message: bytes) -> None:
    key = signing_key(seed)
    signature = key.sign(message)
    assert slow_sign(seed, message) == (key.public, signature)
    assert slow_verify(key.public, message, signature)
    nacl = pytest.importorskip("nacl.signing")
    assert nacl.SigningKey(seed).sign(message).signature == signature
    assert nacl.VerifyKey(key.public).verify(message, signature) == message


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8 * 64 - 1), st.binary(min_size=1, max_size=20))
def test_one_altered_bit_is_seen(bit: int, message: bytes) -> None:
    key = signing_key(bytes(32))
    signature = bytearray(key.sign(message))
    assert signature_holds(key.public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not signature_holds(key.public, message, bytes(signature))
    assert not signature_holds(key.public, message + b"\0", key.sign(message))


def test_a_second_response_for_the_same_signature_is_refused() -> None:
    key = signing_key(bytes(32))
    signature = key.sign(b"once")
    larger = int.from_bytes(signature[32:], "little") + L  # the same point; RFC 8032 asks for the smaller number
    assert not signature_holds(key.public, b"once", signature[:32] + larger.to_bytes(32, "little"))


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_are_answered(public: bytes, message: bytes, signature: bytes) -> None:
    assert signature_holds(public, message, signature) in (True, False)


def test_key_ids_are_those_of_tuf_and_in_toto(owner: SigningKey) -> None:
    form = f'{{"keytype":"ed25519","keyval":{{"public":"{owner.public.hex()}"}},"scheme":"ed25519"}}'
    assert owner.keyid == keyid_of(owner.public) == hashlib.sha256(form.encode()).hexdigest()
    crypto = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    signer = pytest.importorskip("securesystemslib.signer")
    foreign = signer.SSlibKey.from_crypto(crypto.Ed25519PublicKey.from_public_bytes(owner.public))
    assert foreign.keyid == owner.keyid


def test_keygen_writes_what_loads_again(tmp_path: Path) -> None:
    made = keygen(tmp_path / "keys", "example.com/unlearning")
    loaded = load_signing_key(tmp_path / "keys" / PRIVATE)
    assert (loaded.public, loaded.warning) == (made.public, "")
    assert loaded.sign(b"x") == made.sign(b"x")
    trusted = load_trusted(tmp_path / "keys" / TRUSTED)
    assert trusted == (
        TrustedKey("example.com/unlearning", made.public, KeyRole.OWNER),
        TrustedKey("example.com/unlearning", made.public, KeyRole.LOG),
    )
    assert find_key(trusted, made.keyid, KeyRole.LOG) == trusted[1]
    assert find_key(trusted, made.keyid, KeyRole.WITNESS) is None
    text = (tmp_path / "keys" / TRUSTED).read_text()
    assert json.loads(text)["format"] == "expunge/trusted-keys/1"
    assert "private" not in text.lower()
    assert (tmp_path / "keys" / PRIVATE).read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert made.public != keygen(tmp_path / "other", "example.com/other").public
    assert "_key" not in repr(made)


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_the_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keygen(tmp_path, "someone")
    finally:
        os.umask(before)
    path = tmp_path / PRIVATE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert "mode 0644" in load_signing_key(path).warning
    assert f"chmod 600 {path}" in load_signing_key(path).warning


@pytest.mark.parametrize("name", [PRIVATE, TRUSTED])
def test_keys_are_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("dear")
    with pytest.raises(RunError, match="never overwritten"):
        keygen(tmp_path, "someone")
    assert [item.name for item in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "dear"


@pytest.mark.parametrize("name", ["", "two words", "a+b", "é", "a\n", "-a", "x" * 201])
def test_names_fit_signature_lines(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="key name"):
        keygen(tmp_path, name)
    with pytest.raises(InvalidArgument, match="no Ed25519 key"):
        TrustedKey("someone", b"short")
    with pytest.raises(InvalidArgument, match="without a role"):
        keygen(tmp_path, "someone", ())
    with pytest.raises(InvalidArgument, match="secret of 5 bytes"):
        signing_key(b"short")
    with pytest.raises(InvalidArgument, match="no private part"):
        SigningKey(bytes(32)).sign(b"")


def test_private_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def pem(key: Any, encryption: serialization.KeySerializationEncryption) -> bytes:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    plain = serialization.NoEncryption()
    cases = {
        "type E": pem(ec.generate_private_key(ec.SECP256R1()), plain),
        "encrypted": pem(ed25519.Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"secret")),
        "no private key in PEM": b"hello",
        "PEM form": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "at most 65536": b"x" * 70_000,
    }
    for words, content in cases.items():
        path = tmp_path / PRIVATE
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(DataError, match=words):
            load_signing_key(path)
    with pytest.raises(RunError, match="is missing"):
        load_signing_key(tmp_path / "nowhere.pem")


def altered(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**entry, **changes}


def test_lists_that_are_not_what_they_should_be(tmp_path: Path, owner: SigningKey, stranger: SigningKey) -> None:
    entry: dict[str, Any] = dict(owner.trusted("me").as_json())
    other = base64.b64encode(stranger.public).decode()
    path = tmp_path / TRUSTED
    cases: list[tuple[str, Any]] = [
        ("is no list of trusted keys", []),
        ("is no list of trusted keys", {"format": "expunge/trusted-keys/2", "keys": [entry]}),
        ("exactly the fields", {"format": "expunge/trusted-keys/1", "keys": [entry], "more": 1}),
        ("names no key", {"format": "expunge/trusted-keys/1", "keys": []}),
    ]
    for words, wrong in [
        ("exactly the fields", altered(entry, note="x")),
        ("is not that of its public key", altered(entry, public=other)),
        ("is not that of its public key", altered(entry, keyid=stranger.keyid)),
        ("must be text", altered(entry, name=3)),
        ("did you mean 'owner'", altered(entry, role="ower")),
        ("key name", altered(entry, name="two words")),
        ("no Ed25519 key", altered(entry, public="QUJD")),
        ("key 1", altered(entry, public="%%")),
        ("exactly the fields", "text"),
    ]:
        cases.append((words, {"format": "expunge/trusted-keys/1", "keys": [wrong]}))
    cases.append(("twice as owner", {"format": "expunge/trusted-keys/1", "keys": [entry, altered(entry, name="you")]}))
    for words, value in cases:
        path.write_text(json.dumps(value))
        with pytest.raises(DataError, match=words):
            load_trusted(path)
    path.write_text('{"format":"a","format":"b"}')
    with pytest.raises(DataError, match="repeats a key"):
        load_trusted(path)
    write_trusted(path, [owner.trusted("me"), stranger.trusted("me", KeyRole.WITNESS)])
    assert [key.role for key in load_trusted(path)] == [KeyRole.OWNER, KeyRole.WITNESS]


def test_a_missing_package_is_one_sentence() -> None:
    code = "import sys; sys.modules['cryptography'] = None\n"
    code += "from expunge.records.keys import signature_holds\nsignature_holds(b'', b'', b'')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert "a signature needs the package cryptography, which is not installed: pip install expunge" in done.stderr


FOLDER = Path(__file__).parents[2] / "src" / "expunge" / "records"
FOUNDATIONS = ("archive", "bundle", "canonical", "envelope", "keys", "limits", "log", "note", "tensors")
MAY_IMPORT = {  # no pickle, no eval, no network, no subprocess, no other parser
    *("__future__", "base64", "binascii", "collections", "contextlib", "dataclasses", "enum", "expunge", "fcntl"),
    *("functools", "hashlib", "io", "json", "math", "os", "pathlib", "re", "shutil", "stat", "struct", "tempfile"),
    *("types", "typing", "zlib"),
}


def test_no_foundation_imports_torch_or_cryptography() -> None:
    code = f"import importlib, sys\nfor name in {FOUNDATIONS!r}: importlib.import_module('expunge.records.' + name)\n"
    code += "assert not {'torch', 'cryptography', 'safetensors', 'socket'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_foundations_import_and_call_nothing_that_runs_what_it_reads(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    allowed = MAY_IMPORT | ({"cryptography"} if name == "keys" else set())
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {module.split(".")[0] for module in modules} <= allowed
        if isinstance(node, ast.Name):
            assert node.id not in ("eval", "exec", "compile", "__import__")


def test_files_in_each_others_places_are_named(tmp_path: Path) -> None:
    keygen(tmp_path / "keys", "example.com/owner")
    with pytest.raises(DataError, match=r"is a private key and no list of trusted keys: give .*trusted.json"):
        load_trusted(tmp_path / "keys" / "private.pem")
    with pytest.raises(RunError, match=r"keys is a folder and the list of trusted keys is a file: name the file"):
        load_trusted(tmp_path / "keys")
    with pytest.raises(RunError, match=r"is a folder: name the key file in it, such as .*private.pem"):
        load_signing_key(tmp_path / "keys")
    with pytest.raises(RunError, match="is a file: keys are written into a folder"):
        keygen(tmp_path / "keys" / "trusted.json", "example.com/owner")
