"""Services on the system's D-Bus are asked: a real dbus-daemon, and buses that do as they like."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from fedling_agent.conditions.bus import AGAIN_S, KEPT_S, PACKAGE, Bus, Unanswered, property_of
from tests.support.bus import DBus, Variant, played

NAME = "org.example.Lamp"
LIT = property_of(NAME, "/lamp", "org.example.Lamp1", "Lit", "b")
SILENT = "the system's D-Bus says nothing for 1 s"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asking(clock: Clock) -> Iterator[Bus]:
    with closing(Bus(clock)) as asking:
        yield asking


def why(asking: Bus) -> str:
    with pytest.raises(Unanswered) as caught:
        asking.ask(LIT)
    return str(caught.value)


@pytest.mark.parametrize("value", [True, False])
def test_property_is_told(asking: Bus, dbus: DBus, value: bool) -> None:
    asked = []

    def tell(*words: object) -> Variant:
        asked.append(words)
        return "v", ("b", value)

    with played(dbus, NAME, tell):
        assert asking.ask(LIT) is value
    assert asked == [("/lamp", "Get", ("org.example.Lamp1", "Lit"))]


@pytest.mark.parametrize(
    "told",
    [("v", ("u", 1)), ("v", ("s", "yes")), ("v", ("v", ("b", True))), ("b", True), ("as", ["b"])],
)
def test_another_type_is_no_answer(asking: Bus, clock: Clock, dbus: DBus, told: Variant) -> None:
    answers = [told, ("v", ("b", True))]
    with played(dbus, NAME, lambda *_: answers.pop(0)):
        signature = told[1][0] if told[0] == "v" and isinstance(told[1], tuple) else told[0]
        if told[0] != "b":
            assert why(asking) == f"{NAME} answers {signature!r}, not 'b'"
            clock.now += KEPT_S
        assert asking.ask(LIT) is True


def test_error_is_no_answer(asking: Bus, dbus: DBus) -> None:
    def refuse(*_: object) -> None:
        raise LookupError

    with played(dbus, NAME, refuse):
        assert why(asking) == f"{NAME}: org.freedesktop.DBus.Error.Failed"


def test_service_that_does_not_run_is_not_started(asking: Bus, dbus: DBus) -> None:
    proof = dbus.would_start(NAME)
    dbus.end()
    dbus.start()
    assert why(asking) == f"{NAME} does not run"
    assert not proof.exists()


def test_answer_counts_for_some_seconds(asking: Bus, clock: Clock, dbus: DBus) -> None:
    lit = [True]
    with played(dbus, NAME, lambda *_: ("v", ("b", lit[0]))) as called:
        assert [asking.ask(LIT) for _ in range(100)] == [True] * 100
        lit[0] = False
        clock.now += KEPT_S
        assert asking.ask(LIT) is False
        assert called == ["Get", "Get"]


def test_bus_that_was_started_again_is_found(asking: Bus, clock: Clock, dbus: DBus) -> None:
    for value in (True, False):
        with played(dbus, NAME, lambda *_, value=value: ("v", ("b", value))):
            assert asking.ask(LIT) is value
            dbus.end()
        dbus.start()
        clock.now += KEPT_S


def test_service_that_says_nothing_is_left_alone_for_a_while(
    asking: Bus, clock: Clock, dbus: DBus
) -> None:
    answers: list[Variant | None] = [None, ("v", ("b", True))]
    with played(dbus, NAME, lambda *_: answers.pop(0)) as called:
        assert [why(asking) for _ in range(100)] == [SILENT] * 100
        clock.now += AGAIN_S - 1
        assert why(asking) == SILENT
        assert called == ["Get"]
        clock.now += 1
        assert asking.ask(LIT) is True


def test_no_bus(asking: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    assert why(asking) == "the system's D-Bus: No such file or directory"


@pytest.mark.parametrize("address", ["tcp:host=127.0.0.1,port=1", "unix", "unix:runtime=yes"])
def test_address_that_is_none(asking: Bus, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    assert why(asking).startswith("the system's D-Bus: ")


@pytest.mark.usefixtures("dbus")
def test_without_jeepney(asking: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fedling_agent.conditions.bus_connection", raising=False)
    monkeypatch.setitem(sys.modules, "jeepney", None)
    assert why(asking) == PACKAGE


# --- buses that are none ------------------------------------------------------------------------


@contextmanager
def listening(folder: Path, *says: bytes) -> Iterator[list[int]]:
    """A bus that says one of these each time it hears something. Yields what it heard."""
    heard: list[int] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                one, _ = server.accept()
                with one, suppress(OSError):
                    for word in says:
                        heard.append(len(one.recv(4096)))
                        one.sendall(word)
                    while one.recv(4096):
                        pass

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "strange"))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield heard
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ([], SILENT),
        ([b"OK 0123\r\n"], SILENT),
        ([b"REJECTED EXTERNAL\r\n"], "AuthenticationError"),
        ([b"OK 0123\r\n", b"\0" * 64], "KeyError"),
        ([b"OK 0123\r\n", b"l\2\1\1" + b"\xff" * 60], "the system's D-Bus"),
        ([b"OK 0123\r\n", b"l\2\1\1" + b"\xff\xff\xff\7" * 50_000], "the system's D-Bus: "),
        ([b"OK 0123\r\n", b"l\2\1\1\0\0\1\0" + bytes(100_000)], "65536 bytes, and no answer"),
    ],
)
def test_strange_bus_is_no_answer_and_is_left_alone(
    asking: Bus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: list[bytes],
    told: str,
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/strange")
    with listening(tmp_path, *says) as heard:
        said = [why(asking) for _ in range(10)]
        assert told in said[0]
        assert said == said[:1] * 10
        asking.close()
        assert len(heard) == len(says)
