"""Which statements of some modules each test executes, and how long it takes.

noted() makes of a module's source one that notes the line of each statement of a function before it
is executed; this file is the pytest plugin that reads the notes, test by test. A tracer of Python
would slow down all that is executed, and these notes only what is looked at.

    pytest -p bench.support.executed --executed map.json tests/agent/service

map.json: {test: [seconds, {file: [lines]}]}. What only an import executes is no test's.
"""

import ast
import builtins
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NOTES = "_executed"  # a set among the built-in names, of whoever comes first
HEAD = f"import builtins\n_note = vars(builtins).setdefault({NOTES!r}, set()).add"


def noted(source: str, file: str) -> str:
    """The source of a module that notes (file, line) of what its functions execute."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            _note(function, file)
    docstring = 1 if ast.get_docstring(tree) is not None else 0
    tree.body[docstring:docstring] = ast.parse(HEAD).body
    return ast.unparse(ast.fix_missing_locations(tree))


def _note(node: ast.AST, file: str) -> None:
    """Put a note before each statement of the blocks below a node, but for functions in it."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and block:
            setattr(node, field, list(_noting(block, file)))
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        _note(part, file)


def _noting(block: list[ast.stmt], file: str) -> Iterator[ast.stmt]:
    for statement in block:
        yield from ast.parse(f"_note(({file!r}, {statement.lineno}))").body
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            _note(statement, file)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--executed", help="the map is written there")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Executed(Path(config.getoption("--executed"))))


class Executed:
    """Reads the notes of each test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._notes: set[tuple[str, int]] = vars(builtins).setdefault(NOTES, set())
        self._tests: dict[str, tuple[float, dict[str, list[int]]]] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._notes.clear()
        begun = time.monotonic()
        yield
        lines: dict[str, list[int]] = {}
        for file, line in sorted(self._notes):
            lines.setdefault(file, []).append(line)
        self._tests[item.nodeid] = round(time.monotonic() - begun, 3), lines

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps(self._tests))
