"""What a restart knows of keys: nothing older counts again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.store.store import Store
from fedling_agent.store.vouched import Vouched

ME = "a" * 16


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Vouched]:
    store = Store(tmp_path)
    yield store.vouched
    store.close()


def test_certificate_that_counts_now_takes_the_place_of_the_last(book: Vouched) -> None:
    assert book.certificate("aggregator") is None
    book.keep_certificate("aggregator", 9, 100, b"by the old root")
    book.keep_certificate("aggregator", 2, 50, b"by the new root")
    assert book.certificate("aggregator") == b"by the new root"


def test_certificate_that_was_taken_back_is_known_and_holds_no_more(book: Vouched) -> None:
    book.keep_certificate(ME, 1, 100, b"one")
    book.drop_certificate(ME)
    assert book.certificate(ME) is None
    assert book.last_certificate(ME) == b"one"
    book.keep_certificate(ME, 2, 200, b"two")
    assert book.certificate(ME) == b"two"


def test_chain_of_roots_grows_only(book: Vouched) -> None:
    assert book.roots() is None
    book.keep_roots(2, 10, b"two")
    book.keep_roots(1, 20, b"one")
    assert book.roots() == b"two"
    book.keep_roots(3, 30, b"three")
    assert book.roots() == b"three"


def test_time_runs_forward_only_whatever_told_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    book = store.vouched
    assert book.latest_s() == 0
    book.keep_certificate("authority", 1, 500, b"a")
    book.keep_certificate("aggregator", 1, 400, b"b")
    book.keep_roots(1, 300, b"c")
    store.close()
    again = Store(tmp_path, read_only=True)
    assert again.vouched.latest_s() == 500
    again.close()
