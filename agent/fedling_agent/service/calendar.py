"""What time it is, for a device whose clock may stand at 1970, or wherever somebody set it."""

from fedling_protocol.runtime.loop import Clock

WRONG_S = 86_400.0  # a clock that is so far ahead of who signs is not believed


class Calendar:
    """The clock of the device, but no earlier than what was signed and counts.

    A clock that is behind goes on from there. One that is ahead is found out only by an answer to
    a question that was asked just now.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._floor_s = 0.0  # Unix time
        self._at = clock.now()  # when that was known
        self._ahead_s = 0.0

    @property
    def clock_s(self) -> int:
        """Unix time as the clock of the device says, unless it was found to be ahead.

        Others' certificates are compared with it. The floor says when to renew our own, no more:
        one certificate that a wrong clock dated would end all of them, and what could tell better.
        """
        return int(self._clock.wall() - self._ahead_s)

    def now_s(self) -> int:
        """Unix time, as well as it is known."""
        floor = self._floor_s + self._clock.now() - self._at
        return int(max(self._clock.wall() - self._ahead_s, floor))

    def signed(self, issued_s: int) -> None:
        """Something that counts was signed then, whenever it came here."""
        if issued_s > self.now_s():
            self._floor_s, self._at = float(issued_s), self._clock.now()

    def told(self, issued_s: int) -> None:
        """It was signed just now, in answer to us."""
        if issued_s and self.now_s() > issued_s + WRONG_S:
            self._ahead_s = self._clock.wall() - issued_s
            self._floor_s, self._at = float(issued_s), self._clock.now()
        self.signed(issued_s)
