"""The owner's pause on disk: it is never shorter than was asked, whatever boots and clocks do."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.data.streams import Row
from fedling_agent.store.lived import lived
from fedling_agent.store.pauses import KeptPause
from fedling_agent.store.store import NAME, Store
from fedling_protocol.disk.errors import BadDatabase
from tests.support.device import STREAM

HOUR_MS = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_there_is_one_pause_or_none(store: Store) -> None:
    assert store.pauses.find(5) is None
    assert store.pauses.end() is False
    store.pauses.begin(None, "firmware week", 5)
    assert store.pauses.find(10**12) == KeptPause("firmware week", None)
    store.pauses.begin(HOUR_MS, "", 1000)
    assert store.pauses.find(1000 + HOUR_MS - 1) == KeptPause("", 1)
    assert store.pauses.find(1000 + HOUR_MS) is None
    assert store.pauses.end() is True
    assert store.pauses.find(1000) is None


def test_time_that_others_write_is_counted_once(store: Store) -> None:
    store.pauses.begin(HOUR_MS, "", 1000)
    store.recordings.ingest(STREAM, [Row(1, "a", None, None, (1, 2))], 0, up_ms=601_000)
    store.pauses.live(901_000)
    assert store.pauses.find(901_000) == KeptPause("", HOUR_MS - 900_000)


def test_reboot_takes_back_what_was_not_written_and_no_more(store: Store) -> None:
    store.pauses.begin(HOUR_MS, "", 500_000)
    store.pauses.live(500_000 + HOUR_MS // 2)
    left_ms = HOUR_MS - HOUR_MS // 2
    assert store.pauses.find(60_000) == KeptPause("", left_ms - 60_000)


@settings(max_examples=50)
@given(
    st.integers(1, 10_000_000),
    st.lists(
        st.tuples(st.integers(0, 5_000_000), st.booleans(), st.integers(0, 9_000_000)), max_size=12
    ),
)
def test_pause_is_never_shorter_than_it_was_asked_to_be(
    lasts_ms: int, course: list[tuple[int, bool, int]]
) -> None:
    """Time passes; it is written, or not; then the machine is rebooted, and looks after a while."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        up_ms, ran_ms = 7, 0
        store.pauses.begin(lasts_ms, "", up_ms)
        for passes_ms, is_written, boot_ms in course:
            up_ms, ran_ms = up_ms + passes_ms, ran_ms + passes_ms
            if is_written:
                store.pauses.live(up_ms)
            if boot_ms % 2:
                up_ms, ran_ms = boot_ms, ran_ms + boot_ms
            found = store.pauses.find(up_ms)
            if ran_ms < lasts_ms:
                assert found is not None
                assert found.left_ms is not None
                assert found.left_ms >= lasts_ms - ran_ms
        store.close()


def test_lived_is_read_as_it_would_be_written(store: Store) -> None:
    store.pauses.live(4000)
    assert lived(store.database, 9000) == 9000
    store.pauses.live(9000)
    assert lived(store.database, 9000) == 9000
    assert lived(store.database, 10) == 9010


def test_pause_that_makes_no_sense_is_damage(store: Store) -> None:
    with store.database.transaction("a test") as connection:
        connection.execute("INSERT INTO pause (only, until_ms, reason) VALUES (0, 'soon', '')")
    with pytest.raises(BadDatabase, match="the pause makes no sense"):
        store.pauses.find(0)


def test_pause_outlasts_a_damaged_database(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.pauses.begin(HOUR_MS, "guests", 1000)
    store.database.forget_deleted()
    store.close()
    again = Store.begin_anew(tmp_path, None, 1, BadDatabase(f"{tmp_path / NAME}: a test"))
    assert again.pauses.find(2000) == KeptPause("guests", HOUR_MS - 1000)
    again.close()
