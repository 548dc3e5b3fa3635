"""A process dies, the board, its disk and its clock stay; the next one starts from the disk."""

from functools import partial
from pathlib import Path

from fedling_protocol.net.ports import Link, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.worker import Worker, raise_
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.node import Habits, Life, Node
from fedling_sim.virtual.worker import Fuse
from tests.firmware_sim.virtual.ends import SmallWorld


class Counter:
    """Counts its messages on disk, and says how many they were when that is written."""

    def __init__(self, directory: Path, life: Life) -> None:
        self.path = directory / "count"
        self.link: Link = life.make_link("counter", self)
        self.worker: Worker = life.make_worker()
        self.buried = False

    def start(self) -> None:
        self.link.start()

    def bury(self) -> None:
        self.buried = True

    def will(self) -> Will | None:
        return Will("state", b"gone")

    def on_connected(self) -> None:
        self.link.subscribe(["x"])

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        pass

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self.worker.do(self.count, self.say, raise_)

    def on_traffic(self, traffic: Traffic) -> None:
        pass

    def count(self) -> int:
        count = int(self.path.read_text()) + 1 if self.path.exists() else 1
        self.path.write_text(str(count))
        return count

    def say(self, count: int) -> None:
        self.link.publish("count", b"%d" % count)


def make_node(world: SmallWorld, directory: Path, habits: Habits | None = None) -> Node:
    return Node(
        *(world.clock, Cable(world.network), world.broker, directory, Counter), habits, boot_s=500.0
    )


def test_killed_process_goes_on_from_its_disk(tmp_path: Path) -> None:
    world = SmallWorld()
    node, judge = make_node(world, tmp_path), world.end("judge")
    judge.link.subscribe(["count", "state"])
    node.start()
    node.start()  # it runs
    world.run(1)
    judge.link.publish("x", b"")
    world.run(1)
    first = node.process
    assert isinstance(first, Counter)
    node.crash(again_s=10)
    node.crash(again_s=10)  # it is dead
    assert (node.up, first.buried, node.deaths) == (False, True, 1)
    world.run(11)
    judge.link.publish("x", b"")
    world.run(1)
    assert judge.payloads == [b"1", b"gone", b"2"]
    assert node.process is not first
    assert 514.9 < node.clock.now() < 515.1


def test_power_cut_begins_boot_time_anew_and_is_missed_late(tmp_path: Path) -> None:
    world = SmallWorld()
    node, judge = make_node(world, tmp_path), world.end("judge")
    judge.link.subscribe(["state"])
    node.start()
    world.run(1)
    node.crash(reboot=True)
    world.run(80)
    assert judge.payloads == []
    assert 79 < node.clock.now() < 81
    world.run(20)
    assert judge.payloads == [b"gone"]


def test_fuse_kills_at_every_moment_and_the_disk_is_never_behind(tmp_path: Path) -> None:
    """One publish and one call a message: four moments; what was said is on disk."""
    for blow_at in range(1, 13):
        world = SmallWorld()
        directory = tmp_path / str(blow_at)
        directory.mkdir()
        dying: list[Node] = []
        fuse = Fuse(blow_at, lambda dying=dying: dying[0].crash(again_s=5))  # type: ignore[misc]
        node = make_node(world, directory, Habits(hook=fuse, latency=lambda: 0.1))
        dying.append(node)
        judge = world.end("judge")
        judge.link.subscribe(["count"])
        node.start()
        world.run(1)
        for _ in range(3):
            judge.link.publish("x", b"")
            world.run(0.5)
        world.run(20)
        assert (node.deaths, node.up) == (1, True)
        written = int((directory / "count").read_text()) if (directory / "count").exists() else 0
        assert all(int(said) <= written for said in judge.payloads)


def test_node_killed_while_it_starts(tmp_path: Path) -> None:
    world = SmallWorld()
    nodes: list[Node] = []
    fuse = Fuse(1, lambda: nodes[0].crash(again_s=5))

    class Hasty(Counter):
        def start(self) -> None:
            self.worker.do(partial(int, 1), lambda _: None, raise_)
            super().start()

    node = Node(world.clock, Cable(world.network), world.broker, tmp_path, Hasty, Habits(hook=fuse))
    nodes.append(node)
    world.clock.at(0, node.start, None)
    world.run(1)
    assert (node.up, node.deaths) == (False, 1)
    world.run(10)
    assert (node.up, node.deaths, world.broker.clients) == (True, 1, ["counter"])
