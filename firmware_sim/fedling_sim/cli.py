"""The command `fedling-sim`: its verbs and their options."""

import argparse
import json
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from fedling_native import MAX_BATCH
from fedling_protocol.command.main import run
from fedling_protocol.command.parser import SHOWN, fraction, new_parser, whole
from fedling_protocol.exits import Exit
from fedling_sim.board import boards
from fedling_sim.chaos.fault import End

NAME = "fedling-sim"
LONGEST_SIZE = 16  # characters of a number of bytes
MOST_SECONDS = 86_400
MOST_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = build_parser().parse_args(arguments)
    code = run(NAME, lambda: _work(args), "fedling_sim.failures", as_json=args.json)
    if code == Exit.INTERRUPTED:
        print(f"{NAME}: interrupted; everything is stopped", file=sys.stderr)
    return code


def _work(args: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: nothing is left behind
    return int(args.run(args))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser, verbs = new_parser(
        NAME,
        "Many devices on one laptop: real agents, a real aggregator, a real MQTT broker; their"
        " batteries, heat and network are simulated.",
        "run examples/watch/task.toml",
        lambda parser: None,
    )
    _add_run(verbs.subparsers)
    _add_report(verbs.subparsers)
    _add_board(verbs.subparsers)
    _add_fits(verbs.subparsers)
    _add_proxy(verbs.subparsers)
    return parser


def _add_run(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _add(verbs, "run", "play a task with simulated devices and write a report", "run TASK")
    run.set_defaults(run=_run)
    run.add_argument("task", type=Path, metavar="TASK", help="a task file with [simulation]")
    run.add_argument(
        "--seed", type=whole(0, 2**31), metavar="N", help="the seed, instead of simulation.seed"
    )
    run.add_argument(
        "--devices",
        type=whole(1),
        metavar="N",
        help="take the first N devices only; the cohort shrinks",
    )
    run.add_argument(
        "--rounds", type=whole(1), metavar="N", help="play so many rounds, instead of task.rounds"
    )
    run.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where report.html and run.json go, and in state/ the files of all processes"
        " (default runs/TASK-SEED, without state/; TASK-SEED.2 if that is there already)",
    )
    run.add_argument("--keep", action="store_true", help="keep state/ even without --out")
    run.add_argument("--json", action="store_true", help="print the record as JSON, no progress")


def _add_report(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = _add(verbs, "report", "write the report of a run again", "report runs/watch-1")
    report.set_defaults(run=_report)
    report.add_argument(
        "directory", type=Path, metavar="DIR", help="a folder with the run.json of a run"
    )
    report.add_argument("--json", action="store_true", help="print the record as JSON instead")


def _add_board(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = _add(verbs, "board", "run the training kernel on Cortex-M boards in QEMU", "board list")
    nouns = group.add_subparsers(metavar="VERB", required=True)
    boards = _add(nouns, "list", "list all boards, their cores and memory", "board list")
    boards.set_defaults(run=_board_list)
    boards.add_argument("--json", action="store_true", help="print JSON instead of text")
    selftest = _add(
        nouns, "selftest", "run the golden vectors on boards: they must give the same bits",
        "board selftest --board microbit --compiler clang -O3",
    )  # fmt: skip
    selftest.set_defaults(run=_board_selftest)
    selftest.add_argument(
        "--board", type=_board, metavar="NAME", help="take this board, by name or"
        " core as `board list` has it (default: all)",
    )  # fmt: skip
    selftest.add_argument(
        "--compiler",
        choices=["gcc", "clang"],
        default="gcc",
        help="compile with it (default: %(default)s)",
    )
    selftest.add_argument(
        "-O", "--opt", dest="optimisation", choices=["0", "1", "2", "3", "s"], default="2",
        help="how much the compiler optimises (default: %(default)s)",
    )  # fmt: skip
    selftest.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_fits(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fits = _add(
        verbs, "fits", "say whether a board can train a task: flash, RAM, instructions, energy",
        "fits examples/watch/cnn.toml --board cortex-m4 --ram 64k --flash 256k",
    )  # fmt: skip
    fits.set_defaults(run=_fits)
    fits.add_argument("task", type=Path, metavar="TASK", help="a task file")
    fits.add_argument(
        "--board", type=_board, required=True, metavar="NAME",
        help="the board, by name or core as `board list` has it",
    )  # fmt: skip
    for name in ("ram", "flash"):
        fits.add_argument(
            f"--{name}", type=_size, required=True, metavar="SIZE",
            help=f"bytes of {name.replace('ram', 'RAM')} that the device has left: 65536, 64k, 1M",
        )  # fmt: skip
    fits.add_argument(
        "--batch",
        type=whole(1, MAX_BATCH),
        metavar="N",
        help="examples in one step, instead of training.batch",
    )
    fits.add_argument(
        "--examples", type=whole(1), metavar="N",
        help="examples of a device in a round (default: training.min_examples)",
    )  # fmt: skip
    fits.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_proxy(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    proxy = _add(
        verbs, "proxy", "put a link that fails between any MQTT client and any MQTT broker",
        "proxy --listen 127.0.0.1:1884 --to 127.0.0.1:1883 --cut-after 30k --end half-open",
    )  # fmt: skip
    proxy.set_defaults(run=_proxy)
    for option, default, where in (
        ("--listen", ("127.0.0.1", 0), "clients connect to (default: a free port of 127.0.0.1)"),
        ("--to", None, "the MQTT broker listens on"),
    ):
        proxy.add_argument(
            option, type=_address, default=default, required=default is None,
            metavar="HOST:PORT", help=f"where {where}",
        )  # fmt: skip
    _add_faults(proxy)
    _add_messages(proxy)
    proxy.add_argument("--json", action="store_true", help="print each line as a JSON object")


def _add_faults(proxy: argparse.ArgumentParser) -> None:
    for option, meaning in (
        ("--delay", "every byte comes so much later, each way"),
        ("--jitter", "and at most so much more, drawn anew again and again"),
    ):
        proxy.add_argument(
            option, type=fraction(0, MOST_SECONDS), default=0.0, metavar="SECONDS", help=meaning
        )
    for option, meaning in (
        ("--up-rate", "bytes a second that pass from client to broker: 500, 2k"),
        ("--down-rate", "bytes a second that pass from broker to client"),
        ("--cut-after", "end a connection after so many bytes one way"),
    ):
        proxy.add_argument(option, type=_size, metavar="SIZE", help=meaning)
    proxy.add_argument(
        "--end", choices=[str(end) for end in End], default=str(End.CUT),
        help="how connections end: cut resets both ends, half-open tells neither, client-holds"
        " the broker only, server-holds the client only (default: %(default)s)",
    )  # fmt: skip
    proxy.add_argument(
        "--times", type=whole(1), metavar="N", help="only the first N connections end so"
    )
    proxy.add_argument("--refuse", action="store_true", help="refuse all connections")
    proxy.add_argument(
        "--mute", action="store_true", help="accept, and pass nothing until it is over"
    )
    proxy.add_argument(
        "--flap", type=fraction(0, MOST_SECONDS), metavar="SECONDS",
        help="the fault comes and goes: about so long with it, about so long without",
    )  # fmt: skip
    proxy.add_argument(
        "--seed", type=whole(0), default=1, metavar="N", help="of --flap (default: %(default)s)"
    )


def _add_messages(proxy: argparse.ArgumentParser) -> None:
    proxy.add_argument(
        "--at", metavar="WORD",
        help="wait with the fault (--end, if there is no other) for the middle of the first message"
        " whose topic has this in it: /receipt/; plain MQTT only, as the next three",
    )  # fmt: skip
    for option, meaning in (
        ("--lost", "of all messages are acknowledged and lost"),
        ("--doubled", "come twice"),
        ("--late", "come late, behind others"),
    ):
        proxy.add_argument(
            option,
            type=fraction(0, 1),
            default=0.0,
            metavar="SHARE",
            help=f"so many, 0 to 1, {meaning}",
        )


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", verb: str, does: str, example: str
) -> argparse.ArgumentParser:
    words = example.replace("TASK", "examples/watch/task.toml --seed 2")
    return verbs.add_parser(
        verb,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=f"example:\n  {NAME} {words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _board(text: str) -> boards.Board:
    try:
        return boards.find(text[:SHOWN])
    except boards.NoSuchBoard as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _board_list(args: argparse.Namespace) -> int:
    from fedling_sim.board import command

    return command.list_boards(args)


def _board_selftest(args: argparse.Namespace) -> int:
    from fedling_sim.board import command

    return command.run_selftest(args)


def _size(text: str) -> int:
    """Read a number of bytes: 65536, 64k, 1M."""
    found = re.fullmatch(r"(\d+)([kM]?)", text)
    if not found or len(text) > LONGEST_SIZE or int(found[1]) < 1:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]}: allowed: bytes, as in 65536, 64k or 1M")
    return int(found[1]) * {"": 1, "k": boards.KIB, "M": boards.MIB}[found[2]]


def _address(text: str) -> tuple[str, int]:
    """Read a host and a port; IPv6 in brackets."""
    found = re.fullmatch(r"\[?([^]]+?)\]?:(\d{1,5})", text)
    if not found or int(found[2]) > MOST_PORT:
        raise argparse.ArgumentTypeError(
            f"{text[:SHOWN]}: allowed: HOST:PORT, as in 127.0.0.1:1883"
        )
    return found[1], int(found[2])


def _proxy(args: argparse.Namespace) -> int:
    from fedling_sim.chaos import command

    return command.run(args)


def _fits(args: argparse.Namespace) -> int:
    from fedling_sim import fits

    return fits.run(args)


def _run(args: argparse.Namespace) -> int:
    from fedling_sim import places, progress, run, summary

    scenario, data = run.prepare(args.task, args.seed, args.devices, args.rounds)
    console = Console()
    display = progress.for_console(console, silent=args.json)
    with places.place(scenario, args.out) as out:
        try:
            with places.workplace(out, keep=args.keep or args.out is not None) as directory:
                result = run.run(scenario, data, directory, display)
        finally:
            display.close()
        page = run.write(result, out)
    if args.json:
        print(json.dumps(asdict(result)))
    else:
        summary.show(console, result, page, args.task)
    if result.interrupted:
        raise KeyboardInterrupt
    return Exit.OK if result.sound else Exit.FAILED


def _report(args: argparse.Namespace) -> int:
    from fedling_sim import record, report

    result = record.load(args.directory)
    if args.json:
        print(json.dumps(asdict(result)))
    else:
        print(report.write(result, args.directory))
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
