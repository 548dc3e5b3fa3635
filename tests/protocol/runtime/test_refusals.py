"""Each refusal is counted; of a flood of them a line a minute is logged."""

import logging
from collections import Counter

import pytest

from fedling_protocol.runtime.refusals import LOG_AGAIN_S, Refusals
from fedling_protocol.wire.refused import Reason, Refused
from tests.support.ports import HandClock


class Bench:
    """Refusals that a test hears, on a clock by hand."""

    def __init__(self) -> None:
        self.clock = HandClock(0.0)  # a machine that has just booted
        self.counts: Counter[str] = Counter()
        self.refusals = Refusals(self.clock, self._count)

    def _count(self, name: str) -> None:
        self.counts[name] += 1

    def add(self, reason: Reason, topic: str = "a/topic") -> None:
        self.refusals.add(topic, Refused(reason, "for a test"))


def test_each_refusal_is_counted_and_one_a_minute_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    for _ in range(5):
        bench.add(Reason.SIZE)
    bench.clock.move(LOG_AGAIN_S - 1)
    bench.add(Reason.SIZE)
    assert len(caplog.messages) == 1
    bench.clock.move(1.0)
    bench.add(Reason.SIZE)
    assert len(caplog.messages) == 2
    assert bench.counts == {"refused: size": 7}


def test_each_reason_has_its_own_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.add(Reason.SIZE)
    bench.add(Reason.TOPIC)
    assert len(caplog.messages) == 2


def test_a_kind_of_a_later_version_is_declined_not_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.add(Reason.PLAN_KIND)
    assert list(bench.counts) == [f"declined: {Reason.PLAN_KIND}"]
    assert caplog.messages[0].startswith("declined a message on 'a/topic'")


def test_a_long_topic_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    Bench().add(Reason.TOPIC, "x" * 60_000)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert len(record.getMessage()) < 400


def test_may_log_says_whether_a_minute_has_passed() -> None:
    bench = Bench()
    assert bench.refusals.may_log("a sort") is True
    assert bench.refusals.may_log("a sort") is False
