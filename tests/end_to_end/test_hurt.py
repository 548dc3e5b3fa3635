"""Errors of every class at every call to the outside, in the real services of a small fleet.

A course is made from its seed: for a while each call to the outside that our code makes (files,
SQLite, hashes, JSON) may fail, with an error that fits or with one that nobody expects there.
Whatever fails, no error leaves a service, and when the fault is gone all rounds of both tasks are
held. What can be called is found by listening: see tests/support/hurt/injector.py.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.hurt.fleet import HurtFleet
from tests.support.hurt.injector import ERRORS, Site

pytestmark = pytest.mark.first

OFTEN = 20  # times that a site is met in all courses
QUICK = [(seed, rate) for rate in (0.02, 0.1) for seed in range(6)]
LONG = [(seed, rate) for rate in (0.005, 0.02, 0.1, 0.3) for seed in range(100, 140)]


def play(directory: Path, seed: int, rate: float) -> HurtFleet:
    course = HurtFleet(directory / f"{seed}-{rate}", seed, rate)
    try:
        assert course.play(), f"rounds do not go on: {course.faults()}"
        course.injector.disarm()  # what ends the fleet is the test
        course.fleet.close()
        assert course.faults() == []
        assert [member.id for member in course.fleet.members] == course.identities
    except BaseException as error:
        course.injector.disarm()
        course.fleet.close()
        error.add_note(
            f"course {seed} at {rate}; the last that failed: {course.injector.struck[-1:]}"
        )
        raise
    return course


def play_all(directory: Path, courses: list[tuple[int, float]]) -> tuple[Counter[str], float]:
    """The classes that were raised, and the part of the sites that were met often at which one was.

    What is met a few times in all courses, as what mends a damaged file, says nothing of chance.
    """
    met, struck, kinds = Counter[Site](), set(), Counter[str]()
    for seed, rate in courses:
        course = play(directory, seed, rate)
        met += Counter(course.injector.sites)
        struck |= {site for site, _ in course.injector.struck}
        kinds += Counter(kind for _, kind in course.injector.struck)
    often = {site for site, times in met.items() if times >= OFTEN}
    hit = often & struck
    print(f"{len(courses)} courses, {sum(kinds.values())} errors, {len(hit)} of {len(often)} sites")
    return kinds, len(hit) / len(often)


def test_nothing_that_fails_stops_a_fleet(tmp_path: Path) -> None:
    _, part = play_all(tmp_path, QUICK)
    assert part > 0.7


@pytest.mark.long
def test_every_class_at_every_site_stops_no_fleet(tmp_path: Path) -> None:
    kinds, part = play_all(tmp_path, LONG)
    assert part > 0.95
    assert set(kinds) == {type(make()).__name__ for make in ERRORS}


def test_without_faults_nothing_is_met_that_the_injector_cannot_name(tmp_path: Path) -> None:
    """A test of the test: files, the database, hashes are heard of, and what is not ours is not."""
    course = HurtFleet(tmp_path / "fleet", 1, 1e-12)
    assert course.play()
    course.fleet.close()
    assert course.ends == []
    names = {name for _, _, name in course.injector.sites}
    assert {"posix.fsync", "posix.replace", "sqlite3.execute", "posix.open"} <= names
    assert len(course.injector.sites) > 150
