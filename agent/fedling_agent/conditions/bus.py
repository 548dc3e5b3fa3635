"""Asks services of this machine over the system's D-Bus, where jeepney is installed.

A service that does not run is not started by it. Nobody answers is an answer: what then holds, the
reader says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedling_protocol.classes import dataclass

if TYPE_CHECKING:
    from fedling_agent.conditions.bus_connection import Connection

PATIENCE_S = 1.0  # for one answer, the connection included
KEPT_S = 5.0  # so long an answer counts: while it trains, readers are asked five times a second
AGAIN_S = 60.0  # after a bus that could not be asked
PROPERTIES = "org.freedesktop.DBus.Properties"
PACKAGE = "the package jeepney is not installed (python3-jeepney, or pip: fedling[dbus])"
VARIANT = "v"  # the signature of what says its type with its value
NOBODY = (".ServiceUnknown", ".NameHasNoOwner")  # how errors of the bus end


class Unanswered(Exception):
    """Nobody has told; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """A call of a method with texts as its arguments."""

    service: str
    path: str
    interface: str
    method: str
    arguments: tuple[str, ...]
    answers: str  # the signature of the one value that is right; of a property its own


def property_of(service: str, path: str, interface: str, name: str, answers: str) -> Question:
    return Question(service, path, PROPERTIES, "Get", (interface, name), answers)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was answered, until it is old."""

    value: object
    why: str  # there is no value; empty: there is
    until: float


class Bus:
    """The system's bus, as one reader after another asks it. Of one thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._connection: Connection | None = None
        self._kept: dict[Question, _Kept] = {}
        self._rest: _Kept | None = None  # the bus could not be asked

    def ask(self, question: Question) -> object:
        """Give the value that a service tells, of the type that it has to be. Raises Unanswered.

        Within PATIENCE_S; from what was told a moment ago, if there is that.
        """
        now = self._now()
        self._kept = {asked: kept for asked, kept in self._kept.items() if now < kept.until}
        if self._rest is not None and now >= self._rest.until:
            self._rest = None
        kept = self._rest or self._kept.get(question) or self._fetch(question, now)
        if kept.why:
            raise Unanswered(kept.why)
        return kept.value

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, question: Question, now: float) -> _Kept:
        try:
            value, why = self._call(question), ""
        except Unanswered as error:
            value, why = None, str(error)
        except ImportError:
            return self._give_up(PACKAGE, now)
        except TimeoutError:
            return self._give_up(f"the system's D-Bus says nothing for {PATIENCE_S:.0f} s", now)
        except OSError as error:
            return self._give_up(f"the system's D-Bus: {error.strerror or error}", now)
        except Exception as error:  # noqa: BLE001 (whatever jeepney makes of bytes that are none)
            return self._give_up(f"the system's D-Bus: {type(error).__name__}: {error}", now)
        self._kept[question] = kept = _Kept(value, why, now + KEPT_S)
        return kept

    def _give_up(self, why: str, now: float) -> _Kept:
        self.close()
        self._rest = rest = _Kept(None, why, now + AGAIN_S)
        return rest

    def _call(self, question: Question) -> object:
        from fedling_agent.conditions.bus_connection import Connection

        deadline = time.monotonic() + PATIENCE_S
        if self._connection is not None:
            try:
                return _value(self._connection, question, deadline)
            except ConnectionError:  # of a bus that was started again
                self.close()
        self._connection = Connection(deadline)
        return _value(self._connection, question, deadline)


def _value(connection: Connection, question: Question, deadline: float) -> object:
    """The one value of the answer. Raises Unanswered, or as the connection does."""
    answer = connection.call(
        question.service,
        question.path,
        question.interface,
        question.method,
        question.arguments,
        deadline,
    )
    if answer.error.endswith(NOBODY):
        raise Unanswered(f"{question.service} does not run")
    if answer.error:
        raise Unanswered(f"{question.service}: {answer.error}")
    signature, values = answer.signature, answer.values
    if signature == VARIANT and len(values) == 1 and isinstance(values[0], tuple):
        signature, values = str(values[0][0]), values[0][1:]
    if signature != question.answers or len(values) != 1:
        raise Unanswered(f"{question.service} answers {signature!r}, not {question.answers!r}")
    return values[0]
