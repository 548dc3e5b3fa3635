"""`round`, `model` and `export`: what happened, and what came of it."""

from pathlib import Path

from fedling_protocol.command.parser import Verbs, add_limit, whole


def add(verbs: Verbs) -> None:
    _add_rounds(verbs)
    _add_models(verbs)
    _add_export(verbs)


def _add_rounds(program: Verbs) -> None:
    verbs = program.group("round", "show what happened, and verify that it adds up", "list")
    listing = verbs.add("list", "list rounds, the oldest first", run="round.list_", json=True)
    listing.add_argument("task", nargs="?", help="list rounds of this task only")
    add_limit(listing, "rounds of each task")
    show = verbs.add("show", "show one round: verdicts, bytes, hashes", "watch 3 --json", json=True)
    show.add_argument("task", help="the name of the task")
    show.add_argument("round", type=whole(0), help="the number of the round")
    add_limit(show, "verdicts")
    verify = verbs.add(
        "verify",
        "recompute every model from the journal's sums, and sums from updates where they are kept",
        "--all",
        json=True,
    )
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("task", nargs="?", help="verify models of this task only")
    which.add_argument("--all", action="store_true", help="verify models of all tasks")


def _add_models(program: Verbs) -> None:
    verbs = program.group("model", "list the versions of a model, go back to one", "list watch")
    listing = verbs.add(
        "list", "list versions of a model, the oldest first", "watch", run="model.list_", json=True
    )
    listing.add_argument("task", help="the name of the task")
    add_limit(listing, "versions")
    rollback = verbs.add(
        "rollback",
        "make the weights of an old version the newest model, as a new version",
        "watch 39",
        json=True,
    )
    rollback.add_argument("task", help="the name of the task")
    rollback.add_argument("version", type=whole(1), help="the version to go back to")
    weights = verbs.add(
        "weights",
        "write the weights of a version into a file",
        "watch model.bin --version 12",
        json=True,
    )
    weights.add_argument("task", help="the name of the task")
    weights.add_argument("file", type=Path, help="the file to write")
    weights.add_argument("--version", type=whole(1), help="the version (default: the newest)")


def _add_export(verbs: Verbs) -> None:
    export = verbs.add(
        "export",
        "write a model as an ONNX file: the kernel's integers bit for bit, or with --float float32",
        "watch --onnx watch.onnx --check 10000",
        json=True,
    )
    export.add_argument("task", help="the name of the task")
    export.add_argument(
        "--onnx", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    export.add_argument(
        "--float", action="store_true", help="write float32, for tools that want floats"
    )
    export.add_argument("--version", type=whole(1), help="the version (default: the newest)")
    export.add_argument(
        "--check", type=whole(0), default=0, metavar="N",
        help="run N random examples in onnxruntime and in the kernel first; without --float all"
        " numbers must be the same (default: %(default)s)",
    )  # fmt: skip
