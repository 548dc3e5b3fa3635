"""HTTP's part of WebSockets: what is asked, and which answer lets us through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net import upgrade
from fedling_protocol.net.upgrade import Asked, UpgradeError, early

# RFC 6455, section 1.3
KEY, PROOF = b"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKED = Asked("broker.example", "/mqtt", tls=True, key=KEY)
GOOD = (
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Accept: {PROOF}",
    "Sec-WebSocket-Protocol: mqtt",
)


def judge(*lines: str, asked: Asked = ASKED) -> None:
    asked.judge("\r\n".join(lines).encode())


def refusal(*lines: str, asked: Asked = ASKED) -> str:
    with pytest.raises(UpgradeError) as refused:
        judge(*lines, asked=asked)
    return str(refused.value)


def test_request_has_each_header_once_and_no_origin() -> None:
    first, *lines = ASKED.request().decode().removesuffix("\r\n\r\n").split("\r\n")
    assert first == "GET /mqtt HTTP/1.1"
    assert dict(line.split(": ") for line in lines) == {
        "Host": "broker.example",
        "User-Agent": "fedling",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY.decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    assert len(lines) == 7


@pytest.mark.parametrize(
    "lines",
    [
        GOOD,
        [line.lower().replace(PROOF.lower(), PROOF).replace("http/", "HTTP/") for line in GOOD],
        [*GOOD, "Server: nginx", "X-Empty:", "no header"],
        [GOOD[0], "upgrade: WebSocket", "connection: keep-alive, Upgrade", *GOOD[3:]],
        [GOOD[0], GOOD[1], "connection: keep-alive", *GOOD[2:]],
        GOOD[:-1],  # a tunnel that knows no MQTT
        ["HTTP/1.1 101", *GOOD[1:]],
        ["HTTP/1.0 101 ok", *GOOD[1:]],
    ],
)
def test_answer_that_lets_us_through(lines: list[str]) -> None:
    judge(*lines)


@pytest.mark.parametrize(
    ("number", "line", "why"),
    [
        (1, "Upgrade: h2c", "changes to something that is no WebSocket"),
        (1, "", "changes to something that is no WebSocket"),
        (2, "Connection: keep-alive", "changes to something that is no WebSocket"),
        (3, "Sec-WebSocket-Accept: " + PROOF.lower(), "a cache is on the way"),
        (3, "Sec-WebSocket-Accept: ä", "a cache is on the way"),
        (3, "", "a cache is on the way"),
        (4, "Sec-WebSocket-Protocol: binary", "what is behind this path speaks binary, not MQTT"),
        (4, "Sec-WebSocket-Protocol: mqtt, mqtt", "speaks mqtt, mqtt, not MQTT"),
        (4, "Sec-WebSocket-Extensions: permessage-deflate", "extensions of WebSockets that nobody"),
    ],
)
def test_answer_that_has_not_understood_the_question(number: int, line: str, why: str) -> None:
    assert why in refusal(*GOOD[:number], line, *GOOD[number + 1 :])


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("404 Not Found", "nothing is there: set mqtt.websocket_path to what the web server"),
        ("200 OK", "does not pass WebSockets on (nginx: proxy_http_version 1.1"),
        ("426 Upgrade Required", "does not pass WebSockets on"),
        ("400 Bad Request", "is this the port and path for WebSockets?"),
        ("401 Unauthorized", "let this path through without"),
        ("403 Forbidden", "its access rules or its log say why"),
        ("502 Bad Gateway", "does not reach the MQTT broker behind it"),
        ("504 Gateway Time-out", "does not reach the MQTT broker behind it"),
        ("418 I'm a teapot", "its log may say why"),
        ("999 \x1b[31mred\x07", "HTTP 999 ?[31mred?: its log may say why"),
    ],
)
def test_refusal_says_the_path_the_server_the_status_and_what_to_do(status: str, why: str) -> None:
    said = refusal(f"HTTP/1.1 {status}")
    assert said.startswith(f"/mqtt at the web server broker.example says HTTP {status[:4]}")
    assert why in said


def test_refusal_of_a_request_without_tls_may_be_for_want_of_it() -> None:
    plain = Asked("broker.example", "/mqtt", tls=False, key=KEY)
    assert "set mqtt.tls = true" in refusal("HTTP/1.1 400 Bad Request", asked=plain)
    assert "mqtt.tls" not in refusal("HTTP/1.1 400 Bad Request")


def test_redirection_is_told_and_not_followed() -> None:
    said = refusal("HTTP/1.1 301 Moved", "Location: https://other.example/mqtt")
    assert "it sends us on to https://other.example/mqtt: set mqtt.host" in said
    assert "sends us on to another place" in refusal("HTTP/1.1 308 Moved")


@pytest.mark.parametrize("first", ["HTTP/2 101", "RTSP/1.0 200", "", "HTTP/1.1", "HTTP/1.1 x"])
def test_first_line_that_is_not_of_http(first: str) -> None:
    assert refusal(first, *GOOD[1:]) == upgrade.NOT_HTTP


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_whatever_comes_is_let_through_or_refused_in_a_sentence(junk: bytes, at: int) -> None:
    lines = [line.encode() for line in GOOD]
    said = ""
    try:
        ASKED.judge(b"\r\n".join([*lines[:at], junk, *lines[at:]]))
    except UpgradeError as refused:
        said = str(refused)
    assert said.isprintable()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        *[(b"HTTP/"[:n], "") for n in range(1, 6)],
        (b"\x15\x03\x03\x00\x02", upgrade.TLS),
        (b"\x20\x02\x00\x00", upgrade.NOT_HTTP),
        (b"SSH-2", upgrade.NOT_HTTP),
        (b"H2", upgrade.NOT_HTTP),
    ],
)
def test_first_bytes_tell_whether_it_is_http(data: bytes, why: str) -> None:
    assert early(data) == why
