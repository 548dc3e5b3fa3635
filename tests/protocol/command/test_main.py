"""From a verb to an exit code, with a program of two verbs."""

import errno
import gc
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from fedling_protocol.command.failures import COMMON, exit_code
from fedling_protocol.command.main import run, run_verb
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError

VERBS = """
from argparse import Namespace
from fedling_protocol.exits import Exit

class Own(Exception):
    pass

def add(args: Namespace) -> Exit:
    if args.error:
        raise args.error
    print("added")
    return Exit.SOME_REFUSED
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "task.py").write_text(VERBS)
    (folder / "failures.py").write_text("EXITS = {LookupError: 4, OSError: 69}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("program", "program.task", "program.failures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "program"


def call(package: str, error: BaseException | None = None) -> int:
    return run_verb("fedling-x", package, Namespace(run="task.add", error=error))


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_collected_while_a_verb_is_imported(
    package: str, tmp_path: Path, collects: bool
) -> None:
    module = tmp_path / package / "task.py"
    module.write_text(
        f"import gc\nSEEN = gc.isenabled()\n{VERBS}\ndef look(_): return gc.isenabled()"
    )
    try:
        if not collects:
            gc.disable()
        assert run_verb("fedling-x", package, Namespace(run="task.look")) == collects
        assert sys.modules["program.task"].SEEN is False
    finally:
        gc.enable()


def test_run_verb_calls_the_function_and_returns_its_code(
    package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(package) == Exit.SOME_REFUSED
    assert capsys.readouterr().out == "added\n"


def test_run_verb_says_what_was_foreseen_and_no_more(
    package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(package, LookupError("no such task")) == Exit.NOT_FOUND
    assert capsys.readouterr().err == "fedling-x: no such task\n"
    assert call(package, CannotWrite("it", "full")) == Exit.CANNOT_WRITE
    assert call(package, KeyboardInterrupt()) == Exit.INTERRUPTED


def test_run_verb_tells_a_program_of_an_error_in_json(
    package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Namespace(run="task.add", error=LookupError("no such täsk"), json=True)
    assert run_verb("fedling-x", package, args) == Exit.NOT_FOUND
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err) == {"error": "no such täsk", "exit": 4}


def test_run_verb_names_a_bug(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(package, ZeroDivisionError("x")) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: x" in said
    assert "this is a fault of fedling" in said
    assert "Traceback" not in said


def test_developers_see_all_of_a_bug() -> None:
    code = (
        "import sys; from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: 1 // 0, 'fedling_agent.commands.failures'))"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True)
    assert "Traceback" in done.stderr


def test_run_into_a_closed_pipe_is_no_error() -> None:
    code = (
        "import sys; from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: print('y' * 100_000) or 0, ''))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.OK, b"")


def test_run_into_a_full_disk_says_so() -> None:
    code = (
        "import sys; from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: print('y') or 0, 'fedling_agent.commands.failures'))"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def because(error: Exception, number: int) -> Exception:
    """As `raise error from` what the disk said."""
    error.__cause__ = OSError(number, "of the disk")
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), Exit.CANNOT_WRITE),
        (OSError(errno.EROFS, "read-only"), Exit.CANNOT_WRITE),
        (OSError(errno.EACCES, "no"), Exit.FAILED),
        (because(IdentityError("a key"), errno.EIO), Exit.CANNOT_WRITE),
        (because(SettingsError("a file"), errno.EIO), Exit.CANNOT_WRITE),
        (because(IdentityError("a key"), errno.EACCES), Exit.BAD_CONFIG),
        (sqlite3.OperationalError("of unknown cause"), Exit.FAILED),
        (Failure("the service said it", Exit.TRY_LATER), Exit.TRY_LATER),
        (AssertionError(), None),
    ],
)
def test_exit_code(error: Exception, code: Exit | None) -> None:
    assert exit_code(error, {}) == code


def test_a_programs_own_table_goes_first() -> None:
    assert exit_code(PermissionError(errno.EACCES, "no"), {OSError: Exit.UNAVAILABLE}) == 69
    assert COMMON[OSError] is Exit.FAILED


def test_run_flushes_before_it_returns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("x", lambda: 0, "") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("alphabet", ["ascii", "latin-1", "iso8859-5", "utf-8"])
def test_run_prints_in_any_alphabet(alphabet: str) -> None:
    code = (
        "import sys; from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: print('84 \\u00b0C caf\\u00e9 \\U0001f600 \\ud800') or 0, ''))"
    )
    environment = os.environ | {"PYTHONIOENCODING": alphabet}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"84 ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_run_with_closed_streams(closed: str) -> None:
    code = (
        "import sys; from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: print('y') or print('z', file=sys.stderr) or 0, ''))"
    )
    script = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {closed}"
    done = subprocess.run(["sh", "-c", script], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


HOLDER = """
import sys, time
from pathlib import Path
from fedling_protocol.command.main import run
from fedling_protocol.disk import durable

def hold():
    with durable.draft(Path(sys.argv[1]), "x") as file:
        file.write(b"half")
        print("holds", flush=True)
        time.sleep(60)
    return 0

sys.exit(run("x", hold, "fedling_agent.commands.failures"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_ended_leaves_no_half_of_a_file(tmp_path: Path, number: int) -> None:
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == b"holds\n"
        assert len([*tmp_path.iterdir()]) == 1
        command.send_signal(number)
        code = Exit.INTERRUPTED if number == signal.SIGINT else -number
        assert command.wait() == code  # who sent a signal sees that it ended us
        assert command.stderr.read() == b""
    assert [*tmp_path.iterdir()] == []


def test_a_signal_that_was_ignored_stays_so() -> None:
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from fedling_protocol.command.main import run;"
        "sys.exit(run('x', lambda: os.kill(os.getpid(), signal.SIGHUP) or 3, ''))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 3


TWICE = """
import os, signal, sys
from fedling_protocol.command.main import run

def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned", flush=True)

sys.exit(run("x", work, "fedling_agent.commands.failures"))
"""


def test_a_second_signal_leaves_the_cleaning_up_its_time() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"cleaned\n", b"")
