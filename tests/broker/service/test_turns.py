"""Answers come after the commit, once it was made, or never."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.service.turns import LONGEST_S, SLICE_S, Turns
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite
from tests.support.ports import HandClock, HandWorker
from tests.support.rounds_on_disk import accept, make_store, open_round


class Bench:
    """Turns on a real store, with a clock and a disk by hand."""

    def __init__(self, directory: Path) -> None:
        self.store = make_store(directory)
        self.clock = HandClock()
        self.disk = HandWorker(self.clock)
        self.heard: list[str] = []
        self.errors: list[Exception] = []
        self.looks = 0
        self.turns = Turns(self.clock, self.disk, self.store, self._first, self.errors.append)

    def _first(self) -> None:
        self.looks += 1

    def write(self, name: str) -> None:
        """A call that writes, and an answer about it."""

        def call() -> None:
            self.store.ledger.count({name: 1})
            self.turns.then(lambda: self.heard.append(name))

        self.turns.run(call)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


class Full:
    """While it is entered the disk takes nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __enter__(self) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise CannotWrite("the database", "the disk is full")

        self._monkeypatch.setattr(durable, "commit", refuse)

    def __exit__(self, *_: object) -> None:
        self._monkeypatch.undo()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    return Full(monkeypatch)


def written(directory: Path) -> dict[str, int]:
    """As another process sees it."""
    other = Store(directory)
    try:
        return other.ledger.counters()
    finally:
        other.close()


def test_an_answer_comes_after_the_commit(bench: Bench, tmp_path: Path) -> None:
    bench.disk.waits = True
    bench.write("a")
    bench.write("b")
    bench.clock.settle()
    assert (bench.disk.waiting, bench.heard) == (1, [])  # one commit for both
    bench.disk.go()
    bench.clock.settle()
    assert bench.heard == ["a", "b"]
    assert written(tmp_path) == {"a": 1, "b": 1}


def test_what_comes_during_a_commit_waits_for_its_end(bench: Bench) -> None:
    """The loop keeps away from the database: it would wait for the disk."""
    bench.disk.waits = True
    bench.write("a")
    bench.clock.settle()
    called: list[str] = []
    bench.turns.run(lambda: called.append("b"))
    bench.clock.move(1.0)
    assert called == []
    bench.disk.go()
    bench.clock.settle()
    assert called == ["b"]


def test_a_turn_that_writes_nothing_waits_for_nothing(bench: Bench) -> None:
    bench.disk.waits = True
    bench.turns.run(lambda: bench.turns.then(lambda: bench.heard.append("read")))
    bench.clock.settle()
    assert (bench.disk.waiting, bench.heard) == (0, ["read"])


def test_a_commit_that_fails_is_never_answered(bench: Bench, full: Full, tmp_path: Path) -> None:
    bench.disk.waits = True
    bench.write("a")
    bench.clock.settle()
    bench.write("b")  # waits for its turn
    with full:
        bench.disk.go()
    bench.clock.settle()
    assert [type(error) for error in bench.errors] == [CannotWrite]
    bench.disk.waits = False
    bench.write("c")
    bench.clock.settle()
    assert (bench.heard, written(tmp_path)) == (["c"], {"c": 1})


def test_a_call_that_finds_damage_undoes_its_turn(bench: Bench, tmp_path: Path) -> None:
    def damaged() -> None:
        raise Damaged("a file")

    bench.write("a")
    bench.turns.run(damaged)
    bench.write("b")
    bench.clock.settle()
    assert (bench.heard, written(tmp_path)) == ([], {})
    assert [str(error) for error in bench.errors] == ["a file"]


def test_another_writer_is_waited_for_without_the_loop(bench: Bench, tmp_path: Path) -> None:
    other = sqlite3.connect(bench.store.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    bench.write("a")
    bench.clock.move(0.5)
    assert bench.heard == []
    other.execute("ROLLBACK")
    other.close()
    bench.clock.move(0.5)
    assert (bench.heard, bench.errors) == (["a"], [])


def test_the_first_of_each_turn_is_a_look(bench: Bench) -> None:
    bench.write("a")
    bench.clock.settle()
    bench.write("b")
    bench.clock.settle()
    assert bench.looks == 2


def test_a_long_queue_goes_over_several_turns_into_one_commit(bench: Bench) -> None:
    """Between them the loop serves others."""
    bench.disk.waits = True
    between: list[int] = []
    for name in "abc":
        bench.turns.run(lambda: bench.clock.stall(LONGEST_S / 4))
        bench.write(name)
    bench.clock.after(0.0, lambda: between.append(bench.disk.waiting))
    bench.clock.move(LONGEST_S)
    assert (between, bench.disk.waiting) == ([0], 1)
    bench.disk.go()
    bench.clock.settle()
    assert bench.heard == ["a", "b", "c"]


def test_a_transaction_ends_though_calls_come_without_end(bench: Bench) -> None:
    bench.disk.waits = True

    def again() -> None:
        bench.clock.stall(LONGEST_S / 4)
        bench.store.ledger.count({"again": 1})
        bench.turns.run(again)

    bench.turns.run(again)
    bench.clock.move(2 * LONGEST_S)
    assert bench.disk.waiting == 1


def test_updates_are_written_before_the_facts_about_them(bench: Bench, tmp_path: Path) -> None:
    plan = open_round(bench.store, 1)
    log = bench.store.rounds.log(plan.plan_id)
    bench.disk.waits = True
    bench.turns.run(lambda: add_update(bench.store, plan.plan_id))
    bench.clock.settle()
    assert not log.exists()
    bench.disk.go()
    bench.clock.settle()
    assert log.read_bytes() == b"message"


def add_update(store: Store, plan_id: bytes) -> None:
    store.rounds.add_update("tiny", plan_id, b"message")


def test_an_update_that_was_not_committed_is_overwritten(bench: Bench, full: Full) -> None:
    plan = open_round(bench.store, 1)
    bench.disk.waits = True
    bench.turns.run(lambda: add_update(bench.store, plan.plan_id))
    bench.clock.settle()
    with full:
        bench.disk.go()
    bench.clock.settle()
    row = accept(bench.store, plan, 0, 3, 7)
    assert row.first == 0
    bench.store.rounds.update(plan.plan_id, row)


def test_drain_tells_when_all_is_answered(bench: Bench) -> None:
    bench.disk.waits = True
    bench.write("a")
    bench.turns.drain(lambda: bench.heard.append("drained"))
    bench.clock.settle()
    assert bench.heard == []
    bench.disk.go()
    bench.clock.settle()
    assert bench.heard == ["a", "drained"]


def test_drain_tells_when_the_disk_refuses(bench: Bench, full: Full) -> None:
    bench.write("a")
    bench.turns.drain(lambda: bench.heard.append("drained"))
    with full:
        bench.clock.settle()
    assert bench.heard == ["drained"]


def test_answers_of_many_commits_go_out_one_slice_a_turn_of_the_loop(bench: Bench) -> None:
    """Else each commit that ends while answers are due would take a slice more of each turn."""

    def call() -> None:
        bench.store.ledger.count({"a": 1})
        for _ in range(10):
            bench.turns.then(lambda: bench.clock.stall(SLICE_S))

    for _ in range(3):
        bench.turns.run(call)
        bench.clock.move(SLICE_S / 2)
    assert bench.clock.waiting == 1
    bench.clock.move(1.0)
    assert bench.clock.waiting == 0


def test_drain_waits_for_what_came_during_the_commit(bench: Bench) -> None:
    bench.disk.waits = True
    bench.write("a")
    bench.clock.settle()
    bench.write("b")
    bench.turns.drain(lambda: bench.heard.append("drained"))
    for _ in range(2):
        bench.disk.go()
        bench.clock.settle()
    assert bench.heard == ["a", "b", "drained"]


def test_what_an_undone_turn_was_to_answer_is_not_answered_by_the_next(bench: Bench) -> None:
    answered = list[str]()

    def fails() -> None:
        raise ValueError("planted")

    bench.turns.run(lambda: bench.turns.then(lambda: answered.append("undone")))
    bench.turns.run(fails)
    bench.clock.settle()
    bench.turns.run(lambda: bench.turns.then(lambda: answered.append("done")))
    bench.clock.settle()
    assert answered == ["done"]
