"""A disk that refuses: forget, wait, look, go on; and longer each time that it refuses again."""

from collections.abc import Callable

import pytest

from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.recovery import Recovery
from tests.support.ports import HandClock


class Bench:
    """A service that says what it is asked to do, on a disk that works or not."""

    def __init__(self, start: float = 0.0) -> None:
        self.clock = HandClock(start)
        self.did: list[str] = []
        self.works = False
        backoff = Backoff(10.0, 300.0, lambda: 0.5)
        self.recovery = Recovery(
            self.clock,
            backoff,
            lambda: self.did.append("forget"),
            self._probe,
            self._go_on,
            "nothing is done",
        )

    def _probe(self, then: Callable[[], None]) -> None:
        self.did.append("probe")
        if self.works:
            then()
        else:
            self.recovery.refused(OSError("full"))

    def _go_on(self) -> None:
        self.did.append("go on")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_refusal_is_tried_again_until_it_works(bench: Bench) -> None:
    bench.recovery.refused(OSError("full"))
    assert bench.recovery.stall is not None
    assert (bench.recovery.stall.reason, bench.recovery.stall.retry_at) == ("OSError: full", 5.0)
    bench.clock.move(5.0)
    assert bench.did == ["forget", "probe", "forget"]
    assert bench.recovery.stall.retry_at == 15.0  # twice as long
    bench.works = True
    bench.clock.move(10.0)
    assert bench.did == ["forget", "probe", "forget", "probe", "go on"]
    assert bench.recovery.stall is None


@pytest.mark.parametrize("start", [0.0, 100.0, 1e6, 1e9])
def test_disk_that_stays_full_is_tried_less_and_less_often(start: float) -> None:
    """The clock counts from the boot: an hour after it each refusal was taken for the first."""
    bench = Bench(start)
    bench.recovery.refused(OSError("full"))
    tries: list[float] = []
    for _ in range(8):
        assert bench.recovery.stall is not None
        tries.append(bench.recovery.stall.retry_at - bench.clock.now())
        bench.clock.move(tries[-1])
    assert tries == [5.0, 10.0, 20.0, 40.0, 80.0, 150.0, 150.0, 150.0]


def test_disk_that_takes_only_the_probe_is_tried_less_and_less_often() -> None:
    bench = Bench(1e6)
    bench.works = True
    tries: list[float] = []
    for _ in range(4):
        bench.recovery.refused(OSError("full"))
        assert bench.recovery.stall is not None
        tries.append(bench.recovery.stall.retry_at - bench.clock.now())
        bench.clock.move(tries[-1])
    assert tries == [5.0, 10.0, 20.0, 40.0]


def test_refusals_while_it_waits_are_one_stall(bench: Bench) -> None:
    for _ in range(3):
        bench.recovery.refused(OSError("full"))
    bench.works = True
    bench.clock.move(1000.0)
    assert bench.did == ["forget", "forget", "forget", "probe", "go on"]


def test_disk_that_worked_for_long_is_tried_soon_again(bench: Bench) -> None:
    bench.recovery.refused(OSError("full"))
    bench.clock.move(5.0)  # in vain
    bench.works = True
    bench.clock.move(1000.0)
    bench.recovery.refused(OSError("full"))
    assert bench.recovery.stall is not None
    assert bench.recovery.stall.retry_at - bench.clock.now() == 5.0


def test_closed_tries_nothing_any_more(bench: Bench) -> None:
    bench.recovery.refused(OSError("full"))
    bench.recovery.close()
    bench.clock.move(1000.0)
    assert bench.did == ["forget"]
    bench.recovery.refused(OSError("full"))
    bench.clock.move(1000.0)
    assert bench.did == ["forget", "forget"]
