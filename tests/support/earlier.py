"""The programs as they were once, to be run beside ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.tools import absent, need

ROOT = Path(__file__).parent.parent.parent
BEGAN_TLS = "protocol/fedling_protocol/net/tls.py"  # before it: signed messages over plain TCP
BEGAN_ENROLMENT = "protocol/fedling_protocol/wire/token.py"  # before it: the root certifies all
FOLDERS = ("native", "protocol", "agent", "broker")
FILES = ("setup.py", "pyproject.toml", "README.md")


def unpack_before(file: str, directory: Path) -> Path:
    """The packages as they were before a file came, with a kernel; `absent` without that past."""
    git = need("git")
    words = [git, "log", "--diff-filter=A", "--format=%H", "--", file]
    came = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not came:
        absent(f"no git history here that says when {file} came: clone the repository")
    commit = f"{came[-1]}^"
    archive = subprocess.run(
        [git, "archive", commit, *FILES, *FOLDERS], cwd=ROOT, capture_output=True
    )
    if archive.returncode:
        absent(f"commit {commit} is not here: fetch the whole history")
    subprocess.run([need("tar"), "-x", "-C", str(directory)], input=archive.stdout, check=True)
    _give_kernel(directory)
    return directory


def _give_kernel(directory: Path) -> None:
    """Ours, where nothing of it has changed since; else theirs is built, in half a minute."""
    ours, theirs = ROOT / "native", directory / "native"
    if _sources(ours) == _sources(theirs):
        for library in (ours / "fedling_native").glob("_core*.so"):
            shutil.copy2(library, theirs / "fedling_native")
        return
    words = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(words, cwd=directory, check=True)


def _sources(native: Path) -> dict[Path, bytes]:
    files = [f for part in ("include", "src") for f in (native / part).rglob("*.[ch]")]
    return {file.relative_to(native): file.read_bytes() for file in files}


def words(tree: Path | None, module: str) -> list[str]:
    """How a program is run: of a tree, or ours."""
    path = os.environ.get("PYTHONPATH", "")
    if tree is not None:
        path = os.pathsep.join(str(tree / folder) for folder in FOLDERS)
    return [need("env"), f"PYTHONPATH={path}", sys.executable, "-m", module]
