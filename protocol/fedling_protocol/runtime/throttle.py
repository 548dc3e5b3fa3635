"""How often something may happen: some times one after another, and over time once in so long."""


class Throttle:
    """Paid with time. Time comes from the caller; it may stand still, and go back."""

    def __init__(self, burst: int, each_s: float) -> None:
        """burst: times at once; each_s: after which another one is allowed"""
        self._room_s = (burst - 1) * each_s
        self._each_s = each_s
        self._paid: float | None = None  # up to then, for all that happened

    def take(self, now: float) -> float:
        """Whether it may happen now: 0, and then it has; else in so many seconds."""
        paid = now if self._paid is None else max(self._paid, now)
        # Otherwise a clock that was set back would forbid it until it comes there again.
        self._paid = min(paid, now + self._room_s + self._each_s)
        wait_s = self._paid - now - self._room_s
        if wait_s > 0:
            return wait_s
        self._paid += self._each_s
        return 0.0
