"""Spells on disk: a bounded number, in order, whatever was added."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.store import spells
from fedling_agent.store.spells import Course, Spell
from fedling_agent.store.store import Store

LOW = ({"code": "battery-low", "value": 34, "limit": 40, "sentence": "battery 34 % < 40 %"},)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_spell_begins_when_it_began_and_not_when_it_is_written(store: Store) -> None:
    store.spells.add(1, Course.NOTHING, (), 1000, 1000, 7)
    store.spells.add(1, Course.FORBIDDEN, LOW, 61_000, 300_000, 9)
    read = store.spells.within(10**9, 400_000)
    assert read.lived_ms == 400_000
    assert read.spells == [
        Spell(1, 1000, 7, Course.NOTHING, ()),
        Spell(1, 61_000, 9, Course.FORBIDDEN, LOW),
    ]
    assert store.spells.last_run() == 1


def test_within_is_what_reaches_into_it(store: Store) -> None:
    for number in range(10):
        store.spells.add(1, Course.WAITS, (), 1000 * number, 1000 * number, 0)
    began = [spell.lived_ms for spell in store.spells.within(2500, 9500).spells]
    assert began == [7000, 8000, 9000]  # the first of them since before
    assert len(store.spells.within(10**9, 9500).spells) == 10
    assert [spell.lived_ms for spell in store.spells.within(1, 10**9).spells] == [9000]


RUN = st.lists(
    st.tuples(st.sampled_from(list(Course)), st.integers(0, 5000), st.integers(0, 5000)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30)
@given(st.lists(st.tuples(RUN, st.booleans()), max_size=6), st.integers(-(2**40), 2**40))
def test_table_is_bounded_and_keeps_the_newest_in_order(
    runs: list[tuple[list[tuple[Course, int, int]], bool]], clock: int
) -> None:
    """Each run adds some; between two of them the machine may be rebooted, and its date jumps."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spells, "KEPT", 10)
        store = Store(Path(folder))
        up_ms, added = 50, []
        for number, (run, reboots) in enumerate(runs, 1):
            up_ms = 30 if reboots else up_ms
            for course, before_ms, late_ms in run:
                since_ms, up_ms = up_ms + before_ms, up_ms + before_ms + late_ms
                store.spells.add(number, course, (), since_ms, up_ms, clock * number)
                added.append((number, course))
            assert store.spells.last_run() == number
        read = store.spells.within(10**12, up_ms)
        assert [(spell.run, spell.course) for spell in read.spells] == added[-10:]
        lived = [spell.lived_ms for spell in read.spells]
        assert lived == sorted(lived)
        assert not lived or lived[-1] <= read.lived_ms
        ((rows,),) = store.database.rows("SELECT count(*) FROM spells")
        assert rows == min(len(added), 10)
        store.close()
