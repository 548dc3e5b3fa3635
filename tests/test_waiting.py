"""No test waits for ever, and none asserts how long something took: `tests/support/waiting.py`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [path for path in sorted(TESTS.rglob("*.py")) if path.name != "waiting.py"]
CLOCKS = {"sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}
PASSES = {"turn", "sleep", "wait", "move", "settle", "say", "select", "poll"}  # time
DRAINS = {"recv", "turn", "write"}  # say by what they return that nothing more comes


def name_of(node: ast.AST) -> str:
    """The last word of what is called; "" if nothing is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr
    return ""


def only_looks(loop: ast.While) -> bool:
    """Whether it lets time pass and looks again, until something has happened elsewhere."""
    if name_of(loop.test) in DRAINS or any(
        isinstance(node, ast.NamedExpr) for node in ast.walk(loop.test)
    ):
        return False
    calls = [node for node in loop.body if not isinstance(node, ast.Pass | ast.Assert)]
    return all(isinstance(node, ast.Expr) and name_of(node.value) in PASSES for node in calls)


def waits(tree: ast.AST) -> Iterator[int]:
    """The lines of loops that should be until()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.While) and only_looks(node):
            yield node.lineno


def clocks(tree: ast.AST) -> Iterator[int]:
    """The lines where time passes or is measured."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr in CLOCKS and isinstance(owner, ast.Name) and owner.id == "time":
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_who_waits_by_looking_has_an_end_and_who_uses_a_clock_a_reason(path: Path) -> None:
    source = path.read_text()
    tree, lines = ast.parse(source), source.splitlines()
    assert list(waits(tree)) == [], "a loop by hand: tests/support/waiting.py has until()"
    bare = [line for line in clocks(tree) if "#" not in "".join(lines[line - 2 : line])]
    assert bare == [], "a clock without a comment that says why nothing else will do"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("while not done: pass", [1]),
        ("while not done: loop.turn(1.0)", [1]),
        ("while a < b:\n    assert living()\n    time.sleep(1)", [1]),
        ("while len(got) < 9: got += end.recv(9)", []),
        ("while data := end.recv(9): pass", []),
        ("while peer.recv(9): pass", []),
        ("while True: take()", []),
        ("while not run.finished: run.step()", []),
    ],
)
def test_loops_that_only_look_are_found(source: str, found: list[int]) -> None:
    assert list(waits(ast.parse(source))) == found
