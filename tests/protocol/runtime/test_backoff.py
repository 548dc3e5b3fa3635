"""Full jitter: every delay between nothing and a doubling ceiling."""

from fedling_protocol.runtime.backoff import Backoff


def test_next_s_doubles_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 10.0, lambda: 0.5)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]


def test_next_s_is_spread_from_zero() -> None:
    draws = iter([0.0, 0.999])
    backoff = Backoff(8.0, 8.0, lambda: next(draws))
    assert backoff.next_s() == 0.0
    assert backoff.next_s() > 7.9


def test_next_s_after_a_year_of_failures() -> None:
    backoff = Backoff(0.1, 300.0, lambda: 0.5)
    assert [backoff.next_s() for _ in range(100_000)][-1] == 150.0


def test_lived_long_starts_again() -> None:
    backoff = Backoff(1.0, 60.0, lambda: 1.0)
    for _ in range(3):
        backoff.next_s()
    backoff.lived(8.0)
    assert backoff.next_s() == 1.0


def test_lived_short_goes_on_doubling() -> None:
    """Two devices with one identity put each other off the broker again and again."""
    backoff = Backoff(1.0, 60.0, lambda: 1.0)
    for _ in range(3):
        backoff.next_s()
    backoff.lived(7.9)
    assert backoff.next_s() == 8.0
