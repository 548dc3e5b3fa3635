from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.store.database import create_database, open_database
from fedling_broker.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    create_database(tmp_path)
    database = open_database(tmp_path)
    yield Ledger(database)
    database.close()


def test_count_adds_up(ledger: Ledger) -> None:
    ledger.count({"refused: cbor": 1})
    ledger.count({"refused: cbor": 4, "bytes sent": 7})
    assert ledger.counters() == {"bytes sent": 7, "refused: cbor": 5}


def test_raise_meta_returns_the_new_value(ledger: Ledger) -> None:
    assert ledger.meta("serial") == 0
    assert ledger.raise_meta("serial") == 1
    assert ledger.raise_meta("serial") == 2
    assert (ledger.meta("serial"), ledger.meta("epoch")) == (2, 0)


def test_outlive_is_above_what_a_lost_state_had_and_above_the_last(tmp_path: Path) -> None:
    now = [1_790_000_000.0]
    values = []
    for name in ("first", "second"):  # the second knows nothing of the first
        (tmp_path / name).mkdir()
        create_database(tmp_path / name)
        database = open_database(tmp_path / name)
        ledger = Ledger(database, lambda: now[0])
        values += [ledger.outlive("serial"), ledger.outlive("serial")]
        now[0] -= 86_400  # a clock that was set back
        values.append(ledger.outlive("serial"))
        now[0] += 86_405
        database.close()
    assert values == sorted(set(values))
