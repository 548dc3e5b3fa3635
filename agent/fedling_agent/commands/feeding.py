"""Where `ingest` brings its rows: to the service or, without one, into the store under its lock.

A service that is restarted does not end an input: it is asked again when it is back, or the rows go
into the store by themselves. Who takes over is told what it must know of the lines before; rows
that had no answer are repeated, and stored once.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

from fedling_agent.commands import uptime
from fedling_agent.commands.installation import Installation
from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.source import Input
from fedling_agent.service.control import Client, Forbidden, Json, Unavailable
from fedling_agent.service.operations import Ages, Ingest, told
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.disk.lock import Locked
from fedling_protocol.disk.ownership import NotOurs

FIRST_S = 10.0  # a service that has the lock and no socket yet is waited for so long
AGAIN_S = 300.0  # one that has taken rows already
RETRY_S = 0.2
LAST_S = 10.0  # what was read before a signal came is brought for so long: a service may be ending
HOLD_S = 1.0  # that a file keeps the store open for; a service that starts waits longer
LET_IN_S = 0.005


class _End(Protocol):
    """Who takes the rows."""

    by: str

    def feed(self, before: int, lines: list[str], ages_ms: Ages | None) -> Json: ...

    def again(self, before: int, lines: list[str]) -> None: ...

    def close(self) -> None: ...


class Feeder:
    """Brings the pieces of one input where they belong."""

    def __init__(
        self, where: Installation, source: Input, request: Json, interrupts: Interrupts
    ) -> None:
        """request: stream, form, mode, and what the command line gives for all rows."""
        self._where = where
        self._source = source
        self._request = request | {"input": secrets.token_hex(16)}
        self._interrupts = interrupts
        self._end: _End | None = None
        self._given_up: float | None = None  # after a signal
        self._breaks = 0  # that whoever takes the rows knows of
        self.row = 0  # lines that were answered

    @property
    def by(self) -> str:
        """Who takes the rows, for people."""
        return "nobody" if self._end is None else self._end.by

    def feed(self, lines: list[str]) -> Json:
        """Have a piece stored. Raises Locked, NotOurs, Unavailable if nobody takes it for long."""
        until = time.monotonic() + (AGAIN_S if self.row else FIRST_S)
        if self._breaks != self._source.breaks:
            self._drop()
            self._end, self._breaks = None, self._source.breaks  # who begins anew joins nothing
        while True:
            try:
                answer = self._ready().feed(self.row, lines, self._ages_ms())
                self.row += len(lines)
                return answer
            except Forbidden:
                raise
            except (Locked, NotOurs, Unavailable) as error:
                self._drop()
                if isinstance(error, NotOurs) and not self.row:
                    raise  # nobody is there who could take rows of this user
                if time.monotonic() > self._until(until):
                    raise
                self._pause()

    def _ages_ms(self) -> Ages | None:
        """How long ago the first and the last line of the piece came; None: they are a file's."""
        if self._source.is_file:
            return None
        first, last = (int(1000 * (time.monotonic() - came)) for came in self._source.came)
        return first, last

    def _until(self, until: float) -> float:
        """Until when it is tried: not for long once a signal has come, whatever was said before."""
        if not self._interrupts.came:
            return until
        if self._given_up is None:
            self._given_up = time.monotonic() + LAST_S
        return min(until, self._given_up)

    def _pause(self) -> None:
        if self._interrupts.came:  # its own wait would be over at once
            time.sleep(RETRY_S)
        else:
            self._interrupts.wait(RETRY_S)

    def close(self) -> None:
        """Nothing more comes."""
        self._drop()

    def _ready(self) -> _End:
        """The service as soon as there is one."""
        if isinstance(self._end, _Service):
            return self._end
        client = self._where.service()
        if client is not None:
            self._end = self._brief(_Service(client, self._request))
        elif self._end is None:
            alone = _Alone(self._where, self._request, self._source.is_file)
            self._end = self._brief(alone)
        return self._end

    def _brief(self, end: _End) -> _End:
        """Tell who takes over of the lines before."""
        before = 0
        try:
            for lines in self._source.again(self.row):
                end.again(before, lines)
                before += len(lines)
        except BaseException:
            end.close()
            raise
        return end

    def _drop(self) -> None:
        """Let go; a service that is gone is forgotten, what this command knows itself is not."""
        if self._end is not None:
            self._end.close()
        if isinstance(self._end, _Service):
            self._end = None

    def __enter__(self) -> "Feeder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Service:
    by = "service"

    def __init__(self, client: Client, request: Json) -> None:
        self._client = client
        self._request: Json = {"do": "ingest"} | request

    def feed(self, before: int, lines: list[str], ages_ms: Ages | None) -> Json:
        request = {"before": before, "lines": lines, "ages_ms": ages_ms and list(ages_ms)}
        return self._client.ask(self._request | request)

    def again(self, before: int, lines: list[str]) -> None:
        self._client.ask(self._request | {"before": before, "lines": lines, "again": True})

    def close(self) -> None:
        self._client.close()


class _Alone:
    """This command itself. It has the lock for a moment only: a service may start meanwhile.

    A pipe may pause after each piece, a file does not.
    """

    by = "command; the service does not run"

    def __init__(self, where: Installation, request: Json, is_file: bool) -> None:
        self._where = where
        self._bounds = where.needed_config().bounds
        self._ingest = Ingest.of_request(where.streams(), request)
        self._hold_s = HOLD_S if is_file else 0.0
        self._store: Store | None = None
        self._held = ExitStack()
        self._since = 0.0

    def feed(self, before: int, lines: list[str], ages_ms: Ages | None) -> Json:
        store = self._store or self._open()
        now_ms, up_ms = int(time.time() * 1000), uptime.up_ms()
        try:
            return told(self._ingest.feed(store, lines, now_ms, up_ms, before, ages_ms))
        finally:
            if time.monotonic() >= self._since + self._hold_s:
                self.close()
                time.sleep(LET_IN_S)

    def again(self, before: int, lines: list[str]) -> None:
        self._ingest.again(lines, before)

    def close(self) -> None:
        """Let go of store and lock; the next piece takes them again."""
        self._held.close()
        self._store = None

    def _open(self) -> Store:
        with ExitStack() as held:
            held.enter_context(lock.exclusive(self._where.state, PROGRAM))
            self._store = Store(self._where.state, self._bounds)
            held.callback(self._store.close)
            self._held = held.pop_all()
        self._since = time.monotonic()
        return self._store


def pieces_of(source: Input, interrupts: Interrupts) -> Iterator[list[str]]:
    """Read the pieces of an input; at least one, so that a wrong stream is told."""
    first = True
    for piece in source.pieces(interrupts):
        first = False
        yield piece
    if first and not interrupts.came:
        yield []
