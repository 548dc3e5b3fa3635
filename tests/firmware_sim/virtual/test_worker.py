"""Calls one after another, told later; killed before a call, or after it and before it is told."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.runtime.worker import raise_
from fedling_sim.virtual.clock import US, NodeClock, WorldClock
from fedling_sim.virtual.worker import Fuse, Moment, VirtualWorker


class Process:
    """Asks its worker for three writes, at once; `disk` is what outlives it."""

    def __init__(
        self, latency: Callable[[], float] | None = None, blow_at: int | None = None
    ) -> None:
        self.world = WorldClock()
        self.clock = NodeClock(self.world, 50.0)
        self.fuse = Fuse(blow_at, self.clock.close)
        self.worker = VirtualWorker(self.clock, latency, self.fuse)
        self.disk: list[str] = []
        self.told: list[str] = []

    def start(self) -> None:
        self.world.at(0, self.run, None)
        self.world.run(100 * US)

    def run(self, _: None) -> None:
        for word in "abc":
            self.worker.do(partial(self.write, word), self.told.append, raise_)

    def write(self, word: str) -> str:
        self.disk.append(word)
        return word


LATENCIES: dict[str, Callable[[], float] | None] = {"none": None, "one second": lambda: 1.0}


@pytest.mark.parametrize("latency", LATENCIES)
def test_calls_are_told_in_order(latency: str) -> None:
    process = Process(LATENCIES[latency])
    process.start()
    assert process.disk == process.told == ["a", "b", "c"]
    assert process.fuse.count == 6


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize(
    ("blow_at", "disk"), [(1, ""), (2, "a"), (3, "a"), (4, "ab"), (5, "ab"), (6, "abc")]
)
def test_process_killed_at_its_kth_moment(latency: str, blow_at: int, disk: str) -> None:
    process = Process(LATENCIES[latency], blow_at)
    process.start()
    assert "".join(process.disk) == disk
    if LATENCIES[latency] is None:  # it dies in the callback that asked
        assert process.told == []
    else:
        assert process.told == process.disk[: (blow_at - 1) // 2]


def test_slow_call_has_its_effect_before_it_is_told() -> None:
    process = Process(lambda: 2.0)
    process.world.at(0, process.run, None)
    process.world.run(US - 1)
    assert (process.disk, process.told) == ([], [])
    process.world.run(US)
    assert (process.disk, process.told) == (["a"], [])
    process.world.run(2 * US)
    assert (process.disk, process.told) == (["a"], ["a"])
    process.clock.close()
    process.world.run(100 * US)
    assert (process.disk, process.told) == (["a"], ["a"])


def test_nothing_is_told_inside_do() -> None:
    process = Process()
    process.run(None)
    assert process.told == []


def test_failure_is_told() -> None:
    process = Process()
    failures: list[Exception] = []

    def fail() -> None:
        raise OSError("full")

    process.worker.do(fail, lambda _: None, failures.append)
    process.world.run(0)
    assert [str(failure) for failure in failures] == ["full"]


@pytest.mark.parametrize("after_us", [0, US + 2])  # none has had its effect; one has
def test_close_finishes_what_was_asked_for_and_tells_no_more(after_us: int) -> None:
    process = Process(lambda: 2.0)
    process.world.at(0, process.run, None)
    process.world.run(after_us)
    process.worker.close()
    process.world.run(100 * US)
    assert (process.disk, process.told) == (["a", "b", "c"], [])


def test_fuse_counts_only_its_moments() -> None:
    fuse = Fuse(None, lambda: None, frozenset({Moment.AFTER_CALL}))
    for moment in Moment:
        fuse(moment)
    assert fuse.count == 1


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8))
def test_order_is_kept_however_long_calls_take(seconds: list[float]) -> None:
    world = WorldClock()
    left = list(seconds)
    worker = VirtualWorker(NodeClock(world, 9.0), lambda: left.pop(0))
    told: list[int] = []
    for number in range(len(seconds)):
        worker.do(partial(int, number), told.append, raise_)
    while world.turn():
        pass
    assert told == list(range(len(seconds)))
    assert abs(world.now_us / US - sum(seconds)) < 1e-3
