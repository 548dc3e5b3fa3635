"""Spells as rows that people read: what is not known is not told."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.service.explaining import explain
from fedling_agent.store.spells import Course, Spell, Why

NOW_S = 1_790_000_000.0
LIVED_MS = 90_000_000
WHY: Why = ({"code": "too-hot", "sentence": "temperature 80 °C > 70 °C"},)


def ago(seconds: int, course: Course, run: int = 1, clock_s: float = NOW_S) -> Spell:
    """A spell that began so long ago, as a clock had it that would say clock_s now."""
    wall_ms = round((clock_s - seconds) * 1000)
    return Spell(run, LIVED_MS - 1000 * seconds, wall_ms, course, WHY)


def told(*spells: Spell, running: int | None = 1) -> list[tuple[object, ...]]:
    rows = explain(spells, LIVED_MS, NOW_S, running)
    return [(r["from_s"], r["to_s"], r["for_s"], r["goes_on"]) for r in rows]


def test_each_spell_ends_where_the_next_begins_and_the_last_goes_on() -> None:
    rows = explain([ago(100, Course.NOTHING), ago(40, Course.FORBIDDEN)], LIVED_MS, NOW_S, 1)
    assert rows == [
        {
            "from_s": NOW_S - 100, "to_s": NOW_S - 40, "for_s": 60, "goes_on": False,
            "verdict": "nothing to do", "why": list(WHY),
        },
        {
            "from_s": NOW_S - 40, "to_s": None, "for_s": 40, "goes_on": True,
            "verdict": "forbidden", "why": list(WHY),
        },
    ]  # fmt: skip


def test_clock_that_was_set_in_the_middle_of_a_run_is_believed_as_it_stands_now() -> None:
    """A board without a battery for its clock begins in 1970."""
    began = ago(100, Course.NOTHING, clock_s=100.0)
    assert told(began, ago(40, Course.WAITS)) == [
        (NOW_S - 100, NOW_S - 40, 60, False),
        (NOW_S - 40, None, 40, True),
    ]
    assert told(began, ago(40, Course.WAITS), ago(10, Course.TRAINS, 2), running=2)[0] == (
        NOW_S - 100, NOW_S - 40, 60, False,
    )  # fmt: skip


def test_nobody_knows_when_a_run_ended_that_was_killed() -> None:
    rows = told(ago(100, Course.TRAINS), ago(40, Course.NOTHING, 2), running=2)
    assert rows == [(NOW_S - 100, None, None, False), (NOW_S - 40, None, 40, True)]
    assert told(ago(100, Course.TRAINS), running=None) == [(NOW_S - 100, None, None, False)]


def test_time_without_power_is_by_the_clock() -> None:
    """It is not lived: the device was off for a day, and ran for 10 seconds after it."""
    off = ago(60, Course.OFF, clock_s=NOW_S - 86_400)
    assert told(off, ago(10, Course.NOTHING, 2), running=2)[0] == (
        NOW_S - 86_460, NOW_S - 10, 86_450, False,
    )  # fmt: skip
    assert told(off, running=None) == [(NOW_S - 86_460, None, 86_460, True)]
    ahead = ago(60, Course.OFF, clock_s=NOW_S + 86_400)
    assert told(ahead, ago(10, Course.NOTHING, 2), running=2)[0][1:3] == (None, None)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 10**7), st.integers(-(10**12), 10**14)),
        max_size=12,
    ),
    st.integers(0, 6),
)
def test_no_length_is_negative_whatever_clocks_said(
    steps: list[tuple[int, int, int]], running: int
) -> None:
    run, lived_ms, spells = 1, 0, []
    for more, passes_ms, wall_ms in steps:
        run, lived_ms = run + (more == 0), lived_ms + passes_ms
        spells.append(Spell(run, lived_ms, wall_ms, list(Course)[more % 5], ()))
    rows = explain(spells, lived_ms, NOW_S, run if running else None)
    assert len(rows) == len(spells)
    assert all(row["for_s"] is None or row["for_s"] >= 0 for row in rows)  # type: ignore[operator]
    assert all(row["to_s"] is None for row in rows if row["goes_on"])
    assert [row["goes_on"] for row in rows[:-1]] == [False] * len(rows[:-1])


def test_long_spells_are_as_long_as_they_were() -> None:
    rows = told(ago(80_000, Course.NOTHING), ago(20_000, Course.WAITS))
    assert [row[2] for row in rows] == [60_000, 20_000]
    off = ago(50_000, Course.OFF)
    assert told(off, ago(10_000, Course.NOTHING, 2), running=2)[0][2] == 40_000
    assert told(off, running=None) == [(NOW_S - 50_000, None, 50_000, True)]


def test_nothing_is_told_of_nothing() -> None:
    assert explain([], 5, NOW_S, 1) == []
