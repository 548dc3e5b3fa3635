"""Tests of devices, added up: what they say, and no more than that of their neighbours."""

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fedling_broker.aggregation.accuracy import MARGIN, add_up, limit_of, total
from fedling_broker.aggregation.limits import middle
from fedling_protocol.wire.limits import MAX_TESTED
from fedling_protocol.wire.messages import Hits

HITS = st.integers(0, 2000).flatmap(
    lambda windows: st.builds(Hits, st.just(windows), st.integers(0, windows))
)
TESTS = st.integers(1, 4).flatmap(
    lambda classes: st.lists(st.tuples(*[HITS] * classes), min_size=1, max_size=7)
)
LIE = Hits(MAX_TESTED, MAX_TESTED)


@given(TESTS, st.integers(1, 10_000))
def test_sums_are_what_was_said_where_nobody_stands_out(
    tests: list[tuple[Hits, ...]], most: int
) -> None:
    added = add_up(tests, most)
    sizes = [total(test).windows for test in tests]
    limit = min(most, limit_of(tests))
    assert all(0 <= one.right <= one.windows for one in added)
    assert total(added).windows <= sum(min(size, limit) for size in sizes)
    if max(sizes) <= limit:
        plain = [Hits(*map(sum, zip(*of, strict=True))) for of in zip(*tests, strict=True)]
        assert list(added) == plain
    assert add_up(tests[::-1], most) == added


SIZED = st.lists(HITS, min_size=1, max_size=9).map(tuple)
ALMOST = Fraction(1, 1000)  # weights are rounded


def counts(test: Sequence[Hits]) -> list[tuple[int, int]]:
    """Right and wrong ones of each class."""
    return [(one.right, one.windows - one.right) for one in test]


@given(SIZED, st.integers(1, 5000))
@example((Hits(3, 2),) * 100, 150)
@example((Hits(5, 3),) * 80, 200)
@example((Hits(16, 12),) * 256, 200)
def test_a_longer_test_counts_for_so_many_windows_and_says_the_same(
    test: tuple[Hits, ...], limit: int
) -> None:
    said, counted = total(test), total(add_up([test], limit))
    if said.windows <= limit:
        assert counted == said
        return
    assert limit - 1 <= counted.windows <= limit
    assert 0 <= Fraction(said.right * limit, said.windows) - counted.right < 1


@given(TESTS, st.integers(1, 5000))
def test_sums_are_those_of_windows_that_count_for_less_within_one(
    tests: list[tuple[Hits, ...]], most: int
) -> None:
    """Whatever the number of devices: nothing is cut off each of them."""
    limit = min(most, limit_of(tests))
    ratios = [Fraction(limit, max(1, limit, total(test).windows)) for test in tests]
    exact = [
        [sum(r * pair[kind] for r, pair in zip(ratios, of, strict=True)) for kind in (0, 1)]
        for of in zip(*map(counts, tests), strict=True)
    ]
    added = counts(add_up(tests, most))
    for kind in (0, 1):
        off = sum(one[kind] for one in exact) - sum(one[kind] for one in added)
        assert -ALMOST < off < 1
        for now, before in zip(added, exact, strict=True):
            assert abs(before[kind] - now[kind]) < 1 + ALMOST


def test_a_device_of_many_classes_counts_beside_those_of_few_windows() -> None:
    few = [(Hits(1, 1),) * 100 + (Hits(0, 0),) * 156] * 2
    many = (Hits(16, 12),) * 256
    assert total(add_up([*few, many], 10**6)) == Hits(400, 350)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=9), st.integers(1, 4096))
def test_one_device_that_claims_what_it_likes_moves_the_sum_no_further_than_two(
    sizes: list[int], claim: int
) -> None:
    """It says that all was wrong; the others say that all was right."""
    honest = [(Hits(size, size),) for size in sizes]
    tests = [*honest, (Hits(claim, 0),)]
    added = total(add_up(tests, 10**6))
    wrong = added.windows - added.right
    assert wrong <= MARGIN * middle([*sizes, claim])
    assert wrong <= MARGIN * sorted(sizes)[len(sizes) // 2]


def test_of_two_nobody_is_odd_and_the_limit_of_examples_holds() -> None:
    assert limit_of([(Hits(10, 5),), (LIE,)]) == MAX_TESTED
    assert add_up([(Hits(10, 5),), (LIE,)], 100) == (Hits(110, 105),)
    assert add_up([(Hits(10, 5),), (Hits(12, 6),), (LIE,)], 10**6) == (Hits(46, 35),)
    assert add_up([], 100) == ()
