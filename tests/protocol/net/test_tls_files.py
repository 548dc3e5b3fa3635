"""Certificates that are replaced while the service runs."""

import ssl
from pathlib import Path

import pytest

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net.tls_files import Contexts
from tests.support.certificates import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def settings_of(authority: Authority, pair: Pair) -> MqttSettings:
    return MqttSettings(
        "h",
        tls=True,
        ca_file=authority.certificate,
        certificate_file=pair.certificate,
        key_file=pair.key,
    )


def replace(path: Path, other: Path) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(other.read_bytes())
    beside.chmod(0o600)
    beside.replace(path)


def test_new_files_are_read_at_the_next_connect(authority: Authority) -> None:
    pair, new = authority.client("one"), authority.client("one-new")
    contexts = Contexts(settings_of(authority, pair))
    first = contexts.current()
    assert contexts.current() is first
    replace(pair.certificate, new.certificate)
    replace(pair.key, new.key)
    second = contexts.current()
    assert second is not first
    assert contexts.current() is second


def test_half_a_pair_changes_nothing_and_is_told_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair, new = authority.client("two"), authority.client("two-new")
    contexts = Contexts(settings_of(authority, pair))
    first = contexts.current()
    replace(pair.certificate, new.certificate)
    assert contexts.current() is first
    assert contexts.current() is first
    assert [record.getMessage() for record in caplog.records] == [
        f"{pair.key}: mqtt.key_file: not the key of {pair.certificate}; goes on with the "
        "certificates that were read before"
    ]
    replace(pair.key, new.key)
    assert contexts.current() is not first


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file"])
def test_file_that_vanishes_changes_nothing(authority: Authority, name: str) -> None:
    pair = authority.client(f"three-{name}")
    mqtt = settings_of(authority, pair)
    contexts = Contexts(mqtt)
    first = contexts.current()
    path: Path = getattr(mqtt, name)
    data, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    assert contexts.current() is first
    path.write_bytes(data)
    path.chmod(mode)
    assert isinstance(contexts.current(), ssl.SSLContext)
