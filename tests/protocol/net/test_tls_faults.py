"""Each fault of TLS is one sentence that says the way out: at a real mosquitto, and by hand."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.moments import moment
from fedling_protocol.net import credentials, tls, tls_ending
from fedling_protocol.net.link import REVOKED_S
from fedling_protocol.net.tls_faults import (
    CONFIGURED,
    MISSING,
    NO_TLS,
    OLD,
    REFUSED,
    STRANGERS,
    Shown,
    sentence,
)
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError
from tests.protocol.net.ends import CONNACK, End, FakeBroker, Recorder, trusting
from tests.support.certificates import DAY, Authority, Pair, mosquitto_settings
from tests.support.tools import need

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def reason(loop: Loop, port: int, mqtt: MqttSettings) -> str:
    """Why no connection comes about."""
    layer = tls.layer(mqtt) if mqtt.tls else PLAIN
    end = End(loop, port, "one", layer=layer, host=mqtt.host)
    end.until(lambda: bool(end.heard.events))
    end.stop()
    return str(end.heard.events[0])


@contextmanager
def mosquitto(directory: Path, settings: list[str]) -> Iterator[int]:
    need("mosquitto")
    with Mosquitto(directory / "mosquitto", settings=settings) as broker:
        yield broker.port


# --- the way to the port ----------------------------------------------------------------------


def test_tls_at_a_plain_port(loop: Loop, authority: Authority, tmp_path: Path) -> None:
    with mosquitto(tmp_path, []) as port:
        said = reason(loop, port, trusting(authority))
    assert "is mqtt.port the one for TLS (mostly 8883, of WebSockets 443)" in said


def test_plain_at_a_port_of_tls(loop: Loop, authority: Authority, tmp_path: Path) -> None:
    with mosquitto(tmp_path, mosquitto_settings(authority, authority.server())) as port:
        said = reason(loop, port, MqttSettings("localhost"))
    assert "set mqtt.tls = true" in said


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", CONNACK])
def test_other_servers_speak_no_tls(loop: Loop, authority: Authority, says: bytes) -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(says)
        with suppress(OSError):
            peer.recv(1000)

    with FakeBroker(talk) as other:
        said = reason(loop, other.port, trusting(authority))
    assert said == CONFIGURED.no_tls


def test_port_that_closes_at_once(loop: Loop, authority: Authority) -> None:
    with FakeBroker(lambda _peer: None) as other:
        said = reason(loop, other.port, trusting(authority))
    assert said.startswith("the connection was closed in the middle of the TLS handshake")


def test_old_protocol(loop: Loop, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(*files(authority.server()))
    with pytest.deprecated_call():
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.deprecated_call():
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    def talk(peer: socket.socket) -> None:
        with suppress(OSError):
            context.wrap_socket(peer, server_side=True)

    with FakeBroker(talk) as other:
        said = reason(loop, other.port, trusting(authority))
    assert said.startswith("the MQTT broker speaks no TLS of version 1.2 or 1.3: upgrade it")


# --- whom this end does not believe -----------------------------------------------------------


def files(pair: Pair) -> tuple[Path, Path]:
    return pair.certificate, pair.key


def test_authority_that_is_unknown(
    loop: Loop, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    with mosquitto(tmp_path, mosquitto_settings(authority, authority.server())) as port:
        said = reason(loop, port, trusting(stranger))
        assert said == (
            "the MQTT broker's certificate is signed by nobody who is in "
            f"{stranger.certificate}: set mqtt.ca_file to the certificate of its authority"
        )
        system = reason(loop, port, MqttSettings("localhost", tls=True))
        assert "by nobody who this system trusts: set mqtt.ca_file" in system


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (-2 * DAY, -MINUTE, "has expired: renew it; if this machine's clock is wrong, which says "),
        (MINUTE * 5, DAY, "is not valid yet: this machine's clock says "),
    ],
)
def test_certificate_that_is_too_old_or_too_young_names_the_clock(
    loop: Loop, authority: Authority, tmp_path: Path, begins: timedelta, ends: timedelta, words: str
) -> None:
    pair = authority.server("timed", begins=begins, ends=ends)
    with mosquitto(tmp_path, mosquitto_settings(authority, pair)) as port:
        said = reason(loop, port, trusting(authority))
    assert words in said
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(, set it|; if that is wrong, set it)$", said)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_certificate_for_another_host(
    loop: Loop, authority: Authority, tmp_path: Path, host: str
) -> None:
    pair = authority.server("elsewhere", hosts=("broker.example", "192.0.2.1"))
    with mosquitto(tmp_path, mosquitto_settings(authority, pair)) as port:
        said = reason(loop, port, replace(trusting(authority), host=host))
    assert said.startswith(f"the MQTT broker's certificate is not for {host}: set mqtt.host")


def test_server_name_takes_the_place_of_the_host(
    loop: Loop, authority: Authority, tmp_path: Path
) -> None:
    """A broker that moves keeps the name in its certificate, and needs no new one."""
    pair = authority.server("named", hosts=("home.fedling",))
    mqtt = replace(trusting(authority), host="127.0.0.1", server_name="home.fedling")
    with mosquitto(tmp_path, mosquitto_settings(authority, pair)) as port:
        end = End(loop, port, "one", layer=tls.layer(mqtt), host=mqtt.host)
        end.until(lambda: end.link.connected)
        end.stop()
        said = reason(loop, port, replace(mqtt, server_name="work.fedling"))
    assert "certificate is not for work.fedling: set mqtt.host, or mqtt.server_name" in said


def test_common_name_is_no_host_name(loop: Loop, authority: Authority, tmp_path: Path) -> None:
    pair = authority.server("localhost", hosts=())
    with mosquitto(tmp_path, mosquitto_settings(authority, pair)) as port:
        said = reason(loop, port, trusting(authority))
    assert "is not for localhost: set mqtt.host" in said


def test_certificate_of_a_device_is_none_of_a_broker(
    loop: Loop, authority: Authority, tmp_path: Path
) -> None:
    """A device of the fleet, certified by the same authority, cannot play the MQTT broker."""
    pair = authority.client("localhost")
    with mosquitto(tmp_path, mosquitto_settings(authority, pair)) as port:
        said = reason(loop, port, trusting(authority))
    assert said.startswith("the MQTT broker's certificate is not believed: ")


# --- who does not believe this end ------------------------------------------------------------


@pytest.mark.parametrize("version", ["tlsv1.3", "tlsv1.2"])
def test_certificate_that_is_missing(
    loop: Loop, authority: Authority, tmp_path: Path, version: str
) -> None:
    settings = mosquitto_settings(authority, authority.server(), mutual=True)
    with mosquitto(tmp_path, [*settings, f"tls_version {version}"]) as port:
        said = reason(loop, port, trusting(authority))
    assert said.startswith("the MQTT broker wants a certificate of this end")
    assert said.endswith("set mqtt.certificate_file and mqtt.key_file")


@pytest.mark.parametrize("version", ["tlsv1.3", "tlsv1.2"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _own, other: other.client("x"), "does not know the authority that signed it"),
        (lambda own, _other: own.client("y", -2 * DAY, -MINUTE), "it has expired"),
        (lambda own, _other: own.client("z", DAY, 2 * DAY), "not valid yet"),
        (lambda own, _other: own.server("w"), "not made for clients"),
        (lambda own, _other: own.client("gone"), "it was revoked"),
    ],
)
def test_certificate_that_is_refused(
    loop: Loop,
    authority: Authority,
    stranger: Authority,
    tmp_path: Path,
    make: Callable[[Authority, Authority], Pair],
    words: str,
    version: str,
) -> None:
    pair = make(authority, stranger)
    settings = mosquitto_settings(authority, authority.server(), mutual=True)
    revoked = authority.revoke(*([pair] if pair.key.stem == "gone" else []))
    settings += [f"crlfile {revoked}", f"tls_version {version}"]
    mqtt = trusting(authority, pair)
    with mosquitto(tmp_path, settings) as port:
        end = End(loop, port, "one", layer=tls.layer(mqtt), host=mqtt.host)
        end.until(lambda: bool(end.heard.events))
        said, link = str(end.heard.events[0]), end.link
        end.stop()
    assert said.startswith(f"the MQTT broker does not take {pair.certificate}: ")
    assert words in said
    assert link.revoked == (pair.key.stem == "gone")


def test_who_is_revoked_asks_rarely(loop: Loop, authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("put-out")
    settings = mosquitto_settings(authority, authority.server(), mutual=True)
    retries: list[float] = []

    class Recording(Recorder):
        def on_disconnected(self, reason: str, retry_s: float) -> None:
            retries.append(retry_s)

    with mosquitto(tmp_path, [*settings, f"crlfile {authority.revoke(pair)}"]) as port:
        end = End(
            loop, port, "one", layer=tls.layer(trusting(authority, pair)), host="localhost",
            heard=Recording("test/state"),
        )  # fmt: skip
        end.until(lambda: bool(retries))
        end.stop()
    assert REVOKED_S / 2 <= retries[0] < REVOKED_S * 3 / 2


def test_every_word_that_is_known_has_a_sentence_with_a_way_out() -> None:
    for shown in (
        Shown("h", None, None), Shown("h", Path("ca"), Path("own"))
    ):  # fmt: skip
        for word in [*NO_TLS, *OLD, *MISSING, *REFUSED, "SOMETHING_ELSE"]:
            error = ssl.SSLError(1, word)
            error.reason = word
            said = sentence(shown, error)
            assert "\n" not in said
            assert "mqtt." in said or "upgrade" in said or "own" in said or "log" in said


WORDS = [*sorted(NO_TLS | OLD | MISSING), *REFUSED, "SOMETHING_ELSE"]


@pytest.mark.parametrize("word", WORDS)
def test_who_has_no_configuration_is_told_to_set_nothing(word: str) -> None:
    """Not those who enrol: the port is in their token."""
    error = ssl.SSLError(1, word)
    error.reason = word
    assert "mqtt." not in sentence(Shown("h", None, None, STRANGERS), error)


@pytest.mark.parametrize(("days", "soon"), [(-1, True), (1, True), (29, True), (31, False)])
def test_ending_is_told_while_there_is_time(authority: Authority, days: int, soon: bool) -> None:
    mqtt = trusting(authority, authority.client(f"ends{days}", -2 * DAY, days * DAY))
    words, told = tls_ending.ending(mqtt, time.time())
    assert mqtt.certificate_file is not None
    made = x509.load_pem_x509_certificate(mqtt.certificate_file.read_bytes())
    ends = getattr(made, "not_valid_after_utc", None) or made.not_valid_after.replace(tzinfo=UTC)
    until = moment(ends.timestamp())
    assert (words, told) == (f"{mqtt.certificate_file} holds until {until}", soon)
    assert tls_ending.ending(trusting(authority), time.time()) == ("", False)


# --- files that cannot be used: nobody connects -----------------------------------------------


def keys(authority: Authority, name: str = "one") -> MqttSettings:
    return trusting(authority, authority.client(name))


def fault(mqtt: MqttSettings) -> str:
    with pytest.raises((IdentityError, SettingsError)) as refused:
        credentials.load(mqtt)
    return str(refused.value)


def test_files_that_are_sound_are_taken(authority: Authority) -> None:
    credentials.load(keys(authority))


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file"])
def test_file_that_is_not_there(authority: Authority, tmp_path: Path, name: str) -> None:
    nothing = tmp_path / "nothing"
    said = fault(replace(keys(authority), **{name: nothing}))  # type: ignore[arg-type]
    assert said.startswith(f"{nothing}: ")
    assert "cannot be read: No such file" in said


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file"])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_file_that_holds_something_else(
    authority: Authority, tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / "something"
    file.touch(0o600)
    file.write_bytes(content)
    said = fault(replace(keys(authority), **{name: file}))  # type: ignore[arg-type]
    assert str(file) in said
    assert "PEM form" in said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_that_others_can_read_is_refused(authority: Authority, mode: int) -> None:
    mqtt = keys(authority, "loose")
    assert mqtt.key_file is not None
    mqtt.key_file.chmod(mode)
    assert f"run: chmod 600 {mqtt.key_file}" in fault(mqtt)


def test_key_by_load_credential_of_systemd_is_taken(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    mqtt = keys(authority, "handed")
    assert mqtt.key_file is not None
    mqtt.key_file.chmod(0o640)
    monkeypatch.setattr(identity, "CREDENTIALS", authority.directory)
    credentials.load(mqtt)


def test_key_of_another_certificate(authority: Authority) -> None:
    other = authority.client("other").key
    assert fault(replace(keys(authority), key_file=other)) == (
        f"{other}: mqtt.key_file: not the key of {authority.directory / 'one.crt'}"
    )


def test_key_with_a_passphrase_asks_nobody(authority: Authority, tmp_path: Path) -> None:
    mqtt = keys(authority)
    assert mqtt.key_file is not None
    locked = tmp_path / "locked.key"
    locked.touch(0o600)
    locked.write_bytes(encrypted(mqtt.key_file.read_bytes()))
    assert "a key with a passphrase" in fault(replace(mqtt, key_file=locked))


def encrypted(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
