"""Puts off the connections of devices that were revoked, with every MQTT broker, by MQTT itself.

A broker that has read the revocation list refuses the next connect, and leaves a living connection
alone. But of two clients of one id it keeps the later one (MQTT 3.1.4-2). So a certificate with the
device's name is made that lives for minutes, and this end connects with it once: the device is put
off, and cannot come back.

It could, before the list was read. When that was nobody tells; so it is tried: a second
certificate of the device's name is on the list from the beginning, and as long as the broker lets
its bearer in, it has not read the list.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from fedling_protocol.classes import dataclass
from fedling_protocol.net.ports import Link, MakeLink, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 1.0, 600.0
PATIENCE = 8  # tries; whoever runs the MQTT broker had minutes to have the list read


@dataclass(frozen=True, slots=True)
class Pass:
    """A certificate of a device's name, with which a link connects."""

    serial: int
    make_link: MakeLink


@dataclass(frozen=True, slots=True)
class Gatehouse:
    """What cutting takes of the authority; both are called off the loop.

    issue: makes a pass, for seconds, of a device's name
    revoke: puts serial numbers on the list
    """

    issue: Callable[[str, int], Pass]
    revoke: Callable[[int], None]


ISSUED_S = 600  # a takeover takes milliseconds
LISTED_S = 30 * 86_400  # on the list all that time: it must not be refused for its age


class Cutter:
    """Cuts one device after the other; what fails is tried again, for as long as this runs."""

    def __init__(
        self, clock: Clock, worker: Worker, draw: Callable[[], float], house: Gatehouse
    ) -> None:
        self._clock = clock
        self._worker = worker
        self._draw = draw
        self._house = house
        self._waiting: deque[str] = deque()
        self._cut: _Cut | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is not put off yet."""
        return self._cut is not None

    def cut(self, device: str) -> None:
        """Put off a device whose certificates are on the list. Returns at once."""
        if device in self._waiting or (self._cut is not None and self._cut.device == device):
            return
        self._waiting.append(device)
        if self._cut is None:
            self._next()

    def close(self) -> None:
        """Try nothing any more."""
        self._waiting.clear()
        if self._cut is not None:
            self._cut.close()
            self._cut = None

    def _next(self) -> None:
        self._cut = None
        if self._waiting:
            device = self._waiting.popleft()
            backoff = Backoff(FIRST_S, LONGEST_S, self._draw)
            self._cut = _Cut(self._clock, self._worker, backoff, self._house, device, self._next)
            self._cut.begin()


class _Cut:
    """One device: a listed pass until it is refused, then a good one until it is let in."""

    def __init__(
        self,
        clock: Clock,
        worker: Worker,
        backoff: Backoff,
        house: Gatehouse,
        device: str,
        done: Callable[[], None],
    ) -> None:
        self.device = device
        self._clock = clock
        self._worker = worker
        self._backoff = backoff
        self._house = house
        self._done = done
        self._tries = 0
        self._listed: Pass | None = None
        self._knock: _Knock | None = None
        self._closed = False

    def begin(self) -> None:
        """Have a listed pass made."""

        def made() -> Pass:
            listed = self._house.issue(self.device, LISTED_S)
            self._house.revoke(listed.serial)
            return listed

        self._worker.do(made, self._on_listed, self._failed)

    def close(self) -> None:
        self._closed = True
        if self._knock is not None:
            self._knock.leave()

    def _on_listed(self, listed: Pass) -> None:
        self._listed = listed
        self._try_listed()

    def _try_listed(self) -> None:
        assert self._listed is not None
        self._try(self._listed, self._on_listed_tried)

    def _on_listed_tried(self, let_in: bool) -> None:
        if not let_in:
            self._worker.do(
                partial(self._house.issue, self.device, ISSUED_S), self._take, self._failed
            )
            return
        self._tries += 1
        if self._tries == PATIENCE:
            log.warning(
                "%s is revoked, and the MQTT broker still lets it in: have it read the revocation"
                " list again (mosquitto: crlfile, SIGHUP)",
                self.device,
            )
        self._again()

    def _take(self, good: Pass) -> None:
        self._try(good, partial(self._on_taken, good))

    def _on_taken(self, good: Pass, let_in: bool) -> None:
        def ended(_: None = None) -> None:
            if let_in and not self._closed:
                log.info("%s was revoked: its connection is cut", self.device)
                self._done()
            else:
                self._again()

        self._worker.do(partial(self._house.revoke, good.serial), ended, self._failed)

    def _try(self, shown: Pass, told: Callable[[bool], None]) -> None:
        if not self._closed:
            self._knock = _Knock(shown.make_link, self.device, told)

    def _again(self) -> None:
        if self._closed:
            return
        begin = self.begin if self._listed is None else self._try_listed
        self._clock.after(self._backoff.next_s(), begin)

    def _failed(self, error: Exception) -> None:
        log.warning("%s cannot be put off yet: %s", self.device, mishaps.sentence(error))
        self._again()


class _Knock:
    """An Owner of a link that connects once. told: whether the MQTT broker let it in"""

    def __init__(self, make_link: MakeLink, client_id: str, told: Callable[[bool], None]) -> None:
        self._told: Callable[[bool], None] | None = told
        self._link: Link = make_link(client_id, self)
        self._link.start()

    def leave(self) -> None:
        """Connect no more, and tell nobody."""
        self._told = None
        self._link.stop(None, lambda: None)

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self._tell(True)

    def on_disconnected(self, reason: str, _retry_s: float) -> None:
        log.debug("no takeover: %s", reason)
        self._tell(False)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Nothing is subscribed."""

    def on_traffic(self, traffic: Traffic) -> None:
        """A few kilobytes, in no books."""

    def _tell(self, let_in: bool) -> None:
        told, self._told = self._told, None
        if told is not None:
            self._link.stop(None, partial(told, let_in))
