"""A name server that is gone holds nothing up, and look-ups do not pile up behind it."""

import socket
import threading
from collections.abc import Iterator

import pytest

from fedling_protocol.net.names import Found, Names
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker

ROW = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("198.51.100.1", 1883))


class DeadResolver:
    """getaddrinfo hangs until the test lets it go."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = threading.Event()
        self.error: OSError | None = None

    def __call__(self, *words: object) -> list[object]:
        if words[-1] == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.calls += 1
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        return [ROW]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadResolver]:
    dead = DeadResolver()
    monkeypatch.setattr(socket, "getaddrinfo", dead)
    yield dead
    dead.gate.set()


def test_look_up_of_a_name_holds_no_timer_up(resolver: DeadResolver) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    names = Names(loop, worker, "broker.test", 1883)
    told: list[object] = []
    names.look_up(told.append, told.append)
    loop.after(0.001, lambda: told.append("timer"))
    while not told:
        loop.turn(1.0)
    assert told == ["timer"]
    resolver.gate.set()
    while len(told) < 2:
        loop.turn(1.0)
    assert told[1] == [Found(ROW[0], ROW[1], ROW[2], ROW[4])]
    worker.close()
    loop.close()


def test_further_look_ups_wait_for_the_one_that_hangs(resolver: DeadResolver) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    names = Names(loop, worker, "broker.test", 1883)
    told: list[str] = []
    for number in range(50):
        names.look_up(lambda _, number=number: told.append(f"found {number}"), told.append)  # type: ignore[misc]
    names.forget()
    names.look_up(lambda _: told.append("last"), told.append)
    resolver.gate.set()
    while not told:
        loop.turn(1.0)
    assert told == ["last"]
    assert resolver.calls == 1
    worker.close()
    loop.close()


def test_name_that_was_not_found_is_looked_up_again(resolver: DeadResolver) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    names = Names(loop, worker, "broker.test", 1883)
    told: list[object] = []
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    resolver.gate.set()
    names.look_up(told.append, told.append)
    while not told:
        loop.turn(1.0)
    assert told == ["Temporary failure in name resolution"]
    resolver.error = None
    names.look_up(told.append, told.append)
    while len(told) < 2:
        loop.turn(1.0)
    assert told[1] == [Found(ROW[0], ROW[1], ROW[2], ROW[4])]
    names.look_up(told.append, told.append)
    while len(told) < 3:
        loop.turn(1.0)
    assert resolver.calls == 3
    worker.close()
    loop.close()


def test_address_needs_no_name_server() -> None:
    loop = Loop()
    names = Names(loop, ThreadWorker(loop, "names"), "127.0.0.1", 1883)
    told: list[list[Found]] = []
    errors: list[str] = []
    names.look_up(told.append, errors.append)
    assert told == []  # later, from the loop
    while not told:
        loop.turn(1.0)
    assert told[0][0].address == ("127.0.0.1", 1883)
    loop.close()
    assert errors == []
