"""How good a model is, as devices say that tested it on data which they keep out of training.

No part of a model: a device could claim anything, so none counts for much more than its neighbours.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from fedling_broker.aggregation.limits import FEWEST, middle
from fedling_protocol.wire.messages import Hits

MARGIN = 2  # a test counts for so many times the windows of the middle one
ONE = 2**32  # what a window counts for where nothing is cut


def add_up(tests: Sequence[Sequence[Hits]], most: int) -> tuple[Hits, ...]:
    """Add tests of one model up, class by class. most: the windows that one of them may count for.

    Each window of a longer test counts for less, so its accuracy stays what it says: only the sums
    become whole numbers, and what is cut off one class goes on to the next.
    """
    limit = min(most, limit_of(tests))
    weighed = [(weight(total(test).windows, limit), test) for test in tests]
    classes = range(len(tests[0]) if tests else 0)
    rights = _whole([sum(w * test[k].right for w, test in weighed) for k in classes])
    wrongs = _whole(
        [sum(w * (test[k].windows - test[k].right) for w, test in weighed) for k in classes]
    )
    return tuple(Hits(right + wrong, right) for right, wrong in zip(rights, wrongs, strict=True))


def limit_of(tests: Sequence[Sequence[Hits]]) -> int:
    """How many windows a test may count for beside these; of two, nobody knows which is odd."""
    sizes = [total(test).windows for test in tests]
    return MARGIN * middle(sizes) if len(sizes) >= FEWEST else max(sizes, default=0)


def weight(windows: int, limit: int) -> int:
    """What each window of a test counts for, in parts of ONE: all together for the limit at most.

    Rounded up, or a sum that is a whole number would be cut to the one before it; what 2^20 tests
    have too much by that is less than a window.
    """
    return ONE if windows <= limit else -(-limit * ONE // windows)


def total(test: Sequence[Hits]) -> Hits:
    """All classes together."""
    return Hits(sum(one.windows for one in test), sum(one.right for one in test))


def _whole(sums: Sequence[int]) -> list[int]:
    """Cut sums, in parts of ONE, to whole numbers whose sums are those of the sums, cut."""
    reached = [so_far // ONE for so_far in accumulate(sums)]
    return [now - before for before, now in pairwise([0, *reached])]
