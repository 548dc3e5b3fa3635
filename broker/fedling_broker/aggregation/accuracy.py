"""How good a model is, as devices say that tested it on data which they keep out of training.

No part of a model: a device could claim anything, so none counts for much more than its neighbours.
"""

from collections.abc import Sequence

from fedling_broker.aggregation.limits import FEWEST, middle
from fedling_protocol.wire.messages import Hits

MARGIN = 2  # a test counts for so many times the windows of the middle one


def add_up(tests: Sequence[Sequence[Hits]], most: int) -> tuple[Hits, ...]:
    """Add tests of one model up, class by class. most: the windows that one of them may count for.

    Of a longer test each number is cut in the same ratio, so its accuracy stays what it says.
    """
    limit = min(most, limit_of(tests))
    return tuple(
        Hits(*map(sum, zip(*of, strict=True)))
        for of in zip(*(cut(test, limit) for test in tests), strict=True)
    )


def limit_of(tests: Sequence[Sequence[Hits]]) -> int:
    """How many windows a test may count for beside these; of two, nobody knows which is odd."""
    sizes = [total(test).windows for test in tests]
    return MARGIN * middle(sizes) if len(sizes) >= FEWEST else max(sizes, default=0)


def cut(test: Sequence[Hits], limit: int) -> tuple[Hits, ...]:
    """Cut a test to so many windows, in whole numbers: never more right than there are."""
    windows = total(test).windows
    if windows <= limit:
        return tuple(test)
    return tuple(Hits(one.windows * limit // windows, one.right * limit // windows) for one in test)


def total(test: Sequence[Hits]) -> Hits:
    """All classes together."""
    return Hits(sum(one.windows for one in test), sum(one.right for one in test))
