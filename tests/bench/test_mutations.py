import ast
import os
import sys
from pathlib import Path

import pytest

from bench import mutants
from bench.mutants import main
from bench.support.executed import noted
from bench.support.mutations import mutations
from tests.support.waiting import until

CHANGES = {
    "x = a < b": {"x = (a >= b)", "x = (a <= b)"},
    "x = a is b": {"x = (a is not b)"},
    "x = a in b": {"x = (a not in b)"},
    "x = a or b": {"x = (a and b)"},
    "x = a + b": {"x = (a - b)"},
    "x += b": {"x -= b"},
    "x = 7": {"x = 8", "x = (6)"},
    "x = True": {"x = False"},
    "return a": {"return None"},
    "return": set(),
    "return False": {"return True"},
    "a.b()": {"pass"},
    "a.b = c": {"pass"},
    "x = f(a, b)": {"x = f(b, a)"},
    "x = f(a, a)": set(),
    "x = f(*a, b)": set(),
    "x = 'a' + b": set(),
    "x = f'{1 + a}'": set(),
    "x: 'f(1)' = a": set(),
    "if a: x": {"if (not (a)): x"},
    "if not a: x": {"if (a): x"},
    "if a == b: x": {"if (a != b): x"},
    "x = a if b else c": {"x = a if (not (b)) else c"},
    "x = [a for a in b if a]": {"x = [a for a in b if (not (a))]"},
    "import a": set(),
    "'''A docstring of 1 + 1.'''": set(),
}


@pytest.mark.parametrize("line", CHANGES)
def test_mutations_of_a_line(line: str) -> None:
    head = "def f() -> None:\n    é = 'x'\n    "
    found = mutations(f"{head}{line}\n    end\n")
    assert {m.source for m in found} == {f"{head}{new}\n    end\n" for new in CHANGES[line]}
    assert all(m.line == 3 and m.touched == range(3, 4) for m in found)


def test_mutations_know_the_statement_that_runs_them() -> None:
    source = "A = 1\ndef f(a=2):\n    if (a <\n        b):\n        return g(\n            3)\n"
    assert [(m.line, m.touched) for m in mutations(source) if m.what == "a number moved"] == [
        *((1, None), (1, None), (2, None), (2, None)),
        *((6, range(5, 7)), (6, range(5, 7))),
    ]
    assert {m.touched for m in mutations(source) if m.line == 3} == {range(3, 5)}


def test_noted_module_does_the_same_and_notes_what_it_executes() -> None:
    source = '"""Says so."""\ndef f(a):\n    if a:\n        return 1\n    return 2\n'
    names: dict[str, object] = {}
    exec(compile(noted(source, "f.py"), "f.py", "exec"), names)
    assert ast.get_docstring(ast.parse(noted(source, "f.py"))) == "Says so."
    notes: set[tuple[str, int]] = set()
    names["_note"] = notes.add
    function = names["f"]
    assert callable(function)
    assert function(0) == 2
    assert notes == {("f.py", 3), ("f.py", 5)}


@pytest.mark.parametrize(
    "words",
    [["--lines", "0"], ["--most", "0"], ["--files", "runner.py", "nobody.py"]],
    ids=" ".join,
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_asked(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


STAYS = """
import os, pathlib, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)
finally:
    pathlib.Path(sys.argv[1] + ".ended").touch()
"""


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_what_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    monkeypatch.setattr(mutants, "ENDING_S", 60.0 if manner == "polite" else 0.1)
    note = tmp_path / "pid"
    command = [sys.executable, "-c", STAYS, str(note), manner]

    def ended_by_force_after_it_began() -> bool:  # a busy machine may give it too little time to
        assert not mutants.ends_well(command, tmp_path, dict(os.environ), 2.0)
        return note.exists() and note.read_text() != ""

    until(ended_by_force_after_it_began)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert (tmp_path / "pid.ended").exists() == (manner == "polite")
