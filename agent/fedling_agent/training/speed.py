"""How fast this machine trains, as its children tell, and how long one of them may take."""

SLOWEST = 1e7  # multiply-accumulates a second, as long as nothing was measured: a slow board's
FORGETS = (
    0.9  # of what the slowest batch cost, with each faster one: a hot board is slow for a while
)

LEAST_S = 120.0  # for a batch, or for a start: a processor that others keep busy is no hung child
MARGIN = 20  # times what the batch should take
PATIENCE = 4  # times as long at each further try

PAUSE_S = 20.0  # from "pause" to the end of a child
PAUSE_MARGIN = 4  # times what the batch in work should take


class Speed:
    """Seconds for the work of a batch."""

    def __init__(self, duty: float = 1.0) -> None:
        """duty: the share of a core that a child uses; it sleeps for the rest"""
        self._duty = duty
        self._cost: float | None = None  # seconds a multiply-accumulate

    def measured(self, work: int, spent_s: float) -> None:
        """Hear what a batch took of a processor."""
        self._cost = max(spent_s / work, FORGETS * (self._cost or 0.0))

    def batch_s(self, work: int) -> float:
        """How long a batch should take a processor that does nothing else."""
        return work * (1 / SLOWEST if self._cost is None else self._cost)

    def rest_s(self, spent_s: float) -> float:
        """How long a child sleeps after a batch that took so long of a processor."""
        return spent_s * (1 / self._duty - 1)

    def deadline_s(self, work: int, tries: int) -> float:
        """How long a child may be silent while it works. tries: that it was killed before"""
        allowed_s = max(LEAST_S, MARGIN * self.batch_s(work) / self._duty)
        return float(allowed_s * PATIENCE**tries)

    def pause_s(self, work: int) -> float:
        """How long a child may go on after it was told to pause."""
        return max(PAUSE_S, PAUSE_MARGIN * self.batch_s(work))
