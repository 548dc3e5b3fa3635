"""What a service does when its disk refuses: as after a crash, it begins anew from what is there.

So it does, too, when something happens that nobody expected: what memory holds may be half of what
it should be, what is on disk is whole.

It forgets what memory holds, waits (longer each time), looks whether the disk can be written, and
goes on. Meanwhile it stays connected and answers, for a full disk is somebody's to mend.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

from fedling_protocol.classes import dataclass
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock, Timer

log = logging.getLogger(__name__)

Call = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stall:
    """The disk refuses to be written, or what the service knew was given up for another reason."""

    reason: str
    retry_at: float  # Clock.now()


class Recovery:
    """Brings a service back after its disk refused; each service has one.

    forget: drops what memory holds and is not on disk, however often it is called
    probe: writes something durably and then calls what it is given; a refusal is told to refused()
    go_on: begins anew
    meanwhile: what does not happen until then, for people: "nothing is accepted"
    """

    def __init__(
        self,
        clock: Clock,
        backoff: Backoff,
        forget: Call,
        probe: Callable[[Call], None],
        go_on: Call,
        meanwhile: str,
    ) -> None:
        self._clock = clock
        self._backoff = backoff
        self._forget = forget
        self._probe = probe
        self._go_on = go_on
        self._meanwhile = meanwhile
        self._mended = clock.now()  # since when the disk can be written
        self._timer: Timer | None = None  # of the next try; None: it is tried now, or all is well
        self._closed = False
        self._forgotten = True
        self.stall: Stall | None = None  # until it was written again

    def refused(self, error: Exception) -> None:
        """Begin to recover: a write failed, or something that nobody expected."""
        self._forgotten = False
        with suppress(Exception):  # what it could not forget now is forgotten before the next try
            self._forget()
            self._forgotten = True
        if self._timer is not None or self._closed:
            return
        now = self._clock.now()
        if self.stall is None:
            self._backoff.lived(now - self._mended)
        delay_s = self._backoff.next_s()
        self.stall = Stall(mishaps.sentence(error), now + delay_s)
        log.error("%s; %s, next try in %.1f s", self.stall.reason, self._meanwhile, delay_s)
        self._timer = self._clock.after(delay_s, self._try_again)

    def close(self) -> None:
        """Try nothing any more: the service ends."""
        self._closed = True

    def _try_again(self) -> None:
        """After all that waits for the disk, which may still change what is there."""
        self._timer = None  # a refusal from now on is a new one
        if self._closed:
            return
        try:
            if not self._forgotten:
                self._forget()
            self._probe(self._on_written)
        except Exception as error:  # noqa: BLE001 (the last boundary: it is tried again)
            self.refused(error)

    def _on_written(self) -> None:
        if self._timer is not None or self._closed:
            return
        self.stall = None
        self._mended = self._clock.now()
        log.info("the disk can be written again")
        self._go_on()
