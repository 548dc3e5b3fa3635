"""Programs for boards: from C sources to an image, with gcc or clang."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_sim.board.boards import Board

ROOT = Path(__file__).parents[3]  # of a clone
GCC = "arm-none-eabi-gcc"
COMPILERS = ("gcc", "clang")
OPTIMISATIONS = ("-O0", "-O1", "-O2", "-O3", "-Os")

FLAGS = ("-std=c11", "-ffp-contract=off", "-mthumb", "-ffunction-sections", "-fdata-sections")

MOST_STACK = 16384  # bytes; a small board has what its program leaves


class ToolMissing(RuntimeError):
    """A program that is not installed. Says which package has it."""


class SourcesMissing(RuntimeError):
    """The C sources are not beside this package."""


class BuildFailed(RuntimeError):
    """The compiler or the linker refused. Holds what it printed."""


@dataclass(frozen=True, slots=True)
class Program:
    """What an image is made of, beside the kernel."""

    sources: tuple[Path, ...]
    defines: tuple[str, ...] = ()  # for the kernel as well, as "NAME" or "NAME=value"
    includes: tuple[Path, ...] = ()  # folders that its sources include from
    kernel: bool = True  # False: it calls nothing of the kernel
    stack: int = MOST_STACK


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built."""

    compiler: str = "gcc"
    optimisation: str = "-O2"
    flags: tuple[str, ...] = ()  # of the compiler, beside those of every image
    root: Path = field(default=ROOT)


def tool(name: str, packages: str) -> str:
    """Find the path of a program. Raises ToolMissing."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not installed (Debian: sudo apt-get install {packages})")
    return found


def firmware(root: Path) -> Path:
    """Find the folder of what boards run. Raises SourcesMissing."""
    folder = root / "firmware_sim/firmware"
    if not folder.is_dir() or not (root / "native/src").is_dir():
        raise SourcesMissing(f"{root} has no C sources: images are built in a clone of fedling")
    return folder


def kernel_sources(root: Path) -> list[Path]:
    """List all of the kernel, files for other processors too: each knows where it is empty."""
    return sorted((root / "native/src").rglob("*.c"))


def platform_sources(root: Path) -> list[Path]:
    """List the sources that every image has of the board."""
    names = ("start.c", "semihosting.c", "systick.c", "memory.c", "string.c", "print.c")
    return [firmware(root) / name for name in names]


def build_image(board: Board, program: Program, build: Build, folder: Path) -> Path:
    """Compile a program, the platform and the kernel into image.elf, with image.map beside it.

    folder: empty or absent; objects are in its kernel/ and program/
    Raises ToolMissing, SourcesMissing and BuildFailed.
    """
    own = [*platform_sources(build.root), *program.sources]
    objects = compile_files(board, own, program, build, folder / "program")
    if program.kernel:
        kernel = kernel_sources(build.root)
        objects += compile_files(board, kernel, program, build, folder / "kernel")
    return link(board, objects, program, build, folder)


def compile_files(
    board: Board, files: Sequence[Path], program: Program, build: Build, folder: Path
) -> list[Path]:
    """Compile C sources as this program's, into a folder that is made for the objects.

    Raises ToolMissing and BuildFailed.
    """
    folder.mkdir(parents=True)
    flags = _flags(board, program, build)
    _run([*_compiler(build.compiler), *flags, "-c", *map(str, files)], folder)
    return [folder / f"{file.stem}.o" for file in files]


def link(
    board: Board, objects: Sequence[Path], program: Program, build: Build, folder: Path
) -> Path:
    """Link image.elf of all objects, and image.map, which names them as seen from the folder.

    Raises ToolMissing and BuildFailed.
    """
    names = [os.path.relpath(file, folder) for file in objects]
    image = ["-o", "image.elf", "-Wl,-Map=image.map"]
    _run([*_linker(board, program, build), *names, *image], folder)
    return folder / "image.elf"


def _flags(board: Board, program: Program, build: Build) -> list[str]:
    native = build.root / "native"
    folders = (native / "include", native / "src", firmware(build.root), *program.includes)
    options = [*(f"-D{x}" for x in program.defines), *(f"-I{x}" for x in folders)]
    return [*FLAGS, build.optimisation, *board.flags, *build.flags, *options]


def _gcc() -> str:
    return tool(GCC, "gcc-arm-none-eabi libnewlib-arm-none-eabi")


def _compiler(name: str) -> list[str]:
    if name == "gcc":
        return [_gcc()]
    return [
        tool("clang", "clang"),
        "--target=arm-none-eabi",
        "-isystem",
        str(_newlib() / "include"),
    ]


def _newlib() -> Path:
    """Find gcc's C library: clang takes its headers from there."""
    found = subprocess.run([_gcc(), "-print-file-name=libc.a"], capture_output=True, text=True)
    return Path(found.stdout.strip()).parent.parent


def _linker(board: Board, program: Program, build: Build) -> list[str]:
    """Find gcc, which links what clang compiled, too: it knows the libraries for each core."""
    symbols = {
        "flash_start": board.flash.start,
        "flash_size": board.flash.size,
        "ram_start": board.ram.start,
        "ram_size": board.ram.size,
        "stack_size": program.stack,
    }
    defined = [f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()]
    script = ["-T", str(firmware(build.root) / "board.ld")]
    return [
        _gcc(),
        "-mthumb",
        *board.flags,
        "-nostartfiles",
        "-Wl,--gc-sections",
        *defined,
        *script,
    ]


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildFailed(f"{Path(command[0]).name} failed:\n{done.stderr.strip()}")
