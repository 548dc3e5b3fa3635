"""This tree's wheel for a device, installed for real."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.distributions import build, copy_tree

# Where bytecode goes is not ours to say: pip's own would come later.
OWN = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def bare(folder: Path) -> Path:
    """A new virtual environment. folder: of what is made"""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, env=OWN)
    return venv


def install(venv: Path, folder: Path) -> None:
    """As `pip install 'fedling[agent]'` does. folder: of what is made"""
    wheel = build("wheel", copy_tree(folder / "tree"), folder / "wheel")
    pip = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", f"{wheel}[agent]"], check=True, env=OWN)
