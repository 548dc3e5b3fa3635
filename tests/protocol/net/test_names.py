"""A name server that is gone holds nothing up, and look-ups do not pile up behind it."""

import socket
import threading
from collections.abc import Iterator

import pytest

from fedling_protocol.net.names import LOOK_UP_S, Names, find
from fedling_protocol.net.way import Found, Way
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from tests.support.conditions import FakeWorker
from tests.support.ports import HandClock
from tests.support.waiting import PATIENCE_S, until

ROW = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("198.51.100.1", 1883))
ADDRESS = Found(ROW[0], ROW[1], ROW[2], ROW[4])


class DeadResolver:
    """getaddrinfo hangs until the test lets it go."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = threading.Event()
        self.error: OSError | None = None

    def __call__(self, *words: object) -> list[object]:
        if words[-1] == socket.AI_NUMERICHOST:
            if words[0] == "127.0.0.1":
                return [(*ROW[:4], (words[0], words[1]))]
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.calls += 1
        assert self.gate.wait(PATIENCE_S)
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
    names = Names(loop, worker, Way("broker.test", 1883))
    told: list[object] = []
    names.look_up(told.append, told.append)
    loop.after(0.001, lambda: told.append("timer"))
    until(lambda: told, loop.turn)
    assert told == ["timer"]
    resolver.gate.set()
    until(lambda: len(told) >= 2, loop.turn)
    assert told[1] == (ADDRESS,)
    worker.close()
    loop.close()


def test_further_look_ups_wait_for_the_one_that_hangs(resolver: DeadResolver) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    names = Names(loop, worker, Way("broker.test", 1883))
    told: list[str] = []
    for number in range(50):
        names.look_up(lambda _, number=number: told.append(f"found {number}"), told.append)  # type: ignore[misc]
    names.forget()
    names.look_up(lambda _: told.append("last"), told.append)
    resolver.gate.set()
    until(lambda: told, loop.turn)
    assert told == ["last"]
    assert resolver.calls == 1
    worker.close()
    loop.close()


def test_name_that_was_not_found_is_looked_up_again(resolver: DeadResolver) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    names = Names(loop, worker, Way("broker.test", 1883))
    told: list[object] = []
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    resolver.gate.set()
    names.look_up(told.append, told.append)
    until(lambda: told, loop.turn)
    assert told == ["the look-up of broker.test failed: Temporary failure in name resolution"]
    resolver.error = None
    names.look_up(told.append, told.append)
    until(lambda: len(told) >= 2, loop.turn)
    assert told[1] == (ADDRESS,)
    names.look_up(told.append, told.append)
    until(lambda: len(told) >= 3, loop.turn)
    assert resolver.calls == 3
    worker.close()
    loop.close()


def test_address_needs_no_name_server() -> None:
    loop = Loop()
    names = Names(loop, ThreadWorker(loop, "names"), Way("127.0.0.1", 1883))
    told: list[tuple[Found, ...]] = []
    errors: list[str] = []
    names.look_up(told.append, errors.append)
    assert told == []  # later, from the loop
    until(lambda: told, loop.turn)
    assert told[0][0].address == ("127.0.0.1", 1883)
    loop.close()
    assert errors == []


# --- what the way knows ----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["mqtt..example.org", ".local", "a" * 70 + ".local"])
def test_what_is_no_host_name_is_told_as_that(host: str) -> None:
    """idna raises UnicodeError of them, which is no OSError."""
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    way = Way(host, 1883)
    told: list[object] = []
    Names(loop, worker, way).look_up(told.append, told.append)
    until(lambda: told, loop.turn)
    assert told == [f"the look-up of {host} failed: not a host name"]
    assert way.failure == told[0]
    worker.close()
    loop.close()


def test_way_keeps_the_last_addresses_while_the_name_server_is_gone(
    resolver: DeadResolver,
) -> None:
    loop = Loop()
    worker = ThreadWorker(loop, "names", patient=False)
    way = Way("broker.test", 1883)
    names = Names(loop, worker, way)
    told: list[object] = []
    resolver.gate.set()
    names.look_up(told.append, told.append)
    until(lambda: told, loop.turn)
    assert (way.addresses, way.failure) == ((ADDRESS,), "")
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    names.look_up(told.append, told.append)
    until(lambda: len(told) >= 2, loop.turn)
    assert way.addresses == (ADDRESS,)
    assert "Temporary failure" in way.failure
    worker.close()
    loop.close()


def test_look_up_that_hangs_is_told_and_its_answer_serves_the_next_one(
    resolver: DeadResolver,
) -> None:
    clock, worker = HandClock(), FakeWorker()
    way = Way("broker.test", 1883)
    names = Names(clock, worker, way)
    told: list[object] = []
    names.look_up(told.append, told.append)
    clock.move(LOOK_UP_S)
    assert told == ["the look-up of broker.test has had no answer for 20 s"]
    assert way.failure == told[0]
    names.look_up(told.append, told.append)
    assert len(worker.calls) == 1  # the first one goes on
    resolver.gate.set()
    worker.run()
    assert told[1:] == [(ADDRESS,)]
    assert (way.addresses, way.failure) == ((ADDRESS,), "")
    clock.move(LOOK_UP_S)
    assert len(told) == 2


def test_command_gives_up_a_name_server_that_does_not_answer(resolver: DeadResolver) -> None:
    way = Way("broker.test", 1883)
    with pytest.raises(OSError, match=r"the look-up of broker\.test has had no answer for 0 s"):
        find(way, 0.01)
    assert "no answer" in way.failure
    resolver.gate.set()
    assert find(Way("broker.test", 1883), 20) == (ADDRESS,)
    resolver.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(OSError, match="failed: Name or service not known"):
        find(Way("broker.test", 1883), 20)
    assert find(Way("127.0.0.1", 1883), 0)[0].address == ("127.0.0.1", 1883)
