"""Models and updates that no packet holds, by a mosquitto that takes small ones, on bad links."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.database import FILE
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire import counted
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM
from fedling_sim.chaos.fault import MUTE, End, Fault
from fedling_sim.chaos.messages import Moment
from fedling_sim.chaos.proxy import Proxy
from tests.support.agent import Agent, rows
from tests.support.fleet import ROOT, Aggregator, Device
from tests.support.tools import need
from tests.support.waiting import until

PACKET = 16_384
EACH = PACKET - CHUNK_ROOM
SLOW = Fault(up_rate=3 * PACKET)  # bytes a second
HIDDEN = 500  # neurons, twice
TASK = f"""
[task]
name = "watch"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["label 0", "label 1", "label 2"]
normalise = "device"
rounds = 2
[model]
layers = [{HIDDEN}, {HIDDEN}, 3]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[cohort]
goal = 1
[compression]
"""
CODED, RAW = "target_bytes = 4000\n", "off = true\n"  # updates of one packet, of many


class Fleet:
    """An aggregator, a device and a proxy between it and a mosquitto that takes small packets."""

    def __init__(self, directory: Path, mosquitto: Mosquitto, task: str = TASK + CODED) -> None:
        self.port = mosquitto.port
        self.proxy = Proxy(mosquitto.port, mqtt=True)
        self.aggregator = Aggregator(directory / "broker", mosquitto.port)
        self.take(PACKET)
        file = directory / "task.toml"
        file.write_text(task)
        self.aggregator.run("task", "add", str(file))
        self.agent = Agent(directory / "device", self.proxy.add("device"), keepalive_s=2)
        self.agent.believe(ROOT.public)
        facts = self.agent.json("init")
        self.aggregator.run("device", "add", facts["device"], facts["key"])

    def take(self, packet: int) -> None:
        """Tell the aggregator which packets the MQTT broker takes."""
        config = self.aggregator.directory / "broker.toml"
        lines = [x for x in config.read_text().splitlines() if not x.startswith("largest_packet")]
        config.write_text("\n".join([f"largest_packet = {packet}", *lines]) + "\n")

    def start(self) -> None:
        self.aggregator.start()
        self.agent.serve()

    def versions(self) -> list[int]:
        """The models that the device holds."""
        path = self.agent.state / "store.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT version FROM models ORDER BY version").fetchall()
        return [version for (version,) in rows]

    def has(self, version: int) -> None:
        """Wait until the device has this version."""
        until(lambda: version in self.versions(), says=self.says)

    def size(self) -> int:
        """Tell how many bytes the message of the first model has, as the plan says it."""
        loop = Loop()
        device = Device(loop, self.port, 99)
        until(lambda: device.plan is not None, loop.turn)
        assert device.plan is not None
        assert device.plan.chunked is not None
        left: list[bool] = []
        device.link.stop(None, lambda: left.append(True))
        until(lambda: bool(left), loop.turn)
        loop.close()
        return device.plan.model_size

    @property
    def here(self) -> int:
        """How many chunks are on the device's disk."""
        return len([p for p in self.agent.state.glob("chunks/watch/*/*") if p.name.isdigit()])

    def received(self) -> int:
        """End the device; tell bytes of chunks that it has taken in, but before a kill."""
        return self.counted(counted.received(Kind.CHUNK))

    def counted(self, name: str) -> int:
        assert self.agent.stop() == 0
        return int(self.agent.json("status")["counters"][name])

    @property
    def there(self) -> int:
        """How many chunks of updates are on the aggregator's disk."""
        path = self.aggregator.directory / "broker-state" / FILE
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def spooled(self) -> int:
        """Bytes of the update that waits; 0: none does."""
        return sum(path.stat().st_size for path in self.agent.state.glob("spool/*"))

    def says(self) -> str:
        return self.agent.log_text()[-4000:] + self.aggregator.log_text()[-4000:]

    def close(self) -> None:
        if self.agent.process is not None:
            self.agent.kill()
        self.aggregator.kill()
        self.proxy.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Mosquitto]:
    need("mosquitto")
    with Mosquitto(tmp_path / "mosquitto", settings=[f"max_packet_size {PACKET}"]) as broker:
        yield broker
    print(broker.log_tail(30))


@pytest.fixture
def fleet(tmp_path: Path, small: Mosquitto) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, small)
    yield fleet
    print(fleet.says())
    fleet.close()


@pytest.fixture
def raw(tmp_path: Path, small: Mosquitto) -> Iterator[Fleet]:
    """A fleet whose updates are large; its models, too."""
    fleet = Fleet(tmp_path, small, TASK.replace(f"{HIDDEN}, {HIDDEN}", "250, 250") + RAW)
    fleet.agent.run("ingest", "wrist", text=rows(6, 200))
    yield fleet
    print(fleet.says())
    fleet.close()


def muted(number: int) -> Moment:
    """In the middle of this chunk of the first model nothing comes any more."""
    return Moment(False, f"/chunk/model/1/{number}", 0.5, ((3600.0, MUTE),))


def test_rounds_over_an_mqtt_broker_that_takes_small_packets(fleet: Fleet) -> None:
    fleet.agent.run("ingest", "wrist", text=rows(6, 200))
    fleet.start()
    fleet.has(3)
    assert fleet.received() > 5 * PACKET
    assert fleet.here == 0
    assert fleet.aggregator.stop() == 0
    assert fleet.aggregator.run("round", "verify", "watch")
    assert "cost the connection" not in fleet.aggregator.log_text()


def test_check_tries_what_is_sent(fleet: Fleet) -> None:
    fleet.aggregator.run("check")
    fleet.take(2 * PACKET)
    assert "does not pass" in fleet.aggregator.run("check", code=1)


def test_cut_in_the_middle_of_chunks_costs_no_chunk_that_is_here(fleet: Fleet) -> None:
    cuts = [Moment(False, f"/chunk/model/1/{n}", 0.5, (), End.CUT) for n in (1, 3, 4)]
    fleet.proxy.wait_for("device", *cuts)
    fleet.start()
    fleet.has(1)
    assert fleet.proxy.awaits("device") == 0
    size = fleet.size()
    assert size < fleet.received() < size + PACKET


def test_killed_device_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.proxy.wait_for("device", muted(3))
    fleet.start()
    until(lambda: fleet.here == 3, says=fleet.says)
    fleet.agent.kill()
    fleet.proxy.mend("device")
    fleet.agent.serve()
    fleet.has(1)
    assert "3 chunks of" in fleet.agent.log_text()
    size = fleet.size()
    assert size - 4 * PACKET < fleet.received() < size - 2 * PACKET


@pytest.mark.parametrize("who", ["aggregator", "mosquitto"])
def test_other_end_is_killed_meanwhile(fleet: Fleet, small: Mosquitto, who: str) -> None:
    """What it says after its restart is the same message."""
    fleet.proxy.wait_for("device", muted(3))
    fleet.start()
    until(lambda: fleet.here == 3, says=fleet.says)
    if who == "aggregator":
        fleet.aggregator.kill()
    small.kill()
    small.start()
    if who == "aggregator":
        fleet.aggregator.start()
    fleet.proxy.mend("device")
    fleet.has(1)
    assert re.search("[34] chunks of", fleet.agent.log_text())
    size = fleet.size()
    assert size < fleet.received() < size + PACKET


def test_rounds_of_large_updates(raw: Fleet) -> None:
    raw.start()
    raw.has(3)
    assert raw.counted(counted.sent(Kind.UPDATE)) > 10 * PACKET
    assert raw.there == 0
    assert raw.aggregator.stop() == 0
    raw.aggregator.run("round", "verify", "watch")


def test_cuts_in_the_middle_of_an_update(raw: Fleet) -> None:
    cuts = [Moment(True, f"/{n}", 0.5, (), End.CUT) for n in (2, 4, 5)]
    raw.proxy.wait_for("device", Moment(True, "/up/", 0.0), *cuts)
    raw.start()
    raw.has(2)
    assert raw.proxy.awaits("device") == 0
    assert "accepted" in raw.agent.run("status").stdout


@pytest.mark.parametrize("who", ["aggregator", "device", "mosquitto"])
def test_killed_in_the_middle_of_an_update(raw: Fleet, small: Mosquitto, who: str) -> None:
    """After the kill, what is there is not sent again."""
    raw.proxy.wait_for("device", Moment(True, "/up/", 0.0, ((3600.0, SLOW),)))
    raw.start()
    until(lambda: raw.there >= 3, says=raw.says)
    size = raw.spooled()
    assert size > 5 * PACKET
    {"aggregator": raw.aggregator.kill, "device": raw.agent.kill, "mosquitto": small.kill}[who]()
    there = raw.there
    assert 3 <= there < size // EACH
    raw.proxy.end("device")
    before = raw.proxy.traffic("device").up
    raw.proxy.mend("device")
    {"aggregator": raw.aggregator.start, "device": raw.agent.serve, "mosquitto": small.start}[who]()
    until(lambda: raw.spooled() == 0, says=raw.says)
    sent = raw.proxy.traffic("device").up - before
    assert sent < size - (there - 1) * EACH
