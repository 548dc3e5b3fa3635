"""A model that the MQTT broker cuts the connection for is held back; other tasks go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.service import notices
from fedling_broker.service.holding import FIRST_S, LONGEST_S, Holding
from fedling_broker.service.notices import Notice
from fedling_protocol.wire.kinds import Kind
from tests.support.hand_aggregator import TOPICS, HandAggregator
from tests.support.ports import HandClock, Published
from tests.support.waiting import until

MODEL, PLAN = Kind.MODEL, Kind.PLAN


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.add_task("large", goal=1)
    aggregator.add_task("small", goal=1)
    yield aggregator
    aggregator.store.close()


def published(aggregator: HandAggregator, kind: Kind, task: str) -> list[Published]:
    last = (1,) if kind is MODEL else ("train",)
    topic = TOPICS.of(kind, task, *last)
    return [p for p in aggregator.link.published if p.topic == topic and p.payload]


def cut(aggregator: HandAggregator) -> None:
    """The MQTT broker takes every message but the model of "large"; then it is there again."""
    for message in aggregator.link.published:
        if message.done is not None and "/large/" not in message.topic:
            message.done()
    call = published(aggregator, MODEL, "large")[-1].cut
    assert call is not None
    aggregator.link.connected = False
    call()
    aggregator.service.on_disconnected("closed", 1.0)
    aggregator.link.published.clear()
    aggregator.connect()


def test_second_cut_holds_that_task_back_and_no_other(aggregator: HandAggregator) -> None:
    aggregator.connect()
    cut(aggregator)
    assert len(published(aggregator, MODEL, "large")) == 1  # once may be chance
    cut(aggregator)
    assert published(aggregator, MODEL, "large") == []
    assert published(aggregator, PLAN, "large") == []
    assert len(published(aggregator, MODEL, "small")) == 1
    assert len(published(aggregator, PLAN, "small")) == 1


def test_it_is_tried_again_later_and_later(aggregator: HandAggregator) -> None:
    aggregator.connect()
    cut(aggregator)
    gaps = []
    for _ in range(4):
        cut(aggregator)
        begin = aggregator.clock.now()
        until(lambda: published(aggregator, MODEL, "large"), lambda _: aggregator.clock.move(1.0))
        gaps.append(aggregator.clock.now() - begin)
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 4 * gaps[0]


def test_it_goes_on_when_the_broker_has_taken_it(aggregator: HandAggregator) -> None:
    aggregator.connect()
    cut(aggregator)
    cut(aggregator)
    notice = notices.read(aggregator.directory, aggregator.clock.wall())["large"]
    assert "its model of " in notice.says
    assert notice.says.endswith("lower largest_packet in broker.toml; see fedling-broker check")
    aggregator.clock.move(FIRST_S + 1)
    (model,) = published(aggregator, MODEL, "large")
    assert len(published(aggregator, PLAN, "large")) == 1
    assert model.done is not None
    model.done()
    aggregator.settle()
    assert notices.read(aggregator.directory, aggregator.clock.wall()) == {}
    cut(aggregator)
    assert len(published(aggregator, MODEL, "large")) == 1  # as the first one: it may be chance


def test_link_that_dies_without_it_as_well_is_a_bad_link(aggregator: HandAggregator) -> None:
    """The task is not held back any more, nor after its next cut."""
    aggregator.connect()
    cut(aggregator)
    cut(aggregator)
    assert published(aggregator, MODEL, "large") == []
    aggregator.link.connected = False
    for _ in range(3):
        aggregator.service.on_disconnected("reset", 1.0)
        aggregator.service.on_disconnected("nobody answers", 1.0)
        aggregator.link.published.clear()
        aggregator.connect()
        assert len(published(aggregator, MODEL, "large")) == 1
        assert notices.read(aggregator.directory, aggregator.clock.wall()) == {}
        cut(aggregator)
        assert len(published(aggregator, MODEL, "large")) == 1  # as the first one


def test_broker_that_does_not_answer_for_a_while_frees_nobody() -> None:
    """Some close the door to who was put off."""
    holding = Holding(HandClock(), lambda: 0.5, lambda _: None)
    for _ in range(2):
        holding.connected()
        holding.cut("watch", "model", 60_000)
        holding.lost()
        holding.lost()
    assert holding.wait("watch", lambda: None)
    holding.connected()
    holding.lost()
    assert not holding.wait("watch", lambda: None)


def test_removed_task_is_held_no_longer(aggregator: HandAggregator) -> None:
    aggregator.connect()
    cut(aggregator)
    cut(aggregator)
    aggregator.remove_task("large")
    aggregator.clock.move(LONGEST_S)
    assert published(aggregator, MODEL, "large") == []
    assert notices.read(aggregator.directory, aggregator.clock.wall()) == {}


def test_next_service_begins_without_notices(aggregator: HandAggregator) -> None:
    aggregator.connect()
    cut(aggregator)
    cut(aggregator)
    aggregator.start()
    aggregator.settle()
    assert notices.read(aggregator.directory, aggregator.clock.wall()) == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": {"says": "x"}}', b"\xff"])
def test_file_of_notices_that_is_of_no_use_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / notices.FILE).write_bytes(content)
    assert notices.read(tmp_path, 0.0) == {}


def test_notices_are_read_as_they_were_written(tmp_path: Path) -> None:
    told = {"watch": Notice("too large", 1_790_000_000.5)}
    notices.write(tmp_path, told)
    assert notices.read(tmp_path, 0.0) == told


def test_plan_that_is_too_large_is_held_though_its_model_passes() -> None:
    holding = Holding(HandClock(), lambda: 0.5, lambda _: None)
    for _ in range(2):
        holding.passed("watch", "model")
        holding.cut("watch", "plan", 60_000)
    holding.passed("watch", "model")
    assert holding.wait("watch", lambda: None)


CALLS = st.lists(st.tuples(st.sampled_from(["cut", "wait", "move"]), st.integers(1, 100_000)))


@given(CALLS, st.floats(0, 0.999))
def test_each_cut_in_a_row_holds_longer_up_to_hours(
    calls: list[tuple[str, int]], draw: float
) -> None:
    clock = HandClock()
    holding, called = Holding(clock, lambda: draw, lambda _: None), []
    cuts, least = 0, clock.now()
    for name, number in calls:
        if name == "cut":
            holding.cut("watch", "model", number)
            cuts += 1
            if cuts > 1:
                least = clock.now() + min(LONGEST_S, FIRST_S * 2 ** min(cuts - 2, 30)) / 2
        elif name == "wait":
            assert holding.wait("watch", lambda: called.append(clock.now())) or clock.now() >= least
        else:
            before = len(called)
            clock.move(number)
            assert all(at >= least for at in called[before:])


def test_what_a_killed_service_told_is_not_told_for_ever(tmp_path: Path) -> None:
    notices.write(tmp_path, {"tiny": Notice("is stopped: a file", 1000.0)})
    assert "tiny" in notices.read(tmp_path, 1000.0 + notices.OLD_S - 1)
    assert notices.read(tmp_path, 1000.0 + notices.OLD_S) == {}
