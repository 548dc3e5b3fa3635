"""What a real mosquitto makes of the configuration, and what of it a SIGHUP reads again."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from fedling_broker.authority import x509
from fedling_broker.mosquitto import access
from fedling_broker.mosquitto.configuration import (
    ACCESS,
    CA,
    CERTIFICATE,
    ENROLLING,
    KEY,
    REVOKED,
    SLOTS,
    Configuration,
    Tls,
)
from fedling_broker.mosquitto.passwords import Login
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_PACKET
from tests.protocol.net.ends import End
from tests.support.guarded import HOSTS, TOPICS, Guarded

DEVICE, OTHER = "a" * 16, "b" * 16
AGGREGATOR = access.aggregator("home")
TOKEN, NEXT = Login("enrol-0011223344556677-3", "ab" * 16), Login("enrol-8899-0", "cd" * 16)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("fleet")) as guarded:
        yield guarded


def is_let_in(end: End) -> bool:
    """Wait for the first word about it."""
    end.until(lambda: bool(end.heard.events))
    end.stop()
    return end.heard.events[0] == "connected"


def topic_of(kind: Kind, device: str) -> str:
    """A topic of the kind; of this device, if it is any device's."""
    words = [name for _, name, _, _ in Formatter().parse(kind.topic) if name]
    return TOPICS.prefix + kind.topic.format(**dict.fromkeys(words, "x") | {"device": device})


# --- what is read again by SIGHUP, and what not before -------------------------------------------


def test_reload_reads_passwords(fleet: Guarded, loop: Loop) -> None:
    fleet.tell([], [TOKEN])
    assert not is_let_in(fleet.guest(loop, TOKEN.user, TOKEN.password))
    fleet.reload(loop)
    device = fleet.end(loop, DEVICE).connect()
    assert is_let_in(fleet.guest(loop, TOKEN.user, TOKEN.password))
    assert not is_let_in(fleet.guest(loop, TOKEN.user, "ab" * 15))
    assert not is_let_in(fleet.guest(loop, DEVICE, TOKEN.password))
    fleet.tell([], [NEXT])
    fleet.reload(loop)
    assert not is_let_in(fleet.guest(loop, TOKEN.user, TOKEN.password))
    assert is_let_in(fleet.guest(loop, NEXT.user, NEXT.password))
    assert device.heard.events == ["connected"]  # who has a certificate is not disturbed
    device.stop()


def test_reload_reads_the_revocation_list_again_and_again(fleet: Guarded, loop: Loop) -> None:
    """Of lists that begin in the same second OpenSSL would keep the first one."""
    names = ["c" * 16, "d" * 16, "e" * 16]
    settings = {name: fleet.settings(name) for name in names}
    ends = {name: fleet.shown(loop, name, settings[name]) for name in names}
    assert all(is_let_in(end) for end in ends.values())
    for count, name in enumerate(names, 1):
        fleet.authority.revoke(fleet.serials[name])
        fleet.tell([])
        assert is_let_in(fleet.shown(loop, name, settings[name]))
        fleet.reload(loop)
        let_in = [is_let_in(fleet.shown(loop, each, settings[each])) for each in names]
        assert let_in == [False] * count + [True] * (len(names) - count)


def test_reload_reads_the_access_list(fleet: Guarded, loop: Loop) -> None:
    """Also for who is connected, and has subscribed."""
    device, aggregator = fleet.end(loop, DEVICE).connect(), fleet.end(loop, AGGREGATOR).connect()
    device.link.subscribe(["fedling/1/home/keys/+"])
    device.until(lambda: device.link.answered)
    aggregator.link.publish("fedling/1/home/keys/aggregator", b"before")
    device.until(lambda: bool(device.heard.messages))
    fleet.tell([DEVICE])
    fleet.reload(loop)
    sent: list[bool] = []
    aggregator.link.publish("fedling/1/home/keys/aggregator", b"x", done=lambda: sent.append(True))
    aggregator.until(lambda: bool(sent))
    fleet.tell([])
    fleet.reload(loop)
    aggregator.link.publish("fedling/1/home/keys/aggregator", b"after")
    device.until(lambda: len(device.heard.messages) > 1)
    assert [payload for _, payload, _ in device.heard.messages] == [b"before", b"after"]
    for end in (device, aggregator):
        end.stop()


def test_reload_reads_certificate_and_key_of_both_listeners(fleet: Guarded, loop: Loop) -> None:
    before = [certificate_shown_at(port) for port in (fleet.mosquitto.port, fleet.enrolment)]
    (fleet.files.directory / KEY).unlink()
    fleet.files.prepare(fleet.authority, TOPICS, HOSTS)
    fleet.reload(loop)
    after = [certificate_shown_at(port) for port in (fleet.mosquitto.port, fleet.enrolment)]
    mine = (fleet.files.directory / CERTIFICATE).read_text()
    assert before[0] == before[1] != mine
    assert after == [mine, mine]


def test_reload_reads_authorities(fleet: Guarded, loop: Loop, tmp_path: Path) -> None:
    """So a successor of the authority for TLS is believed before anybody has its certificates."""
    other = Guarded(tmp_path)
    settings = other.settings(DEVICE)
    here = fleet.shown(loop, DEVICE, settings)
    assert not is_let_in(here)
    directory = fleet.files.directory
    (directory / CA).write_bytes(x509.pem(fleet.authority.der) + x509.pem(other.authority.der))
    (directory / REVOKED).write_bytes(fleet.authority.list() + other.authority.list())
    fleet.reload(loop)
    assert is_let_in(fleet.shown(loop, DEVICE, settings))


def certificate_shown_at(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


# --- who is let in, and as whom ------------------------------------------------------------------


def test_nobody_is_let_in_without_a_certificate(fleet: Guarded, loop: Loop) -> None:
    assert not is_let_in(fleet.shown(loop, DEVICE, fleet.nobody()))


def test_client_id_is_the_certificates_whatever_a_client_says(fleet: Guarded, loop: Loop) -> None:
    victim = fleet.end(loop, DEVICE).connect()
    thief = fleet.shown(loop, DEVICE, fleet.settings(OTHER)).connect()
    assert victim.heard.events == ["connected"]
    for end in (victim, thief):
        end.stop()


def test_device_writes_its_own_topics_of_every_kind_and_no_other(
    fleet: Guarded, loop: Loop
) -> None:
    aggregator = fleet.end(loop, AGGREGATOR).connect()
    aggregator.link.subscribe(["fedling/1/home/#"])
    aggregator.until(lambda: aggregator.link.answered)
    device = fleet.end(loop, DEVICE).connect()
    for kind in Kind:
        device.link.publish(topic_of(kind, OTHER), b"forged")
    own = [topic_of(kind, DEVICE) for kind in Kind if kind.from_device]
    for topic in own:
        device.link.publish(topic, b"mine")
    aggregator.until(lambda: len(aggregator.heard.messages) >= len(own))
    assert [topic for topic, _, _ in aggregator.heard.messages] == own
    for end in (aggregator, device):
        end.stop()


def test_token_takes_no_devices_place(fleet: Guarded, loop: Loop) -> None:
    """Client ids are of the whole broker, not of a listener."""
    fleet.tell([], [TOKEN])
    fleet.reload(loop)
    victim = fleet.end(loop, DEVICE).connect()
    guest = fleet.guest(loop, TOKEN.user, TOKEN.password, client_id=DEVICE).connect()
    assert victim.heard.events == ["connected"]
    for end in (victim, guest):
        end.stop()


def test_token_asks_and_hears_the_answer_and_nothing_else(fleet: Guarded, loop: Loop) -> None:
    fleet.tell([], [TOKEN])
    fleet.reload(loop)
    aggregator = fleet.end(loop, AGGREGATOR).connect()
    aggregator.link.subscribe(["fedling/1/home/#"])
    guest = fleet.guest(loop, TOKEN.user, TOKEN.password).connect()
    everything = ["#", "fedling/1/home/enrolled/+", "fedling/1/home/enrol/+"]
    guest.link.subscribe(everything)
    guest.until(lambda: guest.link.answered)
    for topic in ("watch/join/" + DEVICE, "keys/aggregator", "enrolled/" + DEVICE):
        guest.link.publish(f"fedling/1/home/{topic}", b"forged")
    guest.link.publish(f"fedling/1/home/enrol/{DEVICE}", b"ask")
    aggregator.until(lambda: bool(aggregator.heard.messages))
    assert aggregator.heard.messages[0][1] == b"ask"
    for topic in ("keys/aggregator", "watch/plan/train", "watch/model/1", "enrolled/" + DEVICE):
        aggregator.link.publish(f"fedling/1/home/{topic}", topic.encode())
    guest.until(lambda: bool(guest.heard.messages))
    assert [payload for _, payload, _ in guest.heard.messages] == [b"enrolled/" + DEVICE.encode()]
    for end in (aggregator, guest):
        end.stop()


def test_will_is_published_though_each_listener_has_its_list(fleet: Guarded, loop: Loop) -> None:
    aggregator = fleet.end(loop, AGGREGATOR).connect()
    aggregator.link.subscribe(["fedling/1/home/state/+"])
    aggregator.until(lambda: aggregator.link.answered)
    topic = f"fedling/1/home/state/{DEVICE}"
    device = fleet.end(loop, DEVICE, will=topic).connect()
    device.link.reconnect("as if it were lost")
    aggregator.until(lambda: bool(aggregator.heard.messages))
    assert aggregator.heard.messages[0][0] == topic
    for end in (aggregator, device):
        end.stop()


# --- the text ------------------------------------------------------------------------------------


def test_every_line_has_a_reason() -> None:
    """A line without one belongs to the line above it."""
    text = Configuration(8883, "", Tls("/m", 8884), "me", "/state").text()
    blocks = [block for block in text.split("\n\n") if block]
    for block in blocks:
        lines = [line for line in block.splitlines() if not line.startswith("listener")]
        assert lines[0].startswith("# ")
    options = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert sum(line.startswith("# ") for line in text.splitlines()) > 0.7 * len(options)


def test_listeners_are_guarded_alike_but_for_how_one_is_known() -> None:
    text = Configuration(8883, "", Tls("/m", 8884)).text()
    _, devices, enrolment = (set(part.splitlines()) for part in text.split("\nlistener "))
    both = {"allow_anonymous false", "use_username_as_clientid true", "max_qos 1"}
    assert both < devices
    assert both < enrolment
    assert {"require_certificate true", "use_identity_as_username true"} < devices
    assert not any(line.startswith("password_file") for line in devices)
    assert not any(line.startswith("cafile") for line in enrolment)


def test_packets_are_as_large_as_the_wire_allows_and_tokens_fit() -> None:
    text = Configuration(8883, "", Tls("/m", 8884)).text()
    assert f"max_packet_size {MAX_PACKET}\n" in text
    assert ENROLLING % SLOTS == 0


def test_access_of_devices_is_the_table_of_kinds() -> None:
    """A row more in the table is a line more here."""
    assert access.of_devices(TOPICS, []).splitlines() == [
        f"user {AGGREGATOR}",
        "topic readwrite fedling/1/home/#",
        "pattern read fedling/1/home/keys/+",
        "pattern readwrite fedling/1/home/state/%u",
        "pattern read fedling/1/home/tasks/list",
        "pattern read fedling/1/home/+/plan/+",
        "pattern read fedling/1/home/+/model/+",
        "pattern read fedling/1/home/+/change/+",
        "pattern read fedling/1/home/+/chunk/+/+/+",
        "pattern readwrite fedling/1/home/+/join/%u",
        "pattern read fedling/1/home/+/ticket/%u",
        "pattern readwrite fedling/1/home/+/up/%u/+/+",
        "pattern read fedling/1/home/+/receipt/%u",
        "pattern read fedling/1/home/roots/list",
        "pattern readwrite fedling/1/home/enrol/%u",
        "pattern read fedling/1/home/enrolled/%u",
    ]


def test_login_does_not_show_its_password() -> None:
    assert TOKEN.password not in repr(TOKEN)


def test_tell_again_changes_no_file(fleet: Guarded) -> None:
    """Or mosquitto would be told to read them every time."""
    fleet.files.prepare(fleet.authority, TOPICS, HOSTS)
    fleet.tell([DEVICE], [TOKEN, NEXT])
    before = fleet.files.stamp()
    fleet.tell([DEVICE], [NEXT, TOKEN])
    fleet.files.prepare(fleet.authority, TOPICS, HOSTS)
    assert fleet.files.stamp() == before
    fleet.tell([], [])
    assert fleet.files.stamp() != before
    assert (fleet.files.directory / ACCESS).stat().st_mode & 0o777 == 0o600
