"""Commands of root on a state that another user keeps, each in a process forked from one that has
read the modules already.

Checkout and Python often lie below a closed home, where nobody else can read them: so modules are
read before, and a service's root is a weak one, which reads everything, as whoever it becomes.
"""

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.memory import MIB, memory
from tests.support.tools import absent, need

NOBODY = 65534
ROOT = Path(__file__).parent.parent.parent
BUG = 99  # a traceback
POWERS = "-all,+setuid,+setgid,+chown,+dac_read_search"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    said: str  # on both outputs


def need_root() -> None:
    """Skip the test, or fail in CI, unless this process can be other users."""
    if os.geteuid() != 0:
        absent("only root can act for another user")
    if len(Path("/proc/self/uid_map").read_text().split("\n")[0].split()[2]) < 3:
        absent("this container has no other user")


def weak() -> list[str]:
    """Prefix of a command of a root who reads everything, and has no power over others' files."""
    setpriv = need("setpriv", "util-linux")
    return [setpriv, "--securebits=+no_setuid_fixup", f"--bounding-set={POWERS}"]


class Root:
    """Runs command lines of "fedling_agent" or "fedling_broker" in a directory."""

    def __init__(self, program: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.as_root", program, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )

    def __call__(self, *words: str) -> Ended:
        """Run a command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return Ended(words, code, said)

    def close(self) -> None:
        """No command comes any more."""
        self._process.communicate()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="fedling-", dir=memory(64 * MIB)) as made:
        Path(made).chmod(0o755)
        yield Path(made)


def strangers(directory: Path, uid: int = NOBODY) -> list[str]:
    """Name what lies in a directory and is not this user's."""
    found = [directory, *directory.rglob("*")]
    return [str(path) for path in found if path.lstat().st_uid != uid]


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Owner, mode and bytes of everything in a directory."""
    found = {}
    for path in directory.rglob("*"):
        about = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (about.st_uid, about.st_mode, data)
    return found


def give(directory: Path, uid: int = NOBODY) -> None:
    """Give a directory and all that is in it to a user."""
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


def verbs(parser: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
    """Name every verb of a command line."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield before.strip()
    for action in below:
        for name, one in action.choices.items():
            yield from verbs(one, f"{before} {name}")


@contextmanager
def planted(link: Path, target: Path) -> Iterator[None]:
    """A link of the state's owner in the place of a file or folder."""
    kept = link.with_name(f"{link.name}.kept")
    if os.path.lexists(link):
        link.rename(kept)
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    yield
    link.unlink(missing_ok=True)
    if os.path.lexists(kept):
        kept.rename(link)


def fill(treasure: Path) -> None:
    """Files and folders of root's, closed to others."""
    folder = treasure / "folder" / "deeper"
    folder.mkdir(parents=True)
    for path in (treasure / "bait", folder / "one", treasure / "folder" / "two"):
        path.write_bytes(b"a treasure of root's")
        path.chmod(0o600)
    treasure.chmod(0o700)


def _main(program: str, directory: str) -> None:
    for name in (program, "fedling_protocol"):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # of an extra
                    importlib.import_module(found.name)
    importlib.import_module("fedling_protocol.disk.ownership").__dict__["CODE"] = ()
    os.chdir(directory)
    for line in sys.stdin:
        print(json.dumps(_forked(program, json.loads(line))), flush=True)


def _forked(program: str, words: list[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+") as said, Path(os.devnull).open() as nothing:
        child = os.fork()
        if child == 0:
            os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 1
            try:
                code = importlib.import_module(f"{program}.cli").main(words)
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            except BaseException:  # noqa: BLE001 (the parent tells)
                import traceback

                traceback.print_exc()
                code = BUG
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


if __name__ == "__main__":
    _main(*sys.argv[1:])
