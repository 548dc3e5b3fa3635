"""`fedling-sim board`: its verbs, for people and as JSON."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from fedling_protocol.exits import Exit
from fedling_sim.board import selftest
from fedling_sim.board.boards import BOARDS, KIB, Board
from fedling_sim.board.selftest import Report
from fedling_sim.board.toolchain import Build

SHOWN_WRONG = 5


def list_boards(args: argparse.Namespace) -> int:
    """Every board with its core and its memory."""
    if args.json:
        print(json.dumps([asdict(board) for board in BOARDS]))
        return Exit.OK
    table = _table(("board", "core"), ("flash", "RAM"))
    for board in BOARDS:
        table.add_row(board.name, board.core, _size(board.flash.size), _size(board.ram.size))
    Console().print(table)
    return Exit.OK


def run_selftest(args: argparse.Namespace) -> int:
    """The self-test on one board, or on each; FAILED if one of them gets one bit wrong."""
    build = Build(args.compiler, f"-O{args.optimisation}")
    boards = BOARDS if args.board is None else (args.board,)
    reports = {board: selftest.run(board, build) for board in boards}
    if args.json:
        print(json.dumps([_record(board, build, reports[board]) for board in boards]))
    else:
        _show(reports)
    return Exit.FAILED if any(report.wrong for report in reports.values()) else Exit.OK


def _record(board: Board, build: Build, report: Report) -> dict[str, object]:
    return {
        "board": board.name,
        "core": board.core,
        "compiler": build.compiler,
        "optimisation": build.optimisation,
        "wrong": report.wrong,
        **asdict(report),
    }


def _show(reports: dict[Board, Report]) -> None:
    console = Console()
    trainings = next(iter(reports.values())).instructions
    names = [name.split(",")[0] for name in trainings]
    table = _table(("board", "core", "isa"), ("right", "stack", *names))
    for board, report in reports.items():
        right = f"{len(report.cases) - len(report.wrong)}/{len(report.cases)}"
        counts = [f"{count:,}" for count in report.instructions.values()]
        table.add_row(board.name, board.core, report.isa, right, f"{report.stack} B", *counts)
    console.print(table)
    console.print(f"{', '.join(names)}: instructions of a training step", style="dim")
    for board, report in reports.items():
        for name in report.wrong[:SHOWN_WRONG]:
            console.print(f"[red]wrong[/] on {board.name}: {name}", highlight=False)


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _size(size: int) -> str:
    return f"{size // KIB} KB"
