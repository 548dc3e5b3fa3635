"""How long to wait before the next try: exponential, with full jitter.

A thousand devices that lost one broker at one instant must not come back at one instant.
M. Brooker, "Exponential Backoff And Jitter", 2015.
"""

from collections.abc import Callable


class Backoff:
    """Delays drawn from [0, min(longest, base * 2^tries)).

    draw: returns a number in [0, 1)
    """

    def __init__(self, base_s: float, longest_s: float, draw: Callable[[], float]) -> None:
        self._base_s = base_s
        self._longest_s = longest_s
        self._draw = draw
        self._tries = 0

    @property
    def ceiling_s(self) -> float:
        """The bound that the next delay is drawn below."""
        return min(self._longest_s, self._base_s * 2.0 ** min(self._tries, 32))

    def next_s(self) -> float:
        """Draw the delay before the next try, in seconds."""
        delay = self.ceiling_s * self._draw()
        self._tries += 1
        return delay

    def about(self, seconds: float) -> float:
        """Draw a delay from half of that to one and a half: for who has no reason to hurry."""
        return seconds * (0.5 + self._draw())

    def lived(self, seconds: float) -> bool:
        """Tell how long the last success lasted: a short one is no reason to hurry. False: short.

        Else two devices with one identity, who put each other off the broker, would do so for ever
        at the shortest delay.
        """
        if seconds < self.ceiling_s:
            return False
        self._tries = 0
        return True
