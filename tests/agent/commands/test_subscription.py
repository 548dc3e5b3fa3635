"""`fedling-agent ingest --mqtt`: a real mosquitto, and a program that publishes to it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.commands.subscription import MOST_BYTES, Wanted
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit
from fedling_protocol.net.probe import Probe
from tests.agent.commands.test_files import samples, stored
from tests.agent.commands.test_ingest import door
from tests.support.access import password_settings
from tests.support.agent import Agent
from tests.support.waiting import PATIENCE_S, until

TOPIC = "sensors/wrist"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of an MQTT broker on this device."""
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        yield mosquitto.port


class Sensor(Probe):
    """A program that publishes samples."""

    def __init__(self, port: int) -> None:
        super().__init__(MqttSettings("127.0.0.1", port), "sensor")

    def says(self, payload: str | bytes, *, retain: bool = False) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        assert self.publish(TOPIC, data, retain=retain)

    def __enter__(self) -> "Sensor":
        self.connect()
        return self


class Listener:
    """`ingest --mqtt` in a process of its own."""

    def __init__(
        self, agent: Agent, port: int, *words: str, user: str = "", as_json: bool = True
    ) -> None:
        self._errors = agent.directory / "mqtt.err"
        url = f"mqtt://{user}127.0.0.1:{port}/{TOPIC}"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                agent.command("ingest", "wrist", "--mqtt", url, *["--json"][:as_json], *words),
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def until(self, words: str, times: int = 1) -> None:
        until(lambda: self.errors.count(words) == times)

    def end(self) -> dict[str, object]:
        """What it says of all rows, to a program."""
        found: dict[str, object] = json.loads(self.ended())
        return found

    def ended(self) -> str:
        """What it says of all rows."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == Exit.INTERRUPTED, self.errors
        assert "Traceback" not in self.errors
        return out


def row(number: int, recording: str = "door") -> str:
    return f'{{"recording": "{recording}", "label": "open", "x": {number / 100}, "y": 0}}'


def test_rows_that_are_published_are_stored(agent: Agent, port: int) -> None:
    listener = Listener(agent, port)
    listener.until(f"{TOPIC}: listens at 127.0.0.1:{port}")
    with Sensor(port) as sensor:
        sensor.says(row(0))
        sensor.says("\n".join(map(row, range(1, 30))) + "\r\n")
        sensor.says('{"x": 1, "y": 2}')
        until(lambda: samples(agent) == {"door": 30, TOPIC: 1})
        sensor.says(row(30))
        until(lambda: samples(agent) == {"door": 31, TOPIC: 1})
    said = listener.end()
    assert (said["stored"], said["refused"]) == (32, 0)
    assert door(agent) == (list(range(31)), 0)


def test_a_table_has_the_channels_in_their_order(agent: Agent, port: int) -> None:
    listener = Listener(agent, port, "--format", "csv", "--recording", "door", "--label", "open")
    listener.until("listens")
    with Sensor(port) as sensor:
        for number in range(5):
            sensor.says(f"{number / 100},7")
        sensor.says('"0.05,7')  # a quote that nobody closes
        sensor.says("x,y\n0.05,7\n0.06,7\n")  # its header is known
    until(lambda: stored(agent) == {"door": {"open": 7}})
    assert listener.end()["refused"] == 1
    assert door(agent) == (list(range(7)), 1)


def test_a_payload_that_is_wrong_is_counted_and_ends_nothing(agent: Agent, port: int) -> None:
    listener = Listener(agent, port)
    listener.until("listens")
    with Sensor(port) as sensor:
        sensor.says(row(0))
        for payload in (b"\x00\xff\x01", "1,2", '{"z": 1}', b"y" * 100_000, b"y" * MOST_BYTES):
            sensor.says(payload)
        sensor.says(bytes(2 * MOST_BYTES))  # it never comes into memory
        sensor.says(row(1))
        sensor.says(b"")
        until(lambda: samples(agent) == {"door": 2})
    said = listener.end()
    assert (said["stored"], said["refused"], said["row"]) == (2, 6, 8)
    assert "row 2: not UTF-8 text" in listener.errors
    assert "row 4: unknown key z" in listener.errors
    assert listener.errors.count("longer than 65536 bytes") == 3
    assert door(agent) == ([0, 1], 1)  # a hole where they were


def test_what_an_mqtt_broker_retains_is_no_new_sample(agent: Agent, port: int) -> None:
    with Sensor(port) as sensor:
        sensor.says(row(0), retain=True)
        listener = Listener(agent, port)
        listener.until("listens")
        sensor.says(row(1), retain=True)
        until(lambda: samples(agent) == {"door": 1})
    listener.end()
    assert door(agent) == ([1], 0)


def test_a_signal_before_the_first_message(agent: Agent) -> None:
    listener = Listener(agent, free_port(), as_json=False)
    listener.until("Connection refused; it is tried again")
    assert listener.ended() == "stored 0 rows, refused 0; interrupted after row 0\n"


def test_an_mqtt_broker_that_is_gone_is_waited_for(agent: Agent, tmp_path: Path) -> None:
    port = free_port()
    listener = Listener(agent, port)
    listener.until(f"{TOPIC}: 127.0.0.1:{port}: Connection refused; it is tried again")
    for number in range(2):
        with Mosquitto(tmp_path / f"mosquitto-{number}", port), Sensor(port) as sensor:
            listener.until("listens", number + 1)
            sensor.says(row(number))
            until(lambda: samples(agent) == {"door": number + 1})  # noqa: B023 (called at once)
    listener.end()
    assert listener.errors.count("Connection refused; it is tried again") in (1, 2, 3)
    assert door(agent) == ([0, 1], 1)  # what was published meanwhile nobody knows


def test_a_service_that_is_killed_stores_every_row_once(agent: Agent, port: int) -> None:
    listener = Listener(agent, port, "--format", "csv", "--recording", "door")
    listener.until("listens")
    with Sensor(port) as sensor:
        for number in range(4):
            sensor.says(f"{number / 100},0")
            until(lambda: samples(agent) == {"door": number + 1})  # noqa: B023 (called at once)
            if agent.process is not None:
                agent.kill()
            if number % 2:
                agent.serve()
    said = listener.end()
    assert said["stored"] == 4
    assert door(agent)[0] == [0, 1, 2, 3]


def test_a_signal_stores_what_has_come(agent: Agent, port: int) -> None:
    listener = Listener(agent, port)
    listener.until("listens")
    with Sensor(port) as sensor:
        sensor.says(row(0))
        until(lambda: samples(agent) == {"door": 1})
        for number in range(1, 500):
            sensor.says(row(number))
    said = listener.end()
    assert said["stored"] == samples(agent)["door"]
    assert door(agent)[0] == list(range(int(str(said["stored"]))))


def test_an_mqtt_broker_that_wants_a_password(agent: Agent, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("sesame\n")
    settings = password_settings(tmp_path, "owner", "sesame")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        listener = Listener(agent, mosquitto.port)
        listener.until("refused by the broker: ")
        listener.end()
        words = ("--password-file", str(secret))
        listener = Listener(agent, mosquitto.port, *words, user="owner@")
        listener.until("listens")
        listener.end()


def test_an_address_is_one_of_this_device() -> None:
    mqtt, topic = Wanted("mqtt://me@localhost/a%20b/c", None, False).read()
    assert (mqtt.host, mqtt.tcp_port, mqtt.user, topic) == ("localhost", 1883, "me", "a b/c")
    mqtt, _ = Wanted("mqtt://[::1]:1884/a", None, False).read()
    assert (mqtt.host, mqtt.tcp_port) == ("::1", 1884)
    mqtt, _ = Wanted("mqtt://192.168.1.9/a", None, True).read()
    assert mqtt.host == "192.168.1.9"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://192.168.1.9/a", "has left this device.*--examples-leave-the-device"),
        ("mqtt://broker.local/a", "is another machine"),
        ("mqtt://127.0.0.1.example.org/a", "is another machine"),
        ("mqtt://me:secret@127.0.0.1/a", "--password-file"),
        ("mqtt://127.0.0.1", "one topic behind the host"),
        ("mqtt://127.0.0.1/a/+", "without [+] and #"),
        ("mqtt://127.0.0.1/a%2F%23", "without [+] and #"),
        ("mqtt://127.0.0.1/a%00", "one topic"),
        ("mqtt://127.0.0.1/" + "a" * 65_536, "one topic"),
        ("mqtt://127.0.0.1:0/a", "allowed: mqtt://127.0.0.1/TOPIC"),
        ("mqtt://127.0.0.1:99999/a", "allowed: mqtt://"),
        ("mqtt://[::1/a", "allowed: mqtt://"),
        ("mqtt:///a", "allowed: mqtt://"),
        ("mqtts://127.0.0.1/a", "allowed: mqtt://"),
        ("mqtt://127.0.0.1/a?qos=1", "allowed: mqtt://"),
        ("127.0.0.1/a", "allowed: mqtt://"),
    ],
)
def test_another_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as error:
        Wanted(url, None, False).read()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("a.csv", "--mqtt", "mqtt://127.0.0.1/a"), Exit.FAILED, "one command for each"),
        (("--watch", ".", "--mqtt", "mqtt://127.0.0.1/a"), Exit.FAILED, "one command for each"),
        (("--password-file", "a"), Exit.FAILED, "go with --mqtt only"),
        (("--examples-leave-the-device",), Exit.FAILED, "go with --mqtt only"),
        (("--mqtt", "mqtt://10.0.0.1/a"), Exit.FAILED, "10.0.0.1 is another machine"),
        (("--mqtt", "mqtt://127.0.0.1/a", "--replace"), Exit.FAILED, "what is live always goes on"),
        (("--mqtt", "mqtt://me@127.0.0.1/a", "--password-file", "none"), None, "none"),
        (("--mqtt", "mqtt://127.0.0.1/a", "--password-file", "none"), Exit.FAILED, "without user"),
    ],
)
def test_what_cannot_be_meant_is_said(
    agent: Agent, words: tuple[str, ...], code: Exit | None, says: str
) -> None:
    said = agent.run("ingest", "wrist", *words, code=code)
    assert said.returncode != Exit.OK
    assert says in said.stderr
    assert "Traceback" not in said.stderr


def test_a_stream_that_nobody_knows_is_told_at_once(agent: Agent) -> None:
    words = ("ingest", "ankle", "--mqtt", "mqtt://127.0.0.1/a")
    assert 'names no stream "ankle"' in agent.run(*words, code=Exit.NOT_FOUND).stderr
