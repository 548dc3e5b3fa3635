"""What a device installs, made for other processors, and run as they would by QEMU."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.tools import absent, need

ROOT = Path(__file__).parent.parent.parent
EMULATOR = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
MACHINE = {"arm64": "aarch64", "armhf": "armv7l"}
# The kernel by its binding, and around it: refusals, training, signatures, the store. Nothing that
# starts another process: QEMU would have to be asked by the system for it.
TESTS = (
    *("tests/native/test_refusals.py", "tests/agent/session/test_training.py"),
    *("tests/agent/training/test_local_sgd.py", "tests/agent/training/test_personal.py"),
    *("tests/agent/training/test_job.py", "tests/agent/store/test_models.py"),
    *("tests/agent/store/test_spool.py", "tests/protocol/wire/test_envelope.py"),
)


class Board:
    """The Python of a Debian for another processor, and the wheel that was made for it."""

    def __init__(self, kind: str, folder: Path) -> None:
        command = [str(ROOT / "packaging/cross"), kind, str(folder / "wheels"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if "mmdebstrap failed" in done.stderr:
            absent(f"mmdebstrap cannot fetch a Debian for {kind} here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stdout + done.stderr
        (self.wheel,) = (folder / "wheels").glob("*.whl")
        self.root, self.tree = folder / f"root-{kind}", folder / f"tree-{kind}"
        with ZipFile(self.wheel) as packed:
            packed.extractall(folder / "unpacked")
        for name in ("native/fedling_native", "protocol/fedling_protocol", "agent/fedling_agent"):
            (self.tree / name).rename(folder / Path(name).name)  # not that of the tree
        pytest_here = folder / "pytest"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(pytest_here)]
        subprocess.run([*pip, f"pytest=={pytest.__version__}"], check=True)
        packages = self.root / "usr/lib/python3/dist-packages"
        others = (self.tree / "broker", self.tree / "firmware_sim")
        self._path = ":".join(map(str, (folder / "unpacked", pytest_here, packages, *others)))
        self._emulator = need(EMULATOR[kind], "qemu-user")

    def python(self, *words: str) -> str:
        """What its Python prints. Raises CalledProcessError."""
        variables = ("-E", f"PYTHONPATH={self._path}", "-E", "PYTHONDONTWRITEBYTECODE=1")
        program = (self.root / "usr/bin/python3").resolve()
        command = [self._emulator, "-L", str(self.root), *variables, str(program), *words]
        done = subprocess.run(command, cwd=self.tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return str(done.stdout)


@pytest.fixture
def board(tmp_path: Path, request: pytest.FixtureRequest) -> Board:
    if os.environ.get("CI"):
        need_all = ("deb", "processors", "boot")
        subprocess.run([ROOT / "packaging/need", *need_all], check=True)
    need("mmdebstrap")
    need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    need("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
    return Board(request.param, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("board", EMULATOR, indirect=True)
def test_wheel_of_another_processor_trains_there(board: Board) -> None:
    kind = board.wheel.stem.rpartition("linux_")[2]
    assert kind in MACHINE.values()
    said = board.python(
        "-c",
        "import platform, fedling_native, fedling_agent; print(platform.machine());"
        " print(fedling_native.__file__)",
    )
    machine, file = said.split()
    assert (machine, "unpacked" in file) == (kind, True)
    told = board.python(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not long",
        "--tb=short",
        "-rf",
        *TESTS,
    )
    assert " passed" in told
    assert " skipped" not in told
