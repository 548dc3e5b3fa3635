"""The distributions of this tree: what their projects say, and how one is built."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
FOLDERS = {"fedling": "", "fedling-broker": "broker", "fedling-sim": "firmware_sim"}
COMPONENTS = ("native", "protocol", "agent", "broker", "firmware_sim")
READ = ("bench", "docs", "examples", "packaging", "tests")  # what a person reads
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md", "SECURITY.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def project(name: str) -> dict[str, Any]:
    """What a distribution says of itself: [project] of its pyproject.toml."""
    read = tomllib.loads((ROOT / FOLDERS[name] / "pyproject.toml").read_text())
    return dict(read["project"])


def copy_tree(folder: Path) -> Path:
    """Copy all that they are made of, and nothing that was built, into a new folder."""
    ignore = shutil.ignore_patterns("*.so", "*.o", "__pycache__", "*.egg-info", "build")
    for name in (*COMPONENTS, *READ):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", *PAGES):
        shutil.copy(ROOT / name, folder)
    return folder


def build(kind: str, source: Path, target: Path) -> Path:
    """Make the "wheel" or the "sdist" of the project in a folder, as pip does, with the setuptools
    that is here. Raises CalledProcessError with what was said."""
    target.mkdir(parents=True, exist_ok=True)
    before = set(target.iterdir())
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, f"build_{kind}", str(target.resolve())],
        cwd=source, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (made,) = set(target.iterdir()) - before
    return made
