"""Contestants on an aarch64 core that QEMU plays: how many instructions a step of each is.

Programs for Linux, linked statically, on qemu-aarch64 with a plugin that counts what they run. A
program that trains on some steps less the same program that trains on none is those steps, exactly:
what comes before and after is the same.
"""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from bench.support.compiled import HERE, KERNEL_CALLER, NATIVE, kernel_flags, kernel_sources
from bench.support.contestants import RATE, Course, PlainC, compiled_sizes
from bench.support.float_net import c_shape
from fedling_sim.board.toolchain import tool

EMULATOR = "qemu-aarch64"
KNOWN = ((6, 0), (8, 2))  # versions of QEMU whose plugins are as count_instructions.c has them
WORKS = TemporaryDirectory(prefix="fedling-bench-")  # holds the plugin until the bench ends


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions of a step, on average, and what the program said."""

    instructions: float
    words: list[str]


def gcc() -> str:
    return tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")


def count_kernel(of: Course, core: str) -> Counted:
    """The kernel, with the inner loops that it chooses on this core."""
    start = np.frombuffer(of.weights, np.uint8)
    flags = [*kernel_flags(), *KERNEL_CALLER]
    return count(of, core, flags, kernel_sources(), of.x, start)


def count_plain(of: Course, core: str, kind: type[PlainC]) -> Counted:
    """plain_f32.c, compiled for this core."""
    defines = (f"ROWS={kind.rows}", *compiled_sizes(of), "PLAIN")
    flags = ["-std=gnu11", "-O3", f"-mcpu={core}", *(f"-D{name}" for name in defines)]
    sources, start = [HERE / "plain_f32.c"], of.first_floats.parameters
    return count(of, core, flags, sources, of.floats, start)


def count(
    of: Course,
    core: str,
    flags: list[str],
    sources: list[Path],
    x: NDArray[np.generic],
    start: NDArray[np.generic],
) -> Counted:
    with TemporaryDirectory(prefix="fedling-bench-") as name:
        folder = Path(name)
        write_model(of, folder, len(start))
        for file, data in (("inputs", x), ("start", start), ("classes", of.y)):
            (folder / f"{file}.bin").write_bytes(data.tobytes())
        own = [HERE / "arm.c", HERE / "data.S"]
        includes = [f"-I{folder}", f"-I{NATIVE / 'include'}"]
        command = [gcc(), *flags, *includes, "-static", *map(str, [*own, *sources]), "-lm"]
        program = folder / "program"
        subprocess.run([*command, "-o", str(program)], check=True)
        nothing, _ = run(program, core, 0)
        instructions, words = run(program, core, len(of.y))
    return Counted((instructions - nothing) * of.batch / len(of.y), words)


def write_model(of: Course, folder: Path, parameters: int) -> None:
    """model.h of arm.c."""
    fields = [
        (*layer.to_ints(), exponent)
        for layer, exponent in zip(of.layers, of.state.exponents, strict=True)
    ]
    shapes = [c_shape(layer) for layer in of.layers]
    rows = [tuple(getattr(s, name) for name, *_ in s._fields_) for s in shapes]
    constants = {
        "MODEL_FIELDS": initialiser(fields),
        "MODEL_SHAPES": initialiser(rows),
        "PARAMETERS": parameters,
        "BATCH_SIZE": of.batch,
        "RATE_Q24": round(RATE * 2**24),
    }
    lines = [f"#define {name} {value}\n" for name, value in constants.items()]
    (folder / "model.h").write_text("".join(lines))


def initialiser(rows: list[tuple[int, ...]]) -> str:
    return ", ".join("{" + ", ".join(map(str, row)) + "}" for row in rows)


@cache
def plugin() -> Path:
    path = Path(WORKS.name) / "count_instructions.so"
    command = [tool("cc", "gcc"), "-O2", "-shared", "-fPIC", str(HERE / "count_instructions.c")]
    subprocess.run([*command, "-o", str(path)], check=True)
    return path


@cache
def emulator() -> str:
    """The path of QEMU; SystemExit with a sentence if it is one that takes no such plugin."""
    path = tool(EMULATOR, "qemu-user")
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    if wrong := what_is_wrong(said):
        raise SystemExit(wrong)
    return path


def what_is_wrong(said: str) -> str:
    """Why the QEMU that says this of its version counts nothing here; empty if it does."""
    found = re.search(r"version (\d+)\.(\d+)", said)
    if found and KNOWN[0] <= (int(found[1]), int(found[2])) <= KNOWN[1]:
        return ""
    first, last = (".".join(map(str, version)) for version in KNOWN)
    is_here = f"this is {found[1]}.{found[2]}" if found else f"this one says {said!r}"
    return f"bench: instructions are counted by QEMU {first} to {last}, and {is_here}"


def run(program: Path, core: str, examples: int) -> tuple[int, list[str]]:
    """Instructions of the program, and the words that it printed."""
    words = [emulator(), "-cpu", core, "-d", "plugin", "-plugin", str(plugin())]
    command = [*words, str(program), str(examples)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench arm: {' '.join(command)}: status {done.returncode} {done.stderr}")
    return int(done.stderr), done.stdout.split()
