"""Inner loops are found in assembly."""

import pytest

from bench.support import cycles

TEXT = """
\t.text
first:
.LFB1:
\tstp\tx29, x30, [sp, -16]!
.L2:
\tldr\tq0, [x0], 16
\tsmull\tv1.8h, v0.8b, v2.8b
\tsmlal2\tv1.8h, v0.16b, v2.16b
\tcmp\tx0, x1
\tbne\t.L2
.L3:
#APP
\tsdot v0.4s, v1.16b, v2.4b[0]
#NO_APP
\tcbz\tx2, .L4
\tbl\tsecond.part.0
\tb\t.L3
.L4:
\tret
\t.size\tfirst, .-first
second.part.0:
.L7:
\tsmull\tv1.8h, v0.8b, v2.8b
.L8:
\tsmlal\tv1.8h, v0.8b, v2.8b
\tsmlal\tv1.8h, v0.8b, v2.8b
\tsmlal\tv1.8h, v0.8b, v2.8b
\ttbnz\tw3, #2, .L8
\tbhi\t.L7
\tb\tfirst
\t.size\tsecond.part.0, .-second.part.0
third:
\tb\tthird
\t.size\tthird, .-third
"""


@pytest.fixture
def found() -> dict[str, list[str]]:
    return cycles.functions(TEXT)


def test_functions_are_cut_at_their_ends(found: dict[str, list[str]]) -> None:
    assert list(found) == ["first", "second.part.0", "third"]
    assert found["third"] == ["\tb\tthird"]


def test_reached_follows_calls_and_jumps_to_functions(found: dict[str, list[str]]) -> None:
    assert cycles.reached(found, "first") == {"first", "second.part.0"}
    assert cycles.reached(found, "second.part.0") == {"first", "second.part.0"}
    assert cycles.reached(found, "third") == {"third"}


def test_loops_are_blocks_that_jump_to_their_start(found: dict[str, list[str]]) -> None:
    assert [len(loop.lines) for loop in cycles.loops(found["first"])] == [5]
    assert [len(loop.products) for loop in cycles.loops(found["second.part.0"])] == [3]


def test_densest_has_the_most_products_of_all_that_is_called(found: dict[str, list[str]]) -> None:
    assert len(cycles.densest(found, "first").products) == 3
