"""A moment is written in one form, where the machine is; and by one file."""

import ast
import time
from pathlib import Path

import pytest

from fedling_protocol.moments import day, hour, moment

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


def test_nobody_else_writes_a_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in FORMATS
    ]
    assert found == []
