"""A moment is written in one form, where the machine is; and by one file."""

import ast
import time
from pathlib import Path

import pytest

from fedling_protocol.moments import day, hour, moment, read

ROOT = Path(__file__).parents[2]
FOLDERS = ("native", "protocol", "agent", "broker", "firmware_sim")
FILES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "moments.py"
]
FORMATS = {"strftime", "isoformat", "ctime", "asctime"}


@pytest.fixture
def in_india(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()


@pytest.mark.usefixtures("in_india")
def test_moment_is_the_one_of_the_clock_on_the_wall() -> None:
    try:
        assert moment(1_772_373_909.9) == "2026-03-01 19:35:09"
        assert hour(1_772_373_909.9, 1_772_389_799) == "19:35"
        assert hour(1_772_389_800, 1_772_389_799) == "2026-03-02 00:00"
        assert (day(1_772_389_799), day(1_772_389_800)) == ("2026-03-01", "2026-03-02")
    finally:
        time.tzset()


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("2026-03-01T19:35:09", "2026-03-01 19:35:09"),
        ("2026-03-01 19:35", "2026-03-01 19:35:00"),
        ("2026-03-01T14:05:09Z", "2026-03-01 19:35:09"),
        ("2026-03-01T12:05:09-02:00", "2026-03-01 19:35:09"),
        ("19:35:09", "2026-03-01 19:35:09"),
        ("00:00", "2026-03-01 00:00:00"),
    ],
)
@pytest.mark.usefixtures("in_india")
def test_a_moment_that_a_person_writes(text: str, is_: str) -> None:
    try:
        assert moment(read(text, 1_772_373_909.9)) == is_
    finally:
        time.tzset()


@pytest.mark.usefixtures("in_india")
def test_a_time_of_day_is_the_last_one_or_the_first_after_another() -> None:
    try:
        night = read("2026-03-02T00:05:00", 0)
        assert moment(read("23:50", night)) == "2026-03-01 23:50:00"
        assert moment(read("12:05", night)) == "2026-03-01 12:05:00"
        with pytest.raises(ValueError, match="the last 12:04 was a day ago: write the date"):
            read("12:04", night)
        begin = read("23:50", night)
        assert moment(read("00:10", night, begin)) == "2026-03-02 00:10:00"
        assert moment(read("23:50", night, begin)) == "2026-03-02 23:50:00"
        assert moment(read("23:51", night, begin)) == "2026-03-01 23:51:00"
    finally:
        time.tzset()


def test_a_time_of_day_in_the_nights_when_clocks_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        back = read("2026-10-25T04:00", 0)
        assert back - read("02:30", back) == 5400  # the second one
        begin = read("01:00", back)
        assert read("02:30", back, begin) - begin == 5400  # the first one
        assert read("02:20", back, begin + 5400) - begin == 2 * 3600 + 1200  # the second one
        forward = read("2026-03-29T04:00", 0)
        assert forward - read("01:30", forward) == 5400  # there was no hour between
        with pytest.raises(ValueError, match="the last 02:30 was a day ago"):
            read("02:30", forward)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    ["", "7", "now", "25:00", "12:60", "1:2:3:4", "9999-12-31T23:59:59-23:00", "\u0661\u0662:00"],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each is told in words of its own
        read(text, 1_772_373_909.9)


def test_nobody_else_writes_a_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in FORMATS
    ]
    assert found == []
