"""Flash, RAM and stack of firmware images for every Cortex-M board.

`selftest` has the whole kernel; `dense` is a device that trains 64-32-10 one example at a time,
with what that needs of the kernel. Of an image: text, data and bss as `size` counts them, the flash
of the kernel alone, and the deepest stack of a call into it, by the call graph that gcc writes.

    python -m bench.firmware_sizes --check    fails where an image outgrew the committed baseline
    python -m bench.firmware_sizes --write    makes today's sizes the baseline
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.report import Cell, Report, table
from bench.support import baseline
from bench.support.baseline import Change, Margin, Measured, Sizes
from fedling_native import Loss, dense
from fedling_sim.board import selftest, sizes, toolchain
from fedling_sim.board.boards import BOARDS, Board
from fedling_sim.board.sizes import Part
from fedling_sim.board.toolchain import Build, Program
from fedling_sim.sizing import measure
from fedling_sim.sizing.workload import Job
from tests.native import stack

BASELINE = Path(__file__).parent / "firmware_sizes.json"
BUILD = Build(flags=(stack.GRAPH_FLAG,))
DENSE = Job((dense(64, 32, relu=True), dense(32, 10)), Loss.SOFTMAX, 1)
SIZE = "arm-none-eabi-size"
ACCEPT = "make baseline"


@dataclass(frozen=True, slots=True)
class Image:
    """A program on a board."""

    name: str
    board: Board

    @property
    def title(self) -> str:
        return f"{self.name} {self.board.core}"

    def program(self, folder: Path) -> Program:
        if self.name == "selftest":
            return selftest.program(BUILD.root)
        return measure.program(self.board, [DENSE], DENSE.left_out, BUILD, folder)


IMAGES = [Image(name, board) for name in ("selftest", "dense") for board in BOARDS]


def measured() -> Measured:
    """All images, built side by side."""
    with (
        tempfile.TemporaryDirectory(prefix="fedling-sizes-") as name,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = pool.map(lambda image: sizes_of(image, Path(name, image.title)), IMAGES)
        images = {image.title: of for image, of in zip(IMAGES, found, strict=True)}
    return Measured(compiler(), images)


def sizes_of(image: Image, folder: Path) -> Sizes:
    """Build an image in a folder that is made for it, and measure it."""
    folder.mkdir()
    built = toolchain.build_image(image.board, image.program(folder), BUILD, folder)
    text, data, bss = sections(built)
    return {
        "text": text,
        "data": data,
        "bss": bss,
        "kernel": sizes.flash_by_part(built)[Part.KERNEL],
        "stack": deepest(stack.read(folder / "kernel")),
    }


def sections(image: Path) -> list[int]:
    """text, data and bss; the reserved stack is a part of bss."""
    command = [toolchain.tool(SIZE, "binutils-arm-none-eabi"), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.splitlines()[1].split()[:3]]


def deepest(graph: stack.Graph) -> int:
    """Bytes of stack of the public function that takes most, with the inner loops of the core."""
    tables = graph.tables()
    return max(graph.depths("fdl_dsp" if "fdl_dsp" in tables else "fdl_plain").values())


def compiler() -> str:
    command = [toolchain.tool(toolchain.GCC, "gcc-arm-none-eabi"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


# --- against the baseline -------------------------------------------------------------------------


def check(before: Measured, now: Measured) -> bool:
    """Print what changed; whether nothing grew too much."""
    allowed = baseline.margin(before, now)
    if allowed is not baseline.SAME:
        print(
            f"firmware sizes: ANOTHER COMPILER than the baseline's: an image may grow by"
            f" {allowed}\n  here:     {now.compiler}\n  baseline: {before.compiler}"
        )
    changed = list(baseline.changes(before, now))
    wrong = [change for change in changed if change.exceeds(allowed)]
    if changed:
        print(table([row(change, allowed) for change in changed]))
    if wrong:
        print(
            f"firmware sizes: {len(wrong)} of {len(changed)} changes are too much: a size may grow"
            f" by {allowed}. If that is what the change costs, say so in the commit and accept it"
            f" with `{ACCEPT}`."
        )
        return False
    grew = sum(change.growth > 0 for change in changed)
    shrank = len(changed) - grew
    print(f"firmware sizes: {len(now.images)} images, {grew} sizes grew a little, {shrank} shrank")
    return True


def row(change: Change, allowed: Margin) -> dict[str, Cell]:
    return {
        "image": change.image,
        "what": change.what,
        "was": change.before,
        "is": change.now,
        "bytes": f"{change.growth:+}",
        "percent": f"{change.percent:+.1f}",
        "": "TOO MUCH" if change.exceeds(allowed) else "",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.firmware_sizes", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail where an image grew")
    what.add_argument("--write", action="store_true", help="write the baseline anew")
    args = parser.parse_args(arguments)
    now = measured()
    if args.check:
        return 0 if check(baseline.load(BASELINE), now) else 1
    if args.write:
        now.save(BASELINE)
        print(f"firmware sizes: {len(now.images)} images are the new baseline")
        return 0
    report = Report("firmware_sizes")
    for image, found in now.images.items():
        report.row(image=image, **found)
    report.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
