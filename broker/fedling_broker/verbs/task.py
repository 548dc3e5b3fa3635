"""`task`: what the fleet learns."""

from pathlib import Path

from fedling_protocol.command.parser import Verbs


def add(program: Verbs) -> None:
    verbs = program.group("task", "add, list, change and remove what the fleet learns", "list")
    for verb, does, example in (
        ("add", "add a task and make its first model", "watch.toml"),
        ("check", "check a task file without adding it", "watch.toml --start model.onnx"),
    ):
        parser = verbs.add(verb, does, example, json=True)
        parser.add_argument("file", type=Path, help="the task file")
        parser.add_argument(
            "--start", type=Path, metavar="MODEL",
            help="begin with this float model, an ONNX file with the task's layers (default: draw"
            " random weights)",
        )  # fmt: skip
        parser.add_argument(
            "--input-order", choices=("channels-first", "channels-last"),
            help="how the ONNX file lays out an example: all samples of a channel together, as"
            " PyTorch does, or all channels of a sample (default: what its shapes tell)",
        )  # fmt: skip
    update = verbs.add(
        "update",
        "change what of a task needs no new model: rounds, cohort, training, conditions",
        "watch watch.toml",
        json=True,
    )
    update.add_argument("task", help="the name of the task")
    update.add_argument("file", type=Path, help="the task file as it is to be")
    verbs.add("list", "list all tasks", "--json", run="task.list_", json=True)
    for verb, does in (
        ("show", "print the file of a task"),
        ("remove", "remove a task with its rounds, verdicts and models"),
    ):
        verbs.add(verb, does, "watch", json=True).add_argument("task", help="the name of the task")
    for verb, does, example in (
        (
            "pause",
            "let a task end the round in work and open no other",
            '--all --reason "firmware week"',
        ),
        ("resume", "let a paused task open rounds again", "--all"),
    ):
        parser = verbs.add(verb, does, example, json=True)
        if verb == "pause":
            parser.add_argument(
                "--reason",
                default="",
                metavar="TEXT",
                help="words that `fedling-agent status` shows on devices, at most 200 bytes",
            )
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("task", nargs="?", help="the name of the task")
        which.add_argument("--all", action="store_true", help=f"{verb} all tasks")
