"""How lines that come by and by are put together: a commit for a row would wear a card out."""

import json
import os
import pty
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.source import CHARACTERS, LONGEST_S, QUIET_S, ROWS, Pace, Source
from fedling_agent.data.lines import MAX_ROW
from fedling_agent.data.streams import MAX_NAME
from fedling_agent.service.control import LONGEST_LINE
from fedling_protocol.disk.errors import BadInput


def waits_until(*times: float) -> float:
    """When rows are stored that came at these times."""
    pace = Pace()
    for number, now in enumerate(times):
        assert number == 0 or now < pace.due
        pace.come(now, first=number == 0)
    return pace.due


def test_a_row_that_is_alone_is_stored_soon() -> None:
    assert waits_until(100.0) == 100 + QUIET_S


def test_rows_of_a_sensor_are_stored_together() -> None:
    assert waits_until(*range(100, 100 + int(LONGEST_S))) == 100 + LONGEST_S


def test_the_end_of_a_flow_is_stored_soon() -> None:
    assert waits_until(100, 101, 102) == 102 + QUIET_S


def test_what_a_full_piece_left_waits_anew() -> None:
    pace = Pace()
    pace.come(100, first=True)
    pace.come(101, first=False)
    pace.store(101)
    pace.come(102, first=False)
    assert pace.due == 102 + QUIET_S


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as entered:
        yield entered


def test_pieces_of_a_pipe_are_as_large_as_a_commit_may_be(interrupts: Interrupts) -> None:
    read, write = os.pipe()
    _write(write, b"1\n" * (2 * ROWS + 1))
    pieces = list(Source(read, "a pipe").pieces(interrupts))
    os.close(read)
    assert [len(piece) for piece in pieces] == [ROWS, ROWS, 1]


def test_a_piece_has_no_more_characters_than_a_request_may_have(interrupts: Interrupts) -> None:
    long = "1" * 60_000 + "\n"
    fit = CHARACTERS // len(long) + 1  # the last one may reach beyond it
    read, write = os.pipe()
    writer = threading.Thread(target=_write, args=(write, (fit + 1) * long.encode()))
    writer.start()
    pieces = list(Source(read, "a pipe").pieces(interrupts))
    writer.join()
    os.close(read)
    assert pieces == [[long] * fit, [long]]


@pytest.mark.parametrize("character", [b"\xff", b"\x01", "é".encode(), b'"'])
def test_the_longest_request_of_a_file_is_one_that_the_service_takes(
    tmp_path: Path, interrupts: Interrupts, character: bytes
) -> None:
    """JSON writes what is no letter of ASCII in six: a file may be nothing else."""
    line = character * (MAX_ROW // len(character) - 1) + b"\n"
    file = tmp_path / "rows"
    file.write_bytes(30 * line + 20 * 1024 * (character * 64 + b"\n"))
    handle = os.open(file, os.O_RDONLY)
    pieces = list(Source(handle, str(file)).pieces(interrupts))
    os.close(handle)
    assert sum(map(len, pieces)) == 30 + 20 * 1024
    name = MAX_NAME * "\uffff"
    other = {"stream": name, "recording": name, "label": name, "input": name, "before": 2**62}
    longest = max(len(json.dumps({"do": "ingest", "lines": piece} | other)) for piece in pieces)
    assert longest < LONGEST_LINE


def test_a_terminal_gives_a_line_at_each_read_and_none_is_left_in_it(
    interrupts: Interrupts,
) -> None:
    """A sensor on a serial line: what is not read soon finds no room there (tty_ioctl(4))."""
    ours, theirs = pty.openpty()
    lines = [f"{number:04d}\n" for number in range(3000)]

    def write() -> None:
        for line in lines:
            os.write(ours, line.encode())
        os.write(ours, b"\x04")  # the end, at the begin of a line

    writer = threading.Thread(target=write)
    writer.start()
    pieces = list(Source(theirs, "a terminal").pieces(interrupts))
    writer.join()
    os.close(ours)
    os.close(theirs)
    assert [line for piece in pieces for line in piece] == lines


def test_what_was_read_before_an_error_is_given_before_it_is_raised(
    interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.write(write, b"1\n2\n")
    source, pieces = Source(read, "a socket"), list[list[str]]()
    answers: list[bytes | OSError] = [b"1\n2\n", ConnectionResetError(104, "gone")]

    def answer(_handle: int, _size: int) -> bytes:
        found = answers.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(os, "read", answer)
    with pytest.raises(BadInput, match="a socket: cannot be read on: gone"):
        pieces += source.pieces(interrupts)
    monkeypatch.undo()
    for handle in (read, write):
        os.close(handle)
    assert pieces == [["1\n", "2\n"]]


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as pipe:
        pipe.write(data)
