"""Runs an image on a board that QEMU plays, and counts its instructions."""

import subprocess
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_sim.board.boards import Board
from fedling_sim.board.toolchain import tool

QEMU = "qemu-system-arm"
TIMEOUT_S = 300.0  # far more than any image of ours runs


class ImageHangs(RuntimeError):
    """An image that did not end in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program printed and how it ended."""

    lines: tuple[str, ...]
    status: int
    errors: str  # of QEMU itself


def command(board: Board, image: Path) -> list[str]:
    """Make the command line. An instruction takes a nanosecond of the board's time (-icount)."""
    console = ["-chardev", "stdio,id=console", "-semihosting-config"]
    return [
        tool(QEMU, QEMU),
        *("-M", board.name, "-display", "none", "-monitor", "none", "-serial", "none"),
        *(*console, "enable=on,target=native,chardev=console", "-icount", "shift=0"),
        *("-kernel", str(image)),
    ]


def run(board: Board, image: Path, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Run an image to its end. Raises ToolMissing and ImageHangs."""
    try:
        done = subprocess.run(
            command(board, image),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise ImageHangs(f"{image} runs for more than {timeout_s:.0f} s") from None
    return Outcome(tuple(done.stdout.splitlines()), done.returncode, done.stderr)
