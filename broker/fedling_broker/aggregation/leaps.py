"""In which leaps what devices hold follows the server's values (NUMERICS.md section 8)."""

from collections.abc import Sequence

from fedling_broker.aggregation.fixed import WEIGHT_GRID
from fedling_protocol.classes import dataclass

ONE = 16  # shares are counted in sixteenths


@dataclass(frozen=True, slots=True)
class Leaps:
    """The leaps of a model, in steps of the grid.

    Few values change if leaps are long, each by few of them, so a change is told in few bits.
    """

    longest: int = 0
    share: int | None = None
    """How many sixteenths of its layer's mean weight a leap has, about. Then values go to the
    nearest leap, and layers of fewer weights than the largest in shorter ones. None, as journals of
    before and the masked sums of `bench` have it: a quarter of the mean weight, and never beyond
    the server's value."""
    least: int = 0  # what it is not shortened below without a share; 0: nothing but a step

    @property
    def nearest(self) -> bool:
        """Whether values go to the nearest leap, not towards it alone."""
        return self.share is not None

    @property
    def of_biases(self) -> int:
        """The leap of all biases: with a share a step, for they are few."""
        return 1 if self.nearest else self.longest

    def of_layers(
        self, totals: Sequence[int], counts: Sequence[int], shifts: Sequence[int]
    ) -> list[int]:
        """The leap of each layer's weights, at least a step.

        totals: the sums of their |masters|, without their fractions, before exponents grew
        shifts: by how much they grew
        """
        most = max(counts, default=0)
        return [
            self._by_share(total, shift, most)
            if self.nearest
            else self._by_quarter(total, count, shift)
            for total, count, shift in zip(totals, counts, shifts, strict=True)
        ]

    def _by_share(self, total: int, shift: int, most: int) -> int:
        """The largest power of two that is at most half as long again as the share of its mean.

        Of a layer with half the weights of the largest half of that: they cost little, and what
        comes out of a net depends on each of them more. Each leap is a multiple of those that are
        shorter: whole models, whose values are of several rounds, have fewer different ones.
        """
        if not most:
            return 1
        share = _steps(3 * (self.share or 0) * total, 2 * ONE * most, shift)
        return 1 << max(1, min(self.longest, share)).bit_length() - 1

    def _by_quarter(self, total: int, count: int, shift: int) -> int:
        quarter = _steps(total, 4 * count, shift) if count else 0
        return max(1, min(self.longest, max(quarter, self.least >> max(0, shift))))


def _steps(total: int, parts: int, shift: int) -> int:
    """A part of masters in whole steps of the exponent that they have then."""
    grown, shrunk = max(0, -shift), max(0, shift)
    return (total << grown) // (parts << (shrunk + WEIGHT_GRID))
