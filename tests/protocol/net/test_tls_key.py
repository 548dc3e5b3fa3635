"""Key files of TLS: made once, for their owner, and named when they are of no use."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from fedling_protocol.net import tls_key
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError


def test_ensure_makes_one_key_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    made = tls_key.ensure(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tls_key.public(tls_key.ensure(path)) == tls_key.public(made)
    assert len(tls_key.public(made)) == tls_key.PUBLIC_BYTES


def _of_another_curve() -> EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(241),
        b"-----BEGIN",
        tls_key.pem(_of_another_curve()),
        identity.SigningKey.generate().pem(),
    ],
)
def test_load_of_another_thing_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tls.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=str(path)):
        tls_key.load(path)


def test_load_of_a_key_that_others_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    tls_key.ensure(path)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        tls_key.load(path)
