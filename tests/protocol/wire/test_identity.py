"""Keys and secrets on disk, and the names that follow from a public key."""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError, SigningKey
from tests.protocol.by_hand import Signer
from tests.support.tools import need

Change = Callable[[bytes], bytes]
# RFC 8032 section 7.1, test 1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
    "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)

PEM = SigningKey(SEED).pem()


def test_signing_key_of_a_seed() -> None:
    key = SigningKey(SEED)
    assert key.public == PUBLIC
    assert key.sign(b"") == SIGNATURE
    assert identity.verify(PUBLIC, SIGNATURE, b"")


def test_verify_refuses() -> None:
    assert not identity.verify(PUBLIC, SIGNATURE, b"x")
    assert not identity.verify(PUBLIC, SIGNATURE[:-1], b"")
    assert not identity.verify(PUBLIC[:-1], SIGNATURE, b"")
    assert not identity.verify(b"\xff" * 32, SIGNATURE, b"")
    assert not identity.verify(bytes(32), bytes(64), b"")


def test_verify_refuses_other_lengths() -> None:
    """libsodium reads so many bytes of a key as a key has, whatever it is given."""
    signature = SigningKey(SEED).sign(b"data")
    for size in (*range(32), *range(33, 66)):
        assert not identity.verify((PUBLIC * 3)[:size], signature, b"data")
    for size in (*range(64), *range(65, 130)):
        assert not identity.verify(PUBLIC, (signature + b"data" * 17)[:size], b"data")
    assert identity.verify(PUBLIC, signature, b"da", memoryview(b"xtax")[1:3])


def test_a_signature_has_one_spelling() -> None:
    """S and S + L verify alike by the equation: RFC 8032 section 5.1.7 has S below L."""
    signature = SigningKey(SEED).sign(b"data")
    s = int.from_bytes(signature[32:], "little")
    for more in (1, 2, 8, 15):
        other = signature[:32] + (s + more * L).to_bytes(32, "little")
        assert not identity.verify(PUBLIC, other, b"data")


@given(st.binary(max_size=400), st.binary(min_size=32, max_size=32))
def test_signs_and_verifies_as_another_library(data: bytes, seed: bytes) -> None:
    """OpenSSL's, by cryptography."""
    key, other = SigningKey(seed), Ed25519PrivateKey.from_private_bytes(seed)
    assert key.public == other.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert key.sign(data) == other.sign(data)
    assert identity.verify(key.public, other.sign(data), data)
    assert not identity.verify(key.public, other.sign(data), data, b"x")
    assert key.pem() == other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_of_small_order_signs_nothing() -> None:
    """All points whose order divides 8, from the curve's equation; and with y + p where it fits."""
    keys = {key for y in small_order_ys() for key in spellings(y)}
    assert len(keys) == 14
    forged = (1).to_bytes(32, "little") + bytes(32)  # R: the neutral point, S: 0
    for key in keys:
        assert identity.is_weak(key)
        assert not any(identity.verify(key, forged, bytes([n])) for n in range(40))
    assert not identity.is_weak(PUBLIC)


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
D = -121665 * pow(121666, -1, P) % P


def small_order_ys() -> set[int]:
    """Of the points (x, y) with 8 (x, y) = (0, 1): double what y says thrice."""

    def doubled(y2: int) -> int | None:
        """y^2 of the double point: x^2 follows from y^2, and (y^2 + x^2) / (1 - d x^2 y^2) is y."""
        x2 = (y2 - 1) * pow(D * y2 + 1, -1, P) % P
        return pow((y2 + x2) * pow(1 - D * x2 * y2 % P, -1, P), 2, P)

    root = pow(2, (P - 1) // 4, P)  # of -1
    # Order 8: the double has y = 0, so x^2 = -y^2, and the curve says d y^4 + 2 y^2 = 1.
    found = {0, 1, P - 1}
    half = square_root((1 + D) % P, root)
    assert half is not None
    for sign in (1, -1):
        y2 = (-1 + sign * half) * pow(D, -1, P) % P
        y = square_root(y2, root)
        if y is not None:
            found |= {y, P - y}
    assert all(doubled(doubled(doubled(y * y % P) or 0) or 0) == 1 for y in found)
    return found


def square_root(value: int, root: int) -> int | None:
    """RFC 8032 section 5.1.3."""
    found = pow(value, (P + 3) // 8, P)
    for candidate in (found, found * root % P):
        if candidate * candidate % P == value % P:
            return candidate
    return None


def spellings(y: int) -> list[bytes]:
    return [
        (value | sign << 255).to_bytes(32, "little")
        for value in (y, y + P)
        if value < 2**255
        for sign in (0, 1)
    ]


def test_names_of_a_key() -> None:
    by_hand = Signer(SEED)
    assert identity.kid(PUBLIC) == SigningKey(SEED).kid == by_hand.kid
    assert identity.device_id(PUBLIC) == by_hand.device
    assert re.fullmatch("[a-z2-7]{16}", by_hand.device)


def test_repr_tells_no_secret() -> None:
    key = SigningKey(SEED)
    assert repr(key) == f"SigningKey(kid={key.kid.hex()})"


def test_create_and_load_key(tmp_path: Path) -> None:
    made = identity.create_key(tmp_path / "device.key")
    assert (tmp_path / "device.key").stat().st_mode & 0o777 == 0o600
    assert identity.load_key(tmp_path / "device.key").public == made.public
    assert os.listdir(tmp_path) == ["device.key"]


def test_create_key_never_overwrites(tmp_path: Path) -> None:
    made = identity.create_key(tmp_path / "device.key")
    with pytest.raises(FileExistsError):
        identity.create_key(tmp_path / "device.key")
    assert identity.load_key(tmp_path / "device.key").public == made.public
    assert os.listdir(tmp_path) == ["device.key"]


def test_create_key_takes_a_given_one(tmp_path: Path) -> None:
    identity.create_key(tmp_path / "device.key", SigningKey(SEED))
    assert identity.load_key(tmp_path / "device.key").public == PUBLIC


def test_load_key_reads_what_openssl_wrote(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    openssl = need("openssl")
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    path.chmod(0o600)
    text = subprocess.run(
        [openssl, "pkey", "-in", path, "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
    )
    assert identity.load_key(path).public == text.stdout[-32:]


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.rstrip(),
        lambda pem: b"\n" + pem + b"\n \n",
        lambda pem: b"\xef\xbb\xbf" + pem + b"\0\0",
        lambda pem: b"# of the fleet at home\nBag Attributes: <none>\n" + pem + b"made in 2026\n",
        lambda pem: pem + b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
    ],
)
def test_load_key_reads_what_an_editor_left(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(change(SigningKey(SEED).pem()))
    path.chmod(0o600)
    assert identity.load_key(path).public == PUBLIC


@given(st.data())
def test_load_key_of_any_bytes_is_the_key_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A key file in which bits fell over is another key's, or is refused, and never a traceback."""
    pem = bytearray(SigningKey(SEED).pem())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(pem) - 1))
        pem[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        pem = pem or bytearray(b"x")
    path = tmp_path_factory.mktemp("keys") / "key"
    path.touch(0o600)
    path.write_bytes(pem)
    with suppress(IdentityError):
        key = identity.load_key(path)
        assert identity.verify(key.public, key.sign(b"data"), b"data")


def test_ensure_makes_once(tmp_path: Path) -> None:
    first = identity.ensure_key(tmp_path / "k"), identity.ensure_secret(tmp_path / "s")
    again = identity.ensure_key(tmp_path / "k"), identity.ensure_secret(tmp_path / "s")
    assert (first[0].public, first[1]) == (again[0].public, again[1])
    assert len(first[1]) == 32


def test_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secret = bytes(range(32))
    assert identity.create_secret(path, secret) == identity.load_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        identity.create_secret(path)
    with pytest.raises(ValueError, match="32 bytes"):
        identity.create_secret(tmp_path / "short", b"x" * 31)


@pytest.mark.parametrize("left", [bytes(32), b"\xff" * 32, b"\0\1\2\3" * 8, bytes(26) + b"abcdef"])
def test_load_refuses_what_a_power_cut_leaves(tmp_path: Path, left: bytes) -> None:
    """32 zeros were taken for a secret: the order of batches was public then."""
    path = tmp_path / "device.secret"
    path.write_bytes(left)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=r"device\.secret: .* is no secret; restore it"):
        identity.load_secret(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_load_refuses_what_others_can_read(tmp_path: Path, mode: int) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    identity.create_key(key)
    identity.create_secret(secret)
    key.chmod(mode)
    secret.chmod(mode)
    with pytest.raises(IdentityError, match=f"key: mode 0{mode:o} .* chmod 600"):
        identity.load_key(key)
    with pytest.raises(IdentityError, match="chmod 600"):
        identity.load_secret(secret)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "PEM"),
        (bytes(119), "PEM"),  # what a power cut leaves of a file without fsync
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PEM"),
        (b"-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n", "PEM"),
        (PEM.replace(PEM.splitlines()[1][-8:], b""), "PEM"),  # six bytes are missing
        (b"x" * 10_000, "PEM"),
    ],
)
def test_load_key_refuses_a_damaged_file(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "device.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=f"device.key: .*{why}"):
        identity.load_key(path)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["genpkey", "-algorithm", "x25519"], "another kind"),
        (["genpkey", "-algorithm", "ed448"], "another kind"),
        (["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "another kind"),
        (["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"], "unencrypted"),
    ],
)
def test_load_key_refuses_another_kind(tmp_path: Path, arguments: list[str], why: str) -> None:
    path = tmp_path / "device.key"
    subprocess.run([need("openssl"), *arguments, "-out", path], check=True)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=why):
        identity.load_key(path)


def test_load_key_refuses_what_rust_writes_by_its_form(tmp_path: Path) -> None:
    """ring's generate_pkcs8(), version 2 with the public half: pyca/cryptography's issue 6760."""
    text = "MFMCAQEwBQYDK2VwBCIEIGQqNAZlORmn1k4QrYz1FvO4fOQowS3GXQMqRKDzmx9P\n"
    text += "oSMDIQCrO5iGM5hnLWrHavywoXekAoXPpYRuB0Dr6DjZF6FZkg==\n"
    path = tmp_path / "device.key"
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="Ed25519 as openssl writes it is needed"):
        identity.load_key(path)


def test_load_says_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"absent: cannot be read: No such file"):
        identity.load_key(tmp_path / "absent")
    with pytest.raises(IdentityError, match="not a file"):
        identity.load_secret(tmp_path)


def test_load_does_not_wait_at_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(IdentityError, match="not a file"):
        identity.load_key(tmp_path / "pipe")


def test_load_secret_refuses_another_length(tmp_path: Path) -> None:
    for length in (0, 31, 33):
        path = tmp_path / f"{length}"
        path.write_bytes(bytes(length))
        path.chmod(0o600)
        with pytest.raises(IdentityError, match=f"has {length} bytes"):
            identity.load_secret(path)
