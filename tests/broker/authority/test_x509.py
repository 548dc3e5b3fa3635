"""The authority of TLS, judged by openssl: what it signs holds where it should, and only there."""

import subprocess
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives.serialization import Encoding

from fedling_broker.authority import x509
from fedling_broker.authority.x509 import TlsAuthority
from fedling_protocol.net import tls_key
from fedling_protocol.wire.identity import IdentityError
from tests.support import tools

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=90)
HOSTS = ["home.fedling", "broker.local", "198.51.100.1", "2001:db8::1"]


@pytest.fixture
def authority(tmp_path: Path) -> TlsAuthority:
    return x509.create_ca(tmp_path / "authority", "home")


def key() -> bytes:
    return tls_key.public(tls_key.generate())


def client(authority: TlsAuthority, name: str = "a" * 16) -> bytes:
    return authority.client(name, key(), NOW - timedelta(hours=1), LATER)


def verify(authority: TlsAuthority, certificate: bytes, *options: str) -> str:
    """Ask openssl; empty: it holds."""
    file = authority.directory / "leaf.pem"
    file.write_bytes(x509.pem(certificate))
    trusted = ["-CAfile", str(authority.directory / x509.CERTIFICATE)]
    command = [tools.need("openssl"), "verify", "-x509_strict", *trusted, *options, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def with_list(authority: TlsAuthority) -> list[str]:
    return ["-crl_check", "-CRLfile", str(authority.revocations)]


@pytest.mark.parametrize(
    "at",
    [86_400, int(NOW.timestamp()), int(NOW.timestamp()) + 9 * 31_536_000],
    ids=["1970", "now", "in 9 years"],
)
def test_server_is_believed_at_its_names_whatever_the_clock(
    authority: TlsAuthority, at: int
) -> None:
    """Also by a board that thinks it is 1970."""
    certificate = authority.server(HOSTS, key())
    for option, value in (
        ("-verify_hostname", "home.fedling"),
        ("-verify_hostname", "broker.local"),
        ("-verify_ip", "198.51.100.1"),
        ("-verify_ip", "2001:db8::1"),
    ):
        how = ["-purpose", "sslserver", "-attime", str(at), option, value]
        assert verify(authority, certificate, *how, *with_list(authority)) == ""


def test_server_is_not_believed_at_another_name(authority: TlsAuthority) -> None:
    certificate = authority.server(HOSTS, key())
    how = ["-purpose", "sslserver", "-verify_hostname", "elsewhere.fedling"]
    assert "hostname mismatch" in verify(authority, certificate, *how).lower()


def test_client_is_believed_as_a_client_only(authority: TlsAuthority) -> None:
    """A device's certificate cannot stand for the MQTT broker."""
    certificate = client(authority)
    assert verify(authority, certificate, "-purpose", "sslclient", *with_list(authority)) == ""
    assert "purpose" in verify(authority, certificate, "-purpose", "sslserver")


def test_server_is_no_client(authority: TlsAuthority) -> None:
    assert "purpose" in verify(authority, authority.server(HOSTS, key()), "-purpose", "sslclient")


def test_client_holds_between_its_dates(authority: TlsAuthority) -> None:
    certificate = client(authority)
    before, after = NOW - timedelta(hours=2), LATER + timedelta(hours=2)
    for moment, why in ((before, "not yet valid"), (after, "has expired")):
        assert why in verify(authority, certificate, "-attime", str(int(moment.timestamp())))


def test_client_has_its_name_and_no_other(authority: TlsAuthority) -> None:
    """mosquitto takes user and client id from the common name."""
    names = library.load_der_x509_certificate(client(authority, "b" * 16)).subject
    assert [attribute.value for attribute in names] == ["b" * 16]


def test_nobody_but_the_authority_signs(authority: TlsAuthority, tmp_path: Path) -> None:
    other = x509.create_ca(tmp_path / "other", "home")
    assert "unable to get local issuer" in verify(authority, client(other))


def test_leaf_signs_nothing(authority: TlsAuthority, tmp_path: Path) -> None:
    """Who has a device's key cannot make another device's certificate with it."""
    held = tls_key.generate()
    leaf = library.load_der_x509_certificate(
        authority.client("a" * 16, tls_key.public(held), NOW, LATER)
    )
    forged = TlsAuthority(tmp_path, leaf, held).client("b" * 16, key(), NOW, LATER)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    assert "invalid CA certificate" in verify(authority, forged, "-untrusted", str(chain))


def test_revoke_lists_that_certificate_alone(authority: TlsAuthority) -> None:
    gone, stays = client(authority), client(authority)
    authority.revoke(x509.serial(gone))
    assert "revoked" in verify(authority, gone, *with_list(authority))
    assert verify(authority, stays, *with_list(authority)) == ""


def test_revoke_adds_to_what_was_revoked(authority: TlsAuthority) -> None:
    serials = [x509.serial(client(authority)) for _ in range(3)]
    for serial in serials:
        authority.revoke(serial)
    authority.revoke(*serials)  # again: nothing is listed twice
    assert x509.load_ca(authority.directory).revoked() == set(serials)
    assert len(library.load_pem_x509_crl(authority.list())) == 3


def _revoke(directory: Path, serial: int) -> None:
    x509.load_ca(directory).revoke(serial)


def test_revoke_by_several_processes_loses_nothing(authority: TlsAuthority) -> None:
    context = get_context("fork")
    each = [
        context.Process(target=_revoke, args=(authority.directory, serial))
        for serial in range(1, 9)
    ]
    for process in each:
        process.start()
    for process in each:
        process.join()
    assert authority.revoked() == set(range(1, 9))


@pytest.mark.parametrize(
    "at",
    [86_400, int(NOW.timestamp()), int(NOW.timestamp()) + 20 * 31_536_000],
    ids=["1970", "now", "in 20 years"],
)
def test_list_does_not_run_out(authority: TlsAuthority, at: int) -> None:
    """OpenSSL refuses everybody while a list is too old, or not valid yet."""
    certificate = authority.client("a" * 16, key(), x509.EPOCH, NOW + 25 * x509.YEAR)
    assert verify(authority, certificate, "-attime", str(at), *with_list(authority)) == ""


@pytest.mark.parametrize(
    "public", [b"", b"\x02" * 32, b"\x05" + bytes(32), bytes(33), b"\xff" * 33]
)
def test_client_with_no_point_of_the_curve_raises(authority: TlsAuthority, public: bytes) -> None:
    """It comes from outside."""
    with pytest.raises(ValueError):  # noqa: PT011 (the words are those of cryptography)
        authority.client("a" * 16, public, NOW, LATER)


def test_key_is_for_its_owner_only(authority: TlsAuthority) -> None:
    assert (authority.directory / x509.KEY).stat().st_mode & 0o777 == 0o600
    assert authority.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("lost", [x509.CERTIFICATE, x509.REVOKED])
def test_create_ca_goes_on_where_it_was_interrupted(authority: TlsAuthority, lost: str) -> None:
    before = tls_key.public(tls_key.load(authority.directory / x509.KEY))
    (authority.directory / lost).unlink()
    again = x509.create_ca(authority.directory, "home")
    assert tls_key.public(tls_key.load(again.directory / x509.KEY)) == before
    assert verify(again, client(again), *with_list(again)) == ""


def test_create_ca_again_changes_nothing(authority: TlsAuthority) -> None:
    files = {path: path.read_bytes() for path in authority.directory.iterdir()}
    authority.revoke(7)
    files[authority.revocations] = authority.revocations.read_bytes()
    x509.create_ca(authority.directory, "home")
    assert {path: path.read_bytes() for path in authority.directory.iterdir()} == files


@pytest.mark.parametrize("name", [x509.CERTIFICATE, x509.REVOKED, x509.KEY])
@pytest.mark.parametrize("damage", ["zeros", "another's", "missing"])
def test_damaged_file_is_named(
    authority: TlsAuthority, tmp_path: Path, name: str, damage: str
) -> None:
    path = authority.directory / name
    other = x509.create_ca(tmp_path / "other", "home").directory / name
    contents = {"zeros": bytes(path.stat().st_size), "another's": other.read_bytes()}
    path.unlink()
    if damage != "missing":
        path.touch(0o600)
        path.write_bytes(contents[damage])
    with pytest.raises(IdentityError, match=str(authority.directory)):
        x509.load_ca(authority.directory).list()
