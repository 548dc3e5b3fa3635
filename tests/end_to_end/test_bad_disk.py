"""A test of a tool: what a program meets on a disk that the library of tests/support makes bad."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.outages.bad_disk import BadDisk, Trouble, build
from tests.support.tools import need
from tests.support.waiting import PATIENCE_S

# What a store does, again and again; prints how often each call failed with what.
PROGRAM = r"""
import errno, os, sqlite3, sys
from collections import Counter
root, met = sys.argv[1], Counter()
def attempt(name, call):
    try:
        return call()
    except OSError as error:
        met[f"{name} {errno.errorcode[error.errno]}"] += 1
    except sqlite3.Error as error:
        met[f"{name} {error.sqlite_errorname.split('_')[1]}"] += 1
kept = os.open(f"{root}/kept", os.O_RDWR)
base = sqlite3.connect(f"{root}/base")
base.execute("CREATE TABLE t (x)")
print("open", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[2])):
    attempt("read", lambda: os.pread(kept, 10, 0))
    attempt("write", lambda: os.write(kept, b"x"))
    attempt("sync", lambda: os.fsync(kept))
    attempt("make", lambda: os.close(os.open(f"{root}/new{turn}", os.O_WRONLY | os.O_CREAT)))
    attempt("name", lambda: os.replace(f"{root}/old{turn}", f"{root}/named{turn}"))
    attempt("sql", lambda: base.execute("INSERT INTO t VALUES (randomblob(9000))"))
    attempt("sql", base.commit)
    attempt("sql", base.rollback)
    attempt("elsewhere", lambda: open("/dev/null", "w").write("x"))
print(*sorted(met), sep="\n")
"""
ALWAYS = {
    Trouble.WELL: set[str](),
    Trouble.FULL: {"write ENOSPC", "make ENOSPC"},
    Trouble.READ_ONLY: {"write EROFS", "make EROFS", "name EROFS"},
    Trouble.FORGETFUL: set[str](),
}
TURNS = 40


@pytest.fixture
def disk(tmp_path: Path) -> BadDisk:
    need("cc", "gcc")
    root = tmp_path / "disk"
    root.mkdir()
    (root / "kept").write_bytes(bytes(10))
    for turn in range(TURNS):
        (root / f"old{turn}").touch()
    return BadDisk(build(tmp_path), root, tmp_path / "trouble")


def met(disk: BadDisk, trouble: Trouble, root: Path, turns: int) -> set[str]:
    """What a program meets whose files are open when the trouble begins."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(turns)],
        env=disk.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "open\n"
    disk.be(trouble)
    said, _ = program.communicate("\n", timeout=PATIENCE_S)
    assert program.returncode == 0
    return set(filter(None, said.splitlines()))


@pytest.mark.parametrize("trouble", ALWAYS, ids=lambda trouble: trouble.name)
def test_trouble_is_what_its_name_says(tmp_path: Path, disk: BadDisk, trouble: Trouble) -> None:
    found = met(disk, trouble, tmp_path / "disk", 3)
    assert {words for words in found if not words.startswith("sql")} == ALWAYS[trouble]
    assert any(words.startswith("sql") for words in found) == bool(ALWAYS[trouble])


def test_a_failing_disk_fails_now_and_then(tmp_path: Path, disk: BadDisk) -> None:
    found = met(disk, Trouble.FAILING, tmp_path / "disk", TURNS)
    calls = {words.split()[0] for words in found if words.endswith(errno.errorcode[errno.EIO])}
    assert calls == {"read", "write", "sync", "make", "name"}
    assert any(words.startswith("sql") for words in found)
