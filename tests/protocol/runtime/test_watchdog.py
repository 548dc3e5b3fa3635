import pytest

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.watchdog import Watchdog
from tests.support.ports import HandClock


def test_it_is_fed_twice_in_the_time_within_which_it_bites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, fed = HandClock(), list[float]()
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setattr(sdnotify, "alive", lambda: fed.append(clock.now()))
    Watchdog(clock).start()
    clock.move(95.0)
    assert [at - fed[0] for at in fed] == [0.0, 30.0, 60.0, 90.0]


def test_without_one_nothing_is_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, fed = HandClock(), list[float]()
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.setattr(sdnotify, "alive", lambda: fed.append(clock.now()))
    Watchdog(clock).start()
    clock.move(600.0)
    assert fed == []
