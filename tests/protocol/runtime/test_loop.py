"""Timers in order, descriptors when ready, signals from the loop; nothing else wakes it."""

import os
import selectors
import signal
import socket

import pytest

from fedling_protocol.runtime.loop import LONGEST_SLEEP_S, READ, Loop
from tests.support.waiting import until


def test_run_timers_in_order_of_due() -> None:
    loop = Loop()
    seen: list[str] = []
    start = loop.now()
    loop.at(start + 0.002, lambda: seen.append("later"))
    loop.at(start + 0.001, lambda: seen.append("first"))
    loop.at(start + 0.001, lambda: seen.append("second"))
    loop.at(start + 0.003, loop.stop)
    loop.run()
    loop.close()
    assert seen == ["first", "second", "later"]


def test_turn_sleeps_until_the_first_timer_and_for_long_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    def select(_self: object, timeout: float) -> list[object]:
        slept.append(timeout)
        return []

    loop = Loop()
    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    loop.turn()
    assert slept == [LONGEST_SLEEP_S]
    loop.after(50, lambda: None).cancel()
    loop.after(100, lambda: None)
    loop.turn()
    assert 50 < slept[1] <= 100
    loop.turn(5.0)
    assert slept[2] == 5.0
    loop.close()


def test_cancelled_timer_is_not_called() -> None:
    loop = Loop()
    seen: list[str] = []
    timer = loop.after(0, lambda: seen.append("never"))
    timer.cancel()
    loop.after(0, loop.stop)
    loop.run()
    loop.close()
    assert seen == []


def test_timer_of_a_timer_waits_for_the_next_turn() -> None:
    """A callback that is due at once again must not keep descriptors from being served."""
    loop = Loop()
    left, right = socket.socketpair()
    seen: list[str] = []

    def again() -> None:
        seen.append("timer")
        loop.after(0, again)

    def ready(_events: int) -> None:
        seen.append("ready")
        loop.stop()

    with left, right:
        loop.watch(left.fileno(), READ, ready)
        loop.after(0, again)
        right.send(b"x")
        loop.run()
    loop.close()
    assert "ready" in seen


def test_unwatch_by_another_callback_of_the_same_turn() -> None:
    loop = Loop()
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def ready_of(index: int) -> None:
        def ready(_events: int) -> None:
            seen.append(index)
            loop.unwatch(pairs[1 - index][0].fileno())
            loop.stop()

        loop.watch(pairs[index][0].fileno(), READ, ready)

    for index, (_, far) in enumerate(pairs):
        ready_of(index)
        far.send(b"x")
    loop.run()
    loop.close()
    assert len(seen) == 1
    for near, far in pairs:
        near.close()
        far.close()


def test_on_signal_calls_from_the_loop() -> None:
    loop = Loop()
    seen: list[str] = []

    def stop() -> None:
        seen.append("signal")
        loop.stop()

    loop.on_signal(signal.SIGUSR1, stop)
    loop.after(0, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    loop.run()
    loop.close()
    assert seen == ["signal"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_on_end_is_called_for_every_word_that_ends_a_service(number: signal.Signals) -> None:
    loop = Loop()
    loop.on_end(loop.stop)
    loop.after(0, lambda: os.kill(os.getpid(), number))
    loop.run()
    loop.close()


def test_on_end_leaves_nohup_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        loop = Loop()
        loop.on_end(loop.stop)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        loop.close()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_callback_that_fails_is_told_and_the_others_are_called() -> None:
    loop, told, seen = Loop(), list[Exception](), list[str]()
    read, write = os.pipe()
    loop.on_error(told.append)

    def fail(*_: object) -> None:
        seen.append("failed")
        raise ValueError("planted")

    os.write(write, b"x")
    loop.watch(read, READ, fail)
    loop.after(0, fail)
    loop.after(0, lambda: seen.append("timer"))
    loop.post(fail)
    loop.post(lambda: seen.append("posted"))
    until(lambda: {"timer", "posted"} <= set(seen), loop.turn)
    loop.close()
    os.close(read)
    os.close(write)
    assert len(told) >= 3
    assert {str(error) for error in told} == {"planted"}


def test_signals_act_as_before_when_a_loop_is_gone() -> None:
    told: list[int] = []
    usual = signal.signal(signal.SIGUSR2, lambda number, _frame: told.append(number))
    try:
        loop = Loop()
        loop.on_signal(signal.SIGUSR2, loop.stop)
        loop.hold_signals()
        loop.close()
        signal.raise_signal(signal.SIGUSR2)
        assert told == []
        loop.release_signals()
        assert told == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, usual)


def test_what_a_signals_callback_raises_is_told_and_the_next_one_is_heard() -> None:
    loop = Loop()
    told: list[Exception] = []
    heard: list[str] = []

    def fail() -> None:
        raise BlockingIOError

    loop.on_error(told.append)
    loop.on_signal(signal.SIGUSR1, fail)
    loop.on_signal(signal.SIGUSR2, lambda: heard.append("second"))
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    loop.turn(0)
    loop.close()
    assert [type(error) for error in told] == [BlockingIOError]
    assert heard == ["second"]
