"""Messages and estimates have the same bits with the inner loops of every processor."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.native import compiler
from tests.native.test_matrix import TARGETS, Target
from tests.support.quick import quick
from tests.support.tools import need

PROGRAM = Path(__file__).parent / "codec_bits.c"
PLAIN = TARGETS["x86-64 plain"]
OTHERS = {name: target for name, target in TARGETS.items() if target != PLAIN}
HERE = [name for name, target in OTHERS.items() if not target.processor]


def hashes(target: Target, flags: Sequence[str], folder: Path) -> str:
    emulator = [need(target.emulator, "qemu-user")] if target.emulator else []
    command = [*target.compiler("gcc"), "-std=c11", *flags, *target.flags, f"-D{target.define}"]
    command += [*compiler.INCLUDES, *map(str, [PROGRAM, *compiler.SOURCES])]
    built = subprocess.run([*command, "-o", "bits"], cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([*emulator, str(folder / "bits")], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.fixture(scope="module")
def of_plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hashes(PLAIN, ["-O2"], tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("name", quick(HERE, list(OTHERS)))
def test_bits_are_those_of_plain_c(name: str, of_plain: str, tmp_path: Path) -> None:
    assert hashes(OTHERS[name], ["-O2"], tmp_path) == of_plain
    assert len(of_plain.splitlines()) == 4 * 22
