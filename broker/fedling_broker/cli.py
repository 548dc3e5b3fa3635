"""The command `fedling-broker`: its options, and from an exception to an exit code."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from fedling_protocol.exits import Exit

NAME = "fedling-broker"
ROOT_KEY = Path("root.key")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = build_parser().parse_args(arguments)
    from fedling_broker.commands.installation import exit_code  # not needed for --help

    module, function = args.run
    try:
        verb = getattr(importlib.import_module(f"fedling_broker.commands.{module}"), function)
        code = int(verb(args))
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


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="The aggregator of a fleet: opens rounds, adds up updates, publishes models.",
        epilog=f"example:\n  {NAME} serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_service(verbs)
    _add_tasks(_nouns(verbs, "task", "what the fleet learns"))
    _add_devices(_nouns(verbs, "device", "who belongs to the fleet"))
    _add_rounds(_nouns(verbs, "round", "what happened, and whether it adds up"))
    _add_models(_nouns(verbs, "model", "the versions of a model"))
    _add_export(verbs)
    return parser


Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _nouns(verbs: Verbs, noun: str, does: str) -> Verbs:
    parser = verbs.add_parser(
        noun,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=f"example:\n  {NAME} {noun} list{' watch' if noun == 'model' else ''}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_subparsers(metavar="VERB", required=True)


def _add(
    verbs: Verbs,
    words: str,
    does: str,
    example: str,
    run: tuple[str, str],
    *,
    json: bool = False,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        words.split()[-1],
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=f"example:\n  {NAME} {words}{' ' + example if example else ''}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="broker.toml (default: ./broker.toml, then /etc/fedling/broker.toml)",
    )  # fmt: skip
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _add_service(verbs: Verbs) -> None:
    init = _add(
        verbs, "init", "make keys, secret, database and broker.toml; what is there stays",
        "--fleet home --host 127.0.0.1", ("init", "init"),
    )  # fmt: skip
    init.add_argument("--fleet", default="home", help="name of the fleet (default: %(default)s)")
    init.add_argument("--host", default="127.0.0.1", help="MQTT broker (default: %(default)s)")
    init.add_argument("--port", type=int, default=1883, help="its port (default: %(default)s)")
    init.add_argument("--root-topic", default="fedling", help="default: %(default)s")
    init.add_argument("--state", default="broker-state", help="directory (default: %(default)s)")
    _add_root_key(init)
    serve = _add(verbs, "serve", "run the aggregator", "", ("serve", "serve"))
    serve.add_argument(
        "--log", default="info", choices=["debug", "info", "warning", "error"],
        help="the least level that is logged (default: %(default)s)",
    )  # fmt: skip
    _add(
        verbs, "check", "check configuration, keys and tasks; what was counted, also refusals", "",
        ("check", "check"), json=True,
    )  # fmt: skip


def _add_root_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root-key", type=Path, default=ROOT_KEY, metavar="FILE",
        help="file of the root key (default: %(default)s)",
    )  # fmt: skip


def _add_tasks(verbs: Verbs) -> None:
    for verb, does, example in (
        ("add", "add a task and make its first model", "watch.toml"),
        ("check", "check a task file without adding it", "watch.toml --start model.onnx"),
    ):
        parser = _add(verbs, f"task {verb}", does, example, ("task", verb), json=True)
        parser.add_argument("file", type=Path, help="the task file")
        parser.add_argument(
            "--start", type=Path, metavar="MODEL",
            help="begin with this float model, an ONNX file with the task's layers (default: draw"
            " random weights)",
        )  # fmt: skip
    _add(verbs, "task list", "all tasks", "--json", ("task", "list_"), json=True)
    for verb, does in (
        ("show", "print the file of a task"),
        ("pause", "end the round in work, open no other"),
        ("resume", "open rounds again"),
        ("remove", "remove a task with its rounds, verdicts and models"),
    ):
        _add(verbs, f"task {verb}", does, "watch", ("task", verb)).add_argument(
            "task", help="its name"
        )


def _add_devices(verbs: Verbs) -> None:
    add = _add(
        verbs, "device add", "sign a device's certificate with the root key",
        f"{'a' * 16} {'0' * 64} --root-key root.key", ("device", "add"),
    )  # fmt: skip
    add.add_argument("device", help="its id, as `fedling-agent init` prints it")
    add.add_argument("key", help="its public key, 64 hexadecimal digits")
    _add_root_key(add)
    _add(verbs, "device list", "all devices of the fleet", "", ("device", "list_"), json=True)
    _add(
        verbs, "device pending", "devices that asked and are not enrolled", "--json",
        ("device", "pending"), json=True,
    )  # fmt: skip
    remove = _add(verbs, "device remove", "take a certificate back", "a" * 16, ("device", "remove"))
    remove.add_argument("device", help="its id")


def _add_rounds(verbs: Verbs) -> None:
    listing = _add(verbs, "round list", "all rounds", "", ("round", "list_"), json=True)
    listing.add_argument("task", nargs="?", help="only of this task")
    show = _add(
        verbs, "round show", "one round: verdicts, bytes, hashes", "watch 3 --json",
        ("round", "show"), json=True,
    )  # fmt: skip
    show.add_argument("task", help="its name")
    show.add_argument("round", type=int, help="its number")
    verify = _add(
        verbs, "round verify",
        "recompute every model from the journal's sums, and sums from updates where they are kept",
        "--all", ("round", "verify"), json=True,
    )  # fmt: skip
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("task", nargs="?", help="only of this task")
    which.add_argument("--all", action="store_true", help="of all tasks")


def _add_models(verbs: Verbs) -> None:
    listing = _add(verbs, "model list", "all versions", "watch", ("model", "list_"), json=True)
    listing.add_argument("task", help="its name")
    weights = _add(
        verbs, "model weights", "write the weights of a version into a file",
        "watch model.bin --version 12", ("model", "weights"),
    )  # fmt: skip
    weights.add_argument("task", help="its name")
    weights.add_argument("file", type=Path, help="where to")
    weights.add_argument("--version", type=int, help="default: the newest")


def _add_export(verbs: Verbs) -> None:
    export = _add(
        verbs, "export",
        "write a model as an ONNX file: the kernel's integers bit for bit, or with --float float32",
        "watch --onnx watch.onnx --check 10000", ("export", "export"), json=True,
    )  # fmt: skip
    export.add_argument("task", help="its name")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="where to")
    export.add_argument("--float", action="store_true", help="float32, for tools that want floats")
    export.add_argument("--version", type=int, help="default: the newest")
    export.add_argument(
        "--check", type=int, default=0, metavar="N",
        help="run N random examples in onnxruntime and in the kernel first; without --float all"
        " numbers must be the same (default: %(default)s)",
    )  # fmt: skip
