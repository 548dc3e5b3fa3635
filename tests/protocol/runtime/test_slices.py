"""Long work runs in the turns of a loop, and can be ended at a pause."""

import gc
import weakref

from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.slices import Sliced, Slices, finish
from tests.support.waiting import until


def counting(to: int, seen: list[object]) -> Slices[int]:
    try:
        for number in range(to):
            seen.append(number)
            yield
    finally:
        seen.append("closed")
    return to


def test_finish_runs_all_and_returns() -> None:
    assert finish(counting(3, [])) == 3


def test_sliced_ends_with_the_result_in_later_turns() -> None:
    loop, seen = Loop(), list[object]()
    Sliced(loop, counting(3, seen), lambda n: seen.append(f"result {n}"), seen.append)
    assert seen == []
    until(lambda: len(seen) >= 5, loop.turn)
    loop.close()
    assert seen == [0, 1, 2, "closed", "result 3"]


def test_sliced_leaves_the_loop_its_turns() -> None:
    loop, seen = Loop(), list[object]()
    Sliced(loop, counting(100_000, seen), seen.append, seen.append)
    turns = 0
    while seen[-1:] != [100_000]:
        loop.turn(0.0)
        turns += 1
    loop.close()
    assert turns > 1


def test_cancel_closes_it_and_tells_nothing() -> None:
    loop, seen = Loop(), list[object]()
    work = Sliced(loop, counting(10**9, seen), seen.append, seen.append)
    loop.turn(1.0)
    work.cancel()
    done = len(seen)
    assert seen[-1] == "closed"
    loop.turn(0.01)
    loop.close()
    assert len(seen) == done


def test_what_has_ended_is_gone_without_a_collection() -> None:
    """It holds a plan and more; on a board the collector may look hours later."""
    loop, seen = Loop(), list[object]()
    gc.disable()
    try:
        work = weakref.ref(Sliced(loop, counting(3, []), seen.append, seen.append))
        until(lambda: seen == [3], loop.turn)
        assert work() is None
    finally:
        gc.enable()
        loop.close()


def test_error_is_told() -> None:
    def failing() -> Slices[None]:
        yield
        raise OSError("the disk")

    loop, seen = Loop(), list[object]()
    Sliced(loop, failing(), seen.append, lambda error: seen.append(str(error)))
    until(lambda: seen, loop.turn)
    loop.close()
    assert seen == ["the disk"]
