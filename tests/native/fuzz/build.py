"""Compiles the harnesses: with the fuzzer, or with a main() that runs them on files."""

from collections.abc import Sequence
from pathlib import Path

from tests.native.compiler import SOURCES, compile_objects, run_compiler

FOLDER = Path(__file__).parent
HARNESSES = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.c"))
SUPPORT = [FOLDER / name for name in ("input.c", "nets.c", "use_table.c")]
WRAP = "-Wl,--wrap=fdl_kernels_here"  # use_table.c chooses the inner loops

# A sanitiser ends the program where it sees something; a fuzzer keeps what led there.
FUZZER = "-fsanitize=fuzzer"
SANITISED = [
    *("-O1", "-g", "-fno-sanitize-recover=all"),
    "-fsanitize=address,undefined,implicit-conversion,fuzzer-no-link",
]


def build_objects(compiler: str, flags: Sequence[str], folder: Path) -> list[Path]:
    """The library and what the harnesses share."""
    return compile_objects(compiler, [f"-I{FOLDER}", *flags], folder, [*SOURCES, *SUPPORT])


def link(
    compiler: str, flags: Sequence[str], harness: str, objects: Sequence[Path], *more: Path
) -> Path:
    """A harness as a program, beside the objects."""
    program = objects[0].with_name(harness)
    files = [FOLDER / f"fuzz_{harness}.c", *more, *objects]
    arguments: list[str | Path] = [f"-I{FOLDER}", *flags, WRAP, *files, "-o", program]
    run_compiler(compiler, arguments, program.parent)
    return program


def build_fuzzers(folder: Path, harnesses: Sequence[str]) -> dict[str, Path]:
    """Programs with libFuzzer, by harness."""
    objects = build_objects("clang", SANITISED, folder)
    return {name: link("clang", [*SANITISED, FUZZER], name, objects) for name in harnesses}


def corpus(harness: str) -> Path:
    """The folder of the cases that are kept."""
    return FOLDER / "corpus" / harness
