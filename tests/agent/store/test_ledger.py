"""The sent log, counters, bytes, certificates."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.store import ledger
from fedling_agent.store.ledger import Ledger, Sent, Traffic
from fedling_agent.store.store import Store

PLAN = b"p" * 16


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return Store(tmp_path).ledger


def sent(number: int) -> Sent:
    return Sent(number, "join", "fedling/1/demo/watch/join/x", 200, PLAN, f"asks {number}")


def test_sent_is_kept_newest_first_and_bounded(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "KEPT_SENT", 3)
    for number in range(5):
        book.record_sent(sent(number))
    assert book.sent() == [sent(4), sent(3), sent(2)]
    assert book.sent(1) == [sent(4)]


def test_counters_add_up_over_restarts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ledger.add([], {"refused: size": 2})
    store.ledger.add([], {"refused: size": 1, "refused: cbor": 1})
    store.close()
    assert Store(tmp_path).ledger.counters() == {"refused: cbor": 1, "refused: size": 3}


def test_traffic_by_day_and_plan(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEPT_DAYS", 3)
    book.add([Traffic("2026-03-01", None, 1, 2), Traffic("2026-03-02", None, 10, 20)], {})
    book.add([Traffic("2026-03-02", PLAN, 100, 200), Traffic("2026-03-02", None, 10, 20)], {})
    book.add([Traffic("2026-03-03", None, 5, 5)], {})
    assert book.traffic() == [
        Traffic("2026-03-03", None, 5, 5),
        Traffic("2026-03-02", None, 20, 40),
        Traffic("2026-03-02", PLAN, 100, 200),
        Traffic("", None, 1, 2),
    ]


DAYS = st.sampled_from(["1970-01-01", "2026-03-01", "2026-03-02", "2046-01-01", "2026-03-03"])


@settings(max_examples=30)
@given(st.lists(st.tuples(DAYS, st.integers(0, 5), st.integers(0, 9)), max_size=20))
def test_the_sum_of_traffic_is_never_less_whatever_the_clock_says(
    given_: list[tuple[str, int, int]],
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "KEPT_DAYS", 3)
        store = Store(Path(folder))
        for day, plan, count in given_:
            row = Traffic(day, bytes([plan]) * 16 if plan else None, count, 2 * count)
            store.ledger.add([row], {})
            kept = store.ledger.traffic()
            assert any((r.day, r.plan_id) == (day, row.plan_id) for r in kept)
            assert len(kept) <= 5
        total = sum(count for *_, count in given_)
        kept = store.ledger.traffic()
        assert (sum(r.sent for r in kept), sum(r.received for r in kept)) == (total, 2 * total)
        store.close()


def test_marks_survive(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ledger.mark("erasing")
    store.ledger.mark("erasing")
    store.close()
    book = Store(tmp_path).ledger
    assert book.is_marked("erasing")
    book.unmark("erasing")
    assert not book.is_marked("erasing")
