"""The fleet hears what a device does when that is new and lasts, and only as long as it may."""

from fedling_agent.service.teller import TELL_S, Current, Teller
from fedling_protocol.net.ports import Done
from fedling_protocol.wire.messages import StateCode
from tests.support.ports import HandClock, HandLink

IDLE: Current = (StateCode.IDLE, 1, "")
TRAINING: Current = (StateCode.TRAINING, 1, "")


class Membership:
    enrolled = True


class Words:
    """As much of an Outbox as is told a state."""

    def __init__(self) -> None:
        self.said: list[Current] = []

    def state(self, code: StateCode, version: int, why_not: str, handed: Done) -> None:
        self.said.append((code, version, why_not))
        handed()


class Bench:
    def __init__(self) -> None:
        self.clock, self.link, self.words = HandClock(), HandLink(), Words()
        self.link.connected = True
        self.enrolment = Membership()
        self.now = IDLE
        self.teller = Teller(
            self.clock, self.link, self.words, self.enrolment, lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip

    def change(self, now: Current) -> None:
        self.now = now
        self.teller.changed()
        self.clock.settle()

    @property
    def said(self) -> list[Current]:
        return self.words.said


def test_first_word_is_said_at_once_and_later_ones_when_they_have_lasted() -> None:
    bench = Bench()
    bench.change(IDLE)
    assert bench.said == [IDLE]
    bench.change(TRAINING)
    bench.clock.move(TELL_S - 0.1)
    assert bench.said == [IDLE]
    bench.clock.move(0.1)
    assert bench.said == [IDLE, TRAINING]


def test_what_is_over_before_it_is_told_is_not_told() -> None:
    bench = Bench()
    bench.change(IDLE)
    bench.change(TRAINING)
    bench.clock.move(TELL_S / 2)
    bench.change(IDLE)
    bench.clock.move(TELL_S)
    assert bench.said == [IDLE]
    assert bench.clock.waiting == 0
    bench.change(IDLE)  # it is no news
    assert bench.clock.waiting == 0


def test_who_may_not_speak_says_nothing_and_says_it_when_it_may() -> None:
    bench = Bench()
    bench.enrolment.enrolled = False
    bench.change(IDLE)
    assert (bench.said, bench.clock.waiting) == ([], 0)
    bench.enrolment.enrolled = True
    bench.link.connected = False
    bench.change(IDLE)
    assert bench.said == []
    bench.link.connected = True
    bench.teller.again()
    bench.clock.settle()
    assert bench.said == [IDLE]


def test_what_is_lost_is_said_again_at_once() -> None:
    bench = Bench()
    bench.change(IDLE)
    bench.teller.again()
    bench.clock.settle()
    assert bench.said == [IDLE, IDLE]


def test_closed_it_says_nothing_more() -> None:
    bench = Bench()
    bench.change(IDLE)
    bench.change(TRAINING)
    bench.teller.close()
    assert bench.clock.waiting == 0
    bench.teller.again()
    bench.clock.move(2 * TELL_S)
    assert bench.said == [IDLE]
