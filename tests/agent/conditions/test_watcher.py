"""Readings beside the loop: a sensor that is slow, or hangs, holds nobody up."""

import threading
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.condition import (
    LEASE_S,
    LONGEST_LEASE_S,
    Lack,
    Readings,
    Roots,
    Signal,
)
from fedling_agent.conditions.table import BATTERY, MAINS, NETWORK, TABLE
from fedling_agent.conditions.watcher import SILENT_S, Watcher, read
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker, ThreadWorker
from tests.support.conditions import FakeWorker
from tests.support.ports import HandClock
from tests.support.waiting import until


class Bench:
    """A watcher, and what it told."""

    def __init__(self) -> None:
        self.clock, self.worker = HandClock(100.0), FakeWorker()
        self.reads = 0
        self.told: list[Readings] = []
        rows = [replace(MAINS, read=self._read)]
        self.watcher = Watcher(rows, Roots(), self.clock, self.worker)

    def _read(self, _roots: Roots) -> Signal:
        self.reads += 1
        return Signal(True, "/online")

    def refresh(self) -> None:
        self.watcher.refresh(self.told.append)


def test_nothing_read_is_no_permission() -> None:
    bench = Bench()
    assert bench.watcher.latest.signals["mains"].lack is Lack.SILENT
    assert not bench.watcher.fresh


def test_refresh_tells_later_and_keeps_it() -> None:
    bench = Bench()
    bench.refresh()
    assert bench.told == []
    bench.clock.move(0.05)
    bench.worker.run()
    (told,) = bench.told
    assert told is bench.watcher.latest
    assert (told.at, round(told.took_s, 6), told.signals["mains"].value) == (100.0, 0.05, True)
    assert bench.watcher.fresh
    bench.clock.move(LEASE_S)
    assert not bench.watcher.fresh


def test_refresh_of_many_makes_one_reading_more() -> None:
    bench = Bench()
    bench.refresh()
    for _ in range(5):
        bench.refresh()
    assert len(bench.worker.calls) == 1
    bench.clock.move(0.1)
    bench.worker.run()
    assert len(bench.told) == 1  # the others asked after it had begun
    bench.clock.move(0.1)
    bench.worker.run()
    assert len(bench.told) == 6
    assert bench.told[-1].at == 100.1
    assert bench.reads == 2
    assert bench.worker.calls == []


def test_refresh_from_within_an_answer_waits_for_the_next_one() -> None:
    bench = Bench()
    bench.watcher.refresh(lambda _readings: bench.refresh())
    bench.worker.run()
    assert bench.told == []
    bench.worker.run()
    assert len(bench.told) == 1


def test_sensor_that_hangs_is_silent_and_heard_when_it_comes_back() -> None:
    bench = Bench()
    bench.refresh()
    bench.clock.move(1)
    bench.refresh()
    bench.clock.move(SILENT_S)
    assert len(bench.told) == 2
    signal = bench.told[0].signals["mains"]
    assert (signal.lack, signal.detail, signal.waited_s) == (Lack.SILENT, "no answer for 5 s", 5.0)
    assert len(bench.worker.calls) == 1  # no second thread is sent after the first
    bench.clock.move(54)
    bench.refresh()
    bench.clock.settle()
    assert bench.told[2].signals["mains"].detail == "no answer for 60 s"
    bench.worker.run()
    assert bench.watcher.latest.signals["mains"].value is None  # a minute old: not what is
    bench.refresh()
    bench.worker.run()
    assert bench.told[3].signals["mains"].value is True
    assert bench.watcher.fresh


def test_slow_sensor_gives_leases_that_are_worth_the_wait() -> None:
    for took_s, lease_s in ((0.01, LEASE_S), (0.5, 0.5), (4.0, LONGEST_LEASE_S)):
        readings = Readings({}, 10.0, took_s)
        assert readings.good_until == 10.0 + took_s + lease_s


def test_close_tells_nobody() -> None:
    bench = Bench()
    bench.refresh()
    bench.refresh()
    bench.watcher.close()
    bench.worker.run()
    bench.clock.move(60)
    assert bench.told == []


def test_reader_that_raises_is_a_sensor_without_an_answer() -> None:
    def fail(_roots: Roots) -> Signal:
        raise ZeroDivisionError("by zero")

    rows = [replace(row, read=fail) if row is MAINS else row for row in TABLE]
    signals = read(rows, Roots(Path("/absent")))
    assert signals["mains"].lack is Lack.SILENT
    assert signals["mains"].detail == "ZeroDivisionError: by zero"
    assert signals["battery"].lack is Lack.ABSENT


def test_who_waits_for_a_reading_that_is_doubted_is_told_the_next() -> None:
    bench = Bench()
    bench.refresh()
    bench.clock.move(0.05)
    bench.watcher.doubt()
    bench.worker.run()
    assert bench.told == []
    assert not bench.watcher.fresh
    bench.worker.run()
    assert [readings.at for readings in bench.told] == [100.05]
    assert bench.watcher.fresh
    bench.watcher.doubt()  # in the same instant
    assert not bench.watcher.fresh
    bench.refresh()
    bench.worker.run()
    assert bench.watcher.fresh


def test_reading_that_hangs_and_is_doubted_has_told_nothing() -> None:
    bench = Bench()
    bench.refresh()
    (reading,) = [bench.watcher._reading]
    assert reading is not None
    reading.arrived["mains"] = Signal(True, "/online")
    bench.watcher.doubt()
    bench.clock.move(SILENT_S)
    assert [told.signals["mains"].lack for told in bench.told] == [Lack.SILENT]


@given(st.lists(st.sampled_from(["ask", "run", "wait", "doubt"]), max_size=40))
def test_every_asker_is_told_once_of_a_reading_begun_after_it_asked(steps: list[str]) -> None:
    bench = Bench()
    asked: list[float] = []
    told: list[tuple[float, Readings]] = []
    doubted = 0.0

    def ask() -> None:
        moment = bench.clock.now()
        asked.append(moment)
        bench.watcher.refresh(lambda readings: told.append((moment, readings)))

    for step in [*steps, "wait", "wait", "wait", "wait"]:
        if step == "ask":
            ask()
        elif step == "run" and bench.worker.calls:
            bench.worker.run()
        elif step == "doubt":
            bench.watcher.doubt()
            doubted = bench.clock.now()
        else:
            bench.clock.move(2)
        assert len(bench.worker.calls) <= 1
        assert not bench.watcher.fresh or bench.watcher.latest.at >= doubted
    assert sorted(moment for moment, _ in told) == asked
    assert all(readings.at >= moment for moment, readings in told)


def test_reading_in_virtual_time() -> None:
    clock = HandClock(100.0)
    told: list[Readings] = []
    Watcher(TABLE, Roots(), clock, InlineWorker(clock)).refresh(told.append)
    assert told == []
    clock.settle()
    assert told[0].at == clock.now()


# --- with a real thread ----------------------------------------------------------------------


def test_reader_that_blocks_never_blocks_the_caller() -> None:
    """Were it read in the caller's thread, this test would not end."""
    release, loop = threading.Event(), Loop()
    told: list[Readings] = []

    def block(_roots: Roots) -> Signal:
        release.wait()
        return Signal(40, "/capacity")

    rows = [MAINS, replace(BATTERY, read=block), NETWORK]
    clock = HandClock(100.0)
    worker = ThreadWorker(loop, "sensors")
    watcher = Watcher(rows, Roots(Path("/absent")), clock, worker)
    watcher.refresh(told.append)
    until(lambda: "mains" in watcher._reading.arrived, loop.turn)  # type: ignore[union-attr]
    clock.move(SILENT_S)
    assert told[0].signals["mains"].lack is Lack.ABSENT  # it had answered
    assert told[0].signals["battery"].detail == "no answer for 5 s"
    assert told[0].signals["network"].detail == "waits for battery"
    assert {told[0].signals[name].lack for name in ("battery", "network")} == {Lack.SILENT}
    release.set()
    until(lambda: watcher._reading is None, loop.turn)
    watcher.refresh(told.append)
    until(lambda: len(told) >= 2, loop.turn)
    assert told[1].signals["battery"].value == 40
    worker.close()
    loop.close()
