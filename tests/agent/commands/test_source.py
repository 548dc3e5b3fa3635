"""How lines that come by and by are put together: a commit for a row would wear a card out."""

import os
import threading
from collections.abc import Iterator

import pytest

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.source import CHARACTERS, LONGEST_S, NAP_S, QUIET_S, ROWS, Pace, Source


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
    assert not pace.flows


def test_a_flow_is_one_that_lasts() -> None:
    pace = Pace()
    pace.come(100, first=True)
    assert not pace.flows
    pace.come(100 + QUIET_S + NAP_S, first=False)
    assert pace.flows


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


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as pipe:
        pipe.write(data)
