"""Calls run beside the loop in their order; what came of them is told in the loop."""

import threading

import pytest

from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker, ThreadWorker, Worker, raise_
from tests.support.waiting import PATIENCE_S, until


@pytest.mark.parametrize("make", [lambda loop: ThreadWorker(loop, "test"), InlineWorker])
def test_do_tells_results_and_errors_in_order(make: "type[InlineWorker]") -> None:
    loop = Loop()
    worker: Worker = make(loop)
    told: list[object] = []

    def fail() -> str:
        raise OSError("the disk")

    worker.do(lambda: "first", told.append, raise_)
    worker.do(fail, told.append, lambda error: told.append(str(error)))
    worker.do(lambda: "last", told.append, raise_)
    assert told == []  # never inside do()
    until(lambda: len(told) >= 3, loop.turn)
    worker.close()
    loop.close()
    assert told == ["first", "the disk", "last"]


def test_call_that_blocks_holds_no_timer_up() -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "test")
    gate, told = threading.Event(), list[object]()

    def wait() -> str:
        assert gate.wait(PATIENCE_S)
        return "done"

    def later() -> None:
        assert told == []
        told.append("timer")
        gate.set()

    worker.do(wait, told.append, raise_)
    loop.after(0.001, later)
    until(lambda: len(told) >= 2, loop.turn)
    worker.close()
    loop.close()
    assert told == ["timer", "done"]


def test_close_waits_for_the_last_write_and_tells_nothing() -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "test")
    gate, done = threading.Event(), list[str]()

    def write() -> None:
        assert gate.wait(PATIENCE_S)
        done.append("written")

    worker.do(write, lambda _: done.append("told"), raise_)
    threading.Timer(0.05, gate.set).start()
    worker.close()
    assert done == ["written"]
    loop.turn(0.01)
    loop.close()
    assert done == ["written"]


def test_close_of_an_impatient_worker_leaves_a_call_that_hangs() -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "test", patient=False)
    gate = threading.Event()
    worker.do(gate.wait, lambda _: None, raise_)
    worker.close()  # returns
    gate.set()
    loop.close()


def test_unknown_error_is_raised_in_the_loop() -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "test")
    worker.do(lambda: 1 // 0, lambda _: None, raise_)
    loop.after(20, loop.stop)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    worker.close()
    loop.close()
