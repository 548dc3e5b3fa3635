"""Tests of devices, added up: what they say, and no more than that of their neighbours."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.accuracy import MARGIN, add_up, cut, limit_of, total
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


@given(st.tuples(HITS, HITS), st.integers(1, 5000))
def test_a_longer_test_counts_for_so_many_windows_and_says_the_same(
    test: tuple[Hits, ...], limit: int
) -> None:
    counted = cut(test, limit)
    windows = total(test).windows
    if windows <= limit:
        assert counted == test
        return
    for one, of in zip(counted, test, strict=True):
        for now, before in zip(one, of, strict=True):
            assert 0 <= Fraction(before * limit, windows) - now < 1


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
