"""A user and a password from a file that nobody else may read."""

from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import credentials
from fedling_protocol.net.ports import Credentials
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError
from tests.protocol.net.ends import End
from tests.support.access import password_settings


def secret(path: Path, content: bytes, mode: int = 0o600) -> MqttSettings:
    path.write_bytes(content)
    path.chmod(mode)
    return MqttSettings("localhost", user="pi", password_file=path)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_password_is_the_line_in_the_file(tmp_path: Path, end: bytes) -> None:
    mqtt = secret(tmp_path / "password", b"s\xc3\xa9sam \n1" + end)
    assert credentials.load(mqtt).credentials == Credentials("pi", b"s\xc3\xa9sam \n1")


def test_no_user_is_nobody() -> None:
    assert credentials.load(MqttSettings("localhost")).credentials is None
    found = credentials.load(MqttSettings("localhost", user="pi")).credentials
    assert found == Credentials("pi", None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(IdentityError, match="chmod 600"):
        credentials.load(secret(tmp_path / "password", b"sesame", mode))


def test_file_of_systemds_is_as_systemd_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoadCredential= gives the service's user a right of its own, which looks like a group's."""
    monkeypatch.setattr("fedling_protocol.wire.identity.CREDENTIALS", tmp_path)
    mqtt = secret(tmp_path / "password", b"sesame", 0o440)
    assert credentials.load(mqtt).credentials == Credentials("pi", b"sesame")


@pytest.mark.parametrize("content", [b"", b"\n", bytes(4001)])
def test_password_of_no_length_or_too_much_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError, match="allowed: 1 to 4000"):
        credentials.load(secret(tmp_path / "password", content))


def test_missing_file_is_named(tmp_path: Path) -> None:
    mqtt = MqttSettings("localhost", user="pi", password_file=tmp_path / "nothing")
    with pytest.raises(IdentityError, match="nothing: cannot be read"):
        credentials.load(mqtt)


def test_password_without_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of no use without user"):
        MqttSettings("localhost", password_file=tmp_path / "password")


def test_password_is_in_no_words_about_it() -> None:
    assert "sesame" not in repr(Credentials("pi", b"sesame"))


@pytest.mark.parametrize(
    ("known_as", "heard"),
    [
        (Credentials("pi", b"sesame"), "connected"),
        (Credentials("pi", b"simsalabim"), "see mqtt.user and mqtt.password_file"),
        (Credentials("pi", b"simsalabim", "no such token"), "no such token"),
        (Credentials("pi", None), "see mqtt.user and mqtt.password_file"),
        (None, "see mqtt.user and mqtt.password_file"),
    ],
)
def test_broker_lets_in_who_knows_the_password(
    loop: Loop, tmp_path: Path, known_as: Credentials | None, heard: str
) -> None:
    settings = password_settings(tmp_path, "pi", "sesame")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        end = End(loop, broker.port, "one", known_as=known_as)
        end.until(lambda: bool(end.heard.events))
        assert heard in str(end.heard.events[0])
        end.stop()
