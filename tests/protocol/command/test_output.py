"""What a command prints, for people and for programs."""

import json

import pytest

from fedling_protocol.command import output

ROWS: list[dict[str, object]] = [
    {"name": "a", "round": 7, "paused": True, "fault": None},
    {"name": "longer", "round": 1234, "paused": False, "fault": "x"},
]


def test_print_rows_aligns_words_left_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS, empty="nothing")
    assert capsys.readouterr().out.splitlines() == [
        "name    round  paused  fault",
        "a           7  yes",
        "longer   1234  no      x",
    ]


def test_print_rows_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows([], empty="nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"
    output.print_rows([], empty="nothing yet", as_json=True)
    assert capsys.readouterr().out == "[]\n"


def test_print_rows_as_json_keeps_types(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS, empty="", as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 3, "0 %"), (1, 3, "33 %"), (1, 1000, "1 %"), (999, 1000, "99 %"), (7, 7, "100 %")],
)
def test_share_of_nearly_all_is_not_all(part: int, whole: int, words: str) -> None:
    assert output.share(part, whole) == words


def test_print_pairs_aligns(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_pairs([("a", "1"), ("longer", "2")])
    assert capsys.readouterr().out == "a       1\nlonger  2\n"
    output.print_pairs([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (9999, "9999 B"), (10_000, "10 kB"), (12_345_678, "12.3 MB")]
)
def test_size_is_as_people_say_it(count: int, text: str) -> None:
    assert output.size(count) == text


def test_paint_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.paint("x", output.RED) == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert output.paint("x", output.RED) == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", output.RED) == "x"
