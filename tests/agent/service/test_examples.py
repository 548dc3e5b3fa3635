"""What is known of examples for the last plan, while they are counted and when they change."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.data.counting import Counter, Found
from fedling_agent.data.recording import Known
from fedling_agent.service.examples import Examples
from fedling_agent.service.floor import Floor
from fedling_agent.store.recordings import Recordings
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.wire.messages import Plan
from tests.support.device import SPEC, STREAM, TRAINING, csv_lines, make_model, make_plan, parse
from tests.support.ports import HandClock

PLAN = make_plan(make_model())
NEVER = replace(TRAINING, min_examples=1000)


class Bench:
    """Examples of a store with two recordings; nothing is counted before the clock moves."""

    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.store = Store(directory)
        self.failed: list[Exception] = []
        self.told = 0
        self.examples = self.on(self.store.recordings)
        self.ingest(2)

    def on(self, recordings: Recordings) -> Examples:
        floor = Floor()
        return Examples(self.clock, recordings, floor, self._tell, self.failed.append)

    def _tell(self) -> None:
        self.told += 1

    def ingest(self, recordings: int, prefix: str = "r") -> None:
        lines = csv_lines(recordings, 60, prefix=prefix)
        self.examples.changed(self.store.recordings.ingest(STREAM, parse(lines), 1000).changes)

    def count(self, plan: Plan = PLAN, known: Known | None = None) -> None:
        self.examples.count_for(plan, lambda _: known)
        self.clock.settle()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def facts(examples: Examples) -> tuple[object, ...]:
    return (
        *(examples.enough, examples.found.windows, examples.found_new),
        *(examples.wanted, examples.wanted_new, examples.failure),
    )


def test_without_a_plan_nothing_is_wanted_counted_or_enough(bench: Bench) -> None:
    assert facts(bench.examples) == (False, 0, None, 0, 0, "")
    assert bench.examples.found == Found()
    bench.clock.settle()
    assert (bench.told, bench.clock.waiting) == (0, 0)


def test_nothing_is_enough_before_it_is_counted_and_who_waits_is_told_once(bench: Bench) -> None:
    bench.examples.count_for(PLAN, lambda _: None)
    assert not bench.examples.enough
    bench.clock.settle()
    assert bench.examples.enough
    assert bench.told == 1
    assert bench.examples.wanted == TRAINING.min_examples


def test_what_is_too_little_says_how_much_it_is_and_counts_on_as_more_comes(bench: Bench) -> None:
    bench.count(replace(PLAN, training=replace(TRAINING, min_examples=30)))
    here = bench.examples.found
    assert facts(bench.examples) == (False, here.windows, None, 30, 0, "")
    assert 0 < here.windows < 30
    assert here.longest >= SPEC.window
    bench.ingest(2, "more")
    assert not bench.examples.enough
    bench.clock.settle()
    assert bench.examples.enough
    assert bench.told >= 2


def test_new_ones_are_told_of_where_there_are_enough_in_all(bench: Bench) -> None:
    plan = replace(PLAN, training=replace(TRAINING, new_examples=1000))
    bench.count(plan)
    assert bench.examples.wanted_new == 1000
    assert not bench.examples.enough
    found = bench.examples.found_new
    assert found is not None
    assert found > 0
    bench.count(replace(plan, training=replace(NEVER, new_examples=1000)))
    assert bench.examples.found_new is None  # there are too few in all
    bench.count(replace(plan, training=replace(TRAINING, new_examples=1)))
    assert (bench.examples.enough, bench.examples.found_new) == (True, None)


def test_another_plan_ends_the_count_for_the_one_before(bench: Bench) -> None:
    bench.examples.count_for(replace(PLAN, training=replace(NEVER, new_examples=7)), lambda _: None)
    bench.count()
    assert facts(bench.examples)[3:] == (TRAINING.min_examples, 0, "")
    assert bench.examples.enough
    assert bench.told == 1
    bench.examples.count_for(PLAN, lambda _: None)
    bench.examples.close()
    assert bench.clock.waiting == 0
    bench.clock.settle()
    assert bench.told == 1
    assert not bench.examples.enough


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have the next counts fail."""

    def count(_: Counter) -> Iterator[None]:
        raise error
        yield

    monkeypatch.setattr(Counter, "count", count)


def test_stream_that_does_not_fit_the_task_is_a_failure_of_that_plan_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        raising(broken, BadInput("3 channels are wanted"))
        bench.count()
        assert facts(bench.examples)[5] == "3 channels are wanted"
        assert not bench.examples.enough
        assert bench.failed == []
    bench.ingest(1, "more")  # it is looked at again: nothing waits for a count that has ended
    bench.clock.settle()
    assert bench.examples.enough
    assert bench.examples.failure == "3 channels are wanted"
    bench.count()
    assert (bench.examples.enough, bench.examples.failure) == (True, "")


def test_what_nobody_expected_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = ValueError("planted")
    raising(monkeypatch, planted)
    bench.count()
    assert bench.failed == [planted]
    assert bench.examples.failure == ""
