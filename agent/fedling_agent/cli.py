"""The command `fedling-agent`: its options, and from an exception to an exit code.

Each verb lives in a module of `commands/` that is imported when it is typed: a board takes long
enough to start Python.
"""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_protocol.exits import Exit

NAME = "fedling-agent"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = _parse(arguments)
    logging.basicConfig(format=f"{NAME}: %(message)s", level=logging.WARNING)
    from fedling_agent.commands.failures import exit_code  # not needed for --help

    try:
        code = int(importlib.import_module(f"fedling_agent.commands.{args.verb}").run(args))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        known = exit_code(error)
        if known is None:
            raise  # a bug: its traceback says where
        print(f"{NAME}: {error}", file=sys.stderr)
        return known


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """argparse takes FILE for absent when an option stands between it and what is before it."""
    parser = build_parser()
    args, rest = parser.parse_known_args(arguments)
    if len(rest) == 1 and not rest[0].startswith("-") and getattr(args, "file", "") == "-":
        args.file = rest[0]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="One device of a fleet: it learns from its own examples, when it is allowed.",
        epilog=f"example:\n  {NAME} status",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_service(_Verbs(verbs))
    _add_data(_Verbs(verbs))
    _add_history(_Verbs(verbs))
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{NAME} {version('fedling')}")
        parser.exit()


class _Verbs:
    """Adds verbs that look alike."""

    def __init__(self, verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
        self._verbs = verbs

    def add(
        self, verb: str, does: str, example: str, *, data: bool = True
    ) -> argparse.ArgumentParser:
        """data: it prints data, so that --json makes sense."""
        parser = self._verbs.add_parser(
            verb,
            help=does,
            description=does[0].upper() + does[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(verb=verb)
        parser.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="agent.toml (default /etc/fedling/agent.toml)",
        )
        parser.add_argument(
            "--state",
            type=Path,
            metavar="DIR",
            help="what the device keeps (default: paths.state of the configuration, "
            "else $STATE_DIRECTORY, /var/lib/fedling-agent, ~/.local/state/fedling)",
        )
        if data:
            parser.add_argument("--json", action="store_true", help="print JSON")
        return parser


def _add_service(verbs: _Verbs) -> None:
    verbs.add(
        "init",
        "make the device's key and secret, unless they are there, and print who it is",
        f"{NAME} init",
    )
    run = verbs.add(
        "run",
        "be the device: connect, take part in rounds, answer predictions, until SIGTERM",
        f"{NAME} run --config agent.toml --state ./state",
        data=False,
    )
    run.add_argument(
        "--log",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the least that is worth a line on standard error (default info)",
    )
    verbs.add("status", "tell what the device does and, if it is nothing, why", f"{NAME} status")
    verbs.add(
        "conditions",
        "read power, heat and network now, and say what they allow",
        f"{NAME} conditions --json",
    )
    verbs.add(
        "check",
        "check configuration, identity, store, streams, the MQTT broker and the service",
        f"{NAME} check",
    )


def _add_data(verbs: _Verbs) -> None:
    ingest = verbs.add(
        "ingest",
        "store examples: rows with a recording, a value for each channel, and a label if known",
        f"read-sensor | {NAME} ingest wrist --format ndjson",
    )
    ingest.add_argument("stream", metavar="STREAM", help="a stream that agent.toml names")
    _add_input(ingest)
    predict = verbs.add(
        "predict",
        "say what the newest model makes of a window of samples, or of one window after another",
        f"{NAME} predict --task watch window.csv",
    )
    predict.add_argument("--task", default="", metavar="TASK", help="needed if there are several")
    _add_input(predict)


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="default -, standard input"
    )
    parser.add_argument(
        "--format",
        choices=("csv", "ndjson"),
        help="csv with a header, or a JSON object a line (default: by the file's ending, else csv)",
    )


def _add_history(verbs: _Verbs) -> None:
    sent = verbs.add(
        "sent", "list every message that left the device, newest first", f"{NAME} sent --limit 5"
    )
    sent.add_argument(
        "--limit", type=int, default=20, metavar="N", help="at most so many (default 20)"
    )
    replay = verbs.add(
        "replay",
        "compute a past update again and compare; without PLAN list the last 100 plans",
        f"{NAME} replay 3f2a",
    )
    replay.add_argument(
        "plan", nargs="?", metavar="PLAN", help="a plan id, or as much of it as is unique"
    )
    replay.add_argument(
        "--order", action="store_true", help="print which examples were in which batch instead"
    )


if __name__ == "__main__":
    sys.exit(main())
