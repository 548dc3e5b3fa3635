"""[mqtt]: what may stand beside what, and when plain TCP is refused."""

import itertools
from pathlib import Path

import pytest

from fedling_protocol import settings
from fedling_protocol.common_settings import (
    FILES,
    MqttSettings,
    check_host_for_devices,
    is_loopback,
)
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.token import Token, TokenError
from fedling_protocol.wire.topics import Topics

LOOPBACK = ("localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1")
ELSEWHERE = (
    *("broker.local", "192.168.1.9", "10.0.0.1", "fe80::1", "0.0.0.0", "::", "1.127.0.0.1"),
    *("localhost.example.org", "127.0.0.1.example.org", "nolocalhost", "::ffff:10.0.0.1", "x"),
)
TLS_KEYS = 'ca_file = "c"', 'certificate_file = "d"', 'key_file = "k"', 'server_name = "n"'


def read(*lines: str) -> MqttSettings:
    return settings.parse("\n".join(lines), "agent.toml", MqttSettings)


@pytest.mark.parametrize("host", LOOPBACK)
def test_plain_tcp_to_this_machine_needs_no_permission(host: str) -> None:
    assert is_loopback(host)
    mqtt = read(f'host = "{host}"')
    assert (mqtt.tcp_port, mqtt.plaintext, mqtt.way_there) == (1883, False, f"{host}:1883")


@pytest.mark.parametrize("host", ELSEWHERE)
def test_plain_tcp_to_another_machine_must_be_asked_for_in_so_many_words(host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(f'host = "{host}"', "port = 1883")
    assert f'agent.toml: host = "{host}" is another machine' in str(refused.value)
    assert "tls = true" in str(refused.value)
    assert "allow_plaintext = true" in str(refused.value)
    mqtt = read(f'host = "{host}"', "allow_plaintext = true")
    assert mqtt.plaintext
    assert mqtt.way_there == f"{host}:1883, not encrypted (mqtt.tls)"


@pytest.mark.parametrize("host", [*LOOPBACK, *ELSEWHERE])
def test_tls_has_its_own_port_and_no_need_of_a_permission(host: str) -> None:
    mqtt = read(f'host = "{host}"', "tls = true")
    assert (mqtt.tcp_port, mqtt.plaintext, mqtt.way_there) == (8883, False, f"{host}:8883 by TLS")
    assert read(f'host = "{host}"', "tls = true", "port = 443").tcp_port == 443


@pytest.mark.parametrize(
    "keys", [some for n in range(5) for some in itertools.combinations(TLS_KEYS, n)]
)
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("plaintext", [True, False])
def test_keys_that_do_not_fit_each_other(keys: tuple[str, ...], tls: bool, plaintext: bool) -> None:
    """Every combination: a pair is whole, files are TLS's, and who wants TLS wants no plaintext."""
    lines = ['host = "localhost"', *keys]
    lines += ["tls = true"] * tls + ["allow_plaintext = true"] * plaintext
    whole = (TLS_KEYS[1] in keys) == (TLS_KEYS[2] in keys)
    if whole and (tls or not keys) and not (tls and plaintext):
        assert read(*lines).tls is tls
        return
    with pytest.raises(SettingsError, match=r"together only|of no use without tls|contradict"):
        read(*lines)


@pytest.mark.parametrize(
    ("line", "proven"),
    [("", "192.168.1.9"), ('server_name = ""', "192.168.1.9"), ('server_name = "f.x"', "f.x")],
)
def test_name_that_the_certificate_must_prove_is_the_given_one_else_the_host(
    line: str, proven: str
) -> None:
    assert read('host = "192.168.1.9"', "tls = true", line).proven_name == proven


def test_server_name_is_one() -> None:
    with pytest.raises(SettingsError, match="1 to 63 characters"):
        read('host = "h"', "tls = true", 'server_name = "a..b"')


def test_within_takes_every_relative_path_from_the_folder_of_the_file() -> None:
    lines = [f'{name} = "{name}"' for name in FILES]
    mqtt = read('host = "h"', 'user = "u"', "tls = true", *lines).within(Path("/etc/fedling"))
    assert {getattr(mqtt, name) for name in FILES} == {Path("/etc/fedling", n) for n in FILES}
    given = [f'{name} = "/{name}"' for name in FILES]
    mqtt = read('host = "h"', 'user = "u"', "tls = true", *given).within(Path("/etc/fedling"))
    assert {getattr(mqtt, name) for name in FILES} == {Path("/", n) for n in FILES}


WRONG_HOSTS = (
    *("https://broker.local", "broker.local:8883", "[::1]", "[::1]:8883", "pi@broker", "a b"),
    *("broker.local/", " broker.local", "::1:x", "\t", "1.2.3.4:5"),
)


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_a_host_is_a_name_or_an_address_and_nothing_around_it(host: str) -> None:
    with pytest.raises(SettingsError, match="a name or address, as"):
        read(f'host = "{host}"', "tls = true")
    assert check_host_for_devices(host) is not None


@pytest.mark.parametrize("host", [*LOOPBACK, *ELSEWHERE, "my_host.local", "xn--kche-0ra.local"])
def test_a_host_that_settings_take_for_devices_goes_into_a_token(host: str) -> None:
    assert check_host_for_devices(host) is None
    token = Token.generate(bytes(32), Topics("fedling", "home"), host, 8884)
    assert Token.parse(token.text()) == token


@pytest.mark.parametrize("host", [*WRONG_HOSTS, "küche.local"])
def test_a_host_that_no_token_can_hold_is_refused_before(host: str) -> None:
    assert check_host_for_devices(host) is not None
    with pytest.raises(TokenError):
        Token.generate(bytes(32), Topics("fedling", "home"), host, 8884)


# --- WebSockets ----------------------------------------------------------------------------------

PATH = 'websocket_path = "/mqtt"'


@pytest.mark.parametrize(
    ("lines", "port", "web_host", "way"),
    [
        ((), 80, "localhost", "localhost:80/mqtt by WebSockets"),
        (("tls = true",), 443, "localhost", "localhost:443/mqtt by WebSockets and TLS"),
        (("port = 8080",), 8080, "localhost:8080", "localhost:8080/mqtt by WebSockets"),
        (("port = 443",), 443, "localhost:443", "localhost:443/mqtt by WebSockets"),
        (
            ("tls = true", "port = 80"),
            80,
            "localhost:80",
            "localhost:80/mqtt by WebSockets and TLS",
        ),
    ],
)
def test_websockets_have_the_ports_of_the_web(
    lines: tuple[str, ...], port: int, web_host: str, way: str
) -> None:
    mqtt = read('host = "localhost"', PATH, *lines)
    assert (mqtt.tcp_port, mqtt.web_host, mqtt.way_there) == (port, web_host, way)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_websockets_are_no_permission_to_go_elsewhere_without_tls(host: str) -> None:
    with pytest.raises(SettingsError, match="is another machine, and without TLS"):
        read(f'host = "{host}"', PATH)
    mqtt = read(f'host = "{host}"', PATH, "allow_plaintext = true")
    assert mqtt.way_there == f"{host}:80/mqtt by WebSockets, not encrypted (mqtt.tls)"


@pytest.mark.parametrize(
    ("host", "line", "web_host"),
    [
        ("::1", "", "[::1]"),
        ("fe80::1%eth0", "", "[fe80::1]"),
        ("broker.local.", "", "broker.local"),
        ("küche.local", "", "xn--kche-0ra.local"),
        ("192.168.1.9", 'server_name = "broker.example"', "broker.example"),
    ],
)
def test_web_server_is_asked_for_the_name_that_its_certificate_must_prove(
    host: str, line: str, web_host: str
) -> None:
    assert read(f'host = "{host}"', PATH, "tls = true", line).web_host == web_host


@pytest.mark.parametrize("path", ["/", "/mqtt", "/a/b?token=x&y=%C3%A4", "/~x:1"])
def test_path_that_is_one(path: str) -> None:
    assert read('host = "localhost"', f'websocket_path = "{path}"').websocket_path == path


@pytest.mark.parametrize(
    "path",
    ["mqtt", "wss://host/mqtt", "/a b", "/a\\r\\nX: y", "/a#b", "/ä", " /", "/\\u0000", "?x"],
)
def test_path_that_would_not_stand_in_a_request(path: str) -> None:
    with pytest.raises(SettingsError, match=r"websocket_path.*as it stands behind the host in a"):
        read('host = "localhost"', f'websocket_path = "{path}"')


def test_silence_is_shorter_where_web_servers_cut_it_unless_it_is_given() -> None:
    assert read('host = "localhost"').silence_s == 300
    assert read('host = "localhost"', PATH).silence_s < 60
    assert read('host = "localhost"', PATH, "keepalive_s = 77").silence_s == 77
