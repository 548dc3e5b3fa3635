"""What a machine must have: said in one line, before anything takes minutes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.tools import as_nobody, need

ROOT = Path(__file__).parent.parent.parent
NEED = ROOT / "packaging" / "need"


def run_need(path: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """packaging/need as a user who is not root, with no program but id."""
    (path / "id").symlink_to(shutil.which("id") or "id")
    path.chmod(0o755)
    return subprocess.run(
        [*as_nobody(), "/bin/sh", str(NEED), *names],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_need_without_root_says_what_to_install(tmp_path: Path) -> None:
    done = run_need(tmp_path, "gcc")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "sudo apt-get install gcc" in done.stderr


def test_need_of_what_is_here_is_silent(tmp_path: Path) -> None:
    (tmp_path / "gcc").symlink_to("/bin/true")
    done = run_need(tmp_path, "gcc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_need_of_several_says_one_command(tmp_path: Path) -> None:
    done = run_need(tmp_path, "gcc", "boards")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    packages = "gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
    assert f"sudo apt-get install {packages}\n" in done.stderr


def test_demo_says_what_it_does_and_what_is_missing_before_it_begins(tmp_path: Path) -> None:
    for tool in ("id", "dirname", "date", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [*as_nobody(), "/bin/sh", str(ROOT / "examples" / "watch" / "demo")],
        env={"PATH": str(tmp_path), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("Twenty simulated watches learn together")
    assert "demo:" not in done.stdout  # no step was taken
    assert re.search(r"missing: .*a C compiler \(cc\).* sudo apt-get install .*gcc", done.stderr)


# --- the Makefile's words ------------------------------------------------------------------------


def make(*words: str) -> str:
    """As from a shell, also when `make test` runs this."""
    need("make")
    outside = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", *words], cwd=ROOT, capture_output=True, text=True, check=True, env=outside
    )
    return done.stdout


def test_make_alone_lists_every_target() -> None:
    phony = re.findall(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(phony[0].split()) - {"help", "tools"}
    assert {line.split()[1] for line in make().splitlines()} == targets


def test_demo_needs_neither_boards_nor_what_development_needs() -> None:
    recipe = make("-n", "demo") + (ROOT / "examples" / "watch" / "demo").read_text()
    recipe += make("-n", "-W", "pyproject.toml", ".venv/built")
    assert "need mosquitto compiler python" in recipe
    assert "--editable ./firmware_sim" in recipe
    for word in ("boards", "clang", "processors", "dev]"):
        assert word not in recipe
