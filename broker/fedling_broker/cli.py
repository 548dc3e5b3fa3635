"""The command `fedling-broker`: its verbs, whose options are in verbs/."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_broker.verbs import authority, device, history, server, service, task
from fedling_protocol.command.main import run_verb
from fedling_protocol.command.parser import new_parser

NAME = "fedling-broker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = build_parser().parse_args(arguments)
    return run_verb(NAME, "fedling_broker.commands", args)


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser, verbs = new_parser(
        NAME,
        "The aggregator of a fleet: opens rounds, adds up updates, publishes models.",
        "serve",
        _add_common,
    )
    for group in (server, service, task, device, authority, history):
        group.add(verbs)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="the aggregator's configuration (default: ./broker.toml, then"
        " /etc/fedling/broker.toml)",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
