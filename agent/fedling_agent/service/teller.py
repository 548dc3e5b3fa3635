"""What the fleet hears of this device unasked: a short word about its state, when it changes."""

from collections.abc import Callable

from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.outbox import Outbox
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.wire.messages import StateCode

TELL_S = 5.0  # the fleet hears of a change after this, and not more often

Current = tuple[StateCode, int, str]  # and the newest model's version, 0: none; a StateReason


class Teller:
    """Tells what is so for a while; what is over within seconds is nobody's business."""

    def __init__(
        self,
        clock: Clock,
        link: Link,
        outbox: Outbox,
        enrolment: Enrolment,
        current: Callable[[], Current],
    ) -> None:
        self._clock = clock
        self._link = link
        self._outbox = outbox
        self._enrolment = enrolment
        self._current = current
        self._told: Current | None = None
        self._timer: Timer | None = None
        self._closed = False

    def changed(self) -> None:
        """Tell the state soon, if it is new and stays so: it may be otherwise now."""
        if self._closed or self._timer is not None or not self._enrolment.enrolled:
            return
        if self._current() != self._told:
            delay_s = 0.0 if self._told is None else TELL_S
            self._timer = self._clock.after(delay_s, self._tell)

    def again(self) -> None:
        """What was told is lost: the MQTT broker may have said by our will that we are gone."""
        self._told = None
        self.changed()

    def close(self) -> None:
        """The last word is said elsewhere."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        current = self._current()
        if self._closed or current == self._told or not self._link.connected:
            return
        self._told = current
        self._outbox.state(*current, handed=lambda: None)
