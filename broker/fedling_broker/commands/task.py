"""`fedling-broker task`: what the fleet learns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from fedling_broker import onnx
from fedling_broker.commands import accuracy, installation
from fedling_broker.commands.hindrances import hindrances, print_with_hindrances
from fedling_broker.config import Config
from fedling_broker.store.models import ModelRow
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Store
from fedling_broker.store.tasks import TaskRow
from fedling_broker.tasks import changes as task_changes
from fedling_broker.tasks import task_file
from fedling_broker.tasks.cost import cost_of
from fedling_broker.tasks.task_file import Normalise, Task
from fedling_native import Loss, parameter_counts
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.limits import MAX_WORDS

if TYPE_CHECKING:
    from fedling_broker.onnx.importer import Imported
    from fedling_broker.onnx.quantise import Change


SCALED_BY = {
    Normalise.FLEET: "samples are scaled by all devices' mean and deviation, which a first round"
    ' asks for; where sensors differ, and each device sees every label: normalise = "device"',
    Normalise.DEVICE: "samples are scaled by each device's own mean and deviation: right where each"
    ' device sees every label, else use normalise = "fleet"',
    Normalise.NONE: "samples are not scaled: the stream's resolution must be 1/32 of what shall"
    " count as 1",
}

UNTESTED = (
    "nobody tests how good the model is: write holdout = 0.2 in [training], and devices keep a"
    " fifth of their data for it"
)
TESTED = "each round devices test the model on what they keep out of training: round show"


def add(args: argparse.Namespace) -> Exit:
    task, text = task_file.load_task(args.file)
    start = _start(args, task)
    state = None if start is None else start.state
    with installation.opened(args) as (found, store):
        store.add_task(task, text, installation.first_model_seed(found, task.name), state)
    parameters = sum(parameter_counts(task.spec.layers))
    words = f"task {task.name}: {parameters:,} parameters; a running `serve` takes it up at once"
    _tell(args, task, start, words)
    return Exit.OK


def check(args: argparse.Namespace) -> Exit:
    task, _ = task_file.load_task(args.file)
    start = _start(args, task)
    _tell(args, task, start, f"{args.file}: task {task.name} is sound")
    return Exit.OK


def _start(args: argparse.Namespace, task: Task) -> Imported | None:
    """Import a first model. Raises OnnxError."""
    if args.start is None:
        return None
    onnx.require()
    if not args.start.exists():
        raise Missing(f"{args.start}: there is no such file")
    from fedling_broker.onnx import importer, walk  # they import an extra

    order = walk.Order(args.input_order) if args.input_order else None
    return importer.import_model(args.start, task.spec, order)


def _tell(args: argparse.Namespace, task: Task, start: Imported | None, words: str) -> None:
    cost = cost_of(task)
    if args.json:
        output.print_json(
            {
                "task": task.name,
                "parameters": sum(parameter_counts(task.spec.layers)),
                "start": None if start is None else str(args.start),
                "input_order": None if start is None else str(start.found.order),
                "input_order_is_sure": start is None or not start.found.either,
                "layers": [] if start is None else [asdict(change) for change in start.changes],
                "normalise": task.spec.normalise,
                "holdout": task.training.holdout / 1000,
                "cost": asdict(cost),
            }
        )
        return
    if start is not None:
        _tell_of_start(args, start)
    print(words)
    print(SCALED_BY[Normalise(task.spec.normalise)])
    if task.spec.loss is Loss.SOFTMAX:
        print(TESTED if task.training.holdout else UNTESTED)
    print(cost.sentence)


def _tell_of_start(args: argparse.Namespace, start: Imported) -> None:
    found = start.found
    print(f"first model: {args.start}, its input read {found.order}, rounded to integers:")
    output.print_rows([_row(change) for change in start.changes], empty="")
    if found.either:
        print(
            f"fedling-broker: {args.start}: the other order fits as well and gives another model;"
            f" who made the file knows: say --input-order {found.order} if this one is right",
            file=sys.stderr,
        )


def _row(change: Change) -> dict[str, object]:
    """Make a row; three digits are enough for a person."""
    cells = asdict(change)
    return {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in cells.items()}


def list_(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        listed = rows(found, store, as_json=args.json)
    print_rows(listed, as_json=args.json)
    return Exit.OK


def rows(found: Config, store: Store, *, as_json: bool) -> list[dict[str, object]]:
    """A row of each task, with what hinders it."""
    why, listed = hindrances(found, store), list[dict[str, object]]()
    for row in store.tasks.rows():
        plans = store.rounds.plans(row.name)
        newest = store.models.newest(row.name)
        listed.append(
            {
                "task": row.name,
                **_pause_of(row, as_json=as_json),
                "rounds": store.models.folded(row.name),
                "open": bool(plans) and not plans[-1].closed,
                "model": newest.version,
                "accuracy": _accuracy(store, row, plans, as_json=as_json),
                "normalise": _scaling(store, row, newest),
                "hindrance": why.get(row.name),
            }
        )
    return listed


def _pause_of(row: TaskRow, *, as_json: bool) -> dict[str, object]:
    if as_json:
        return {"paused": row.paused, "why_paused": row.why_paused}
    return {"paused": row.why_paused or row.paused}


def print_rows(listed: list[dict[str, object]], *, as_json: bool) -> None:
    """Print what rows() has made."""
    print_with_hindrances(
        listed if as_json else accuracy.for_people(listed),
        as_json=as_json,
        empty="no tasks; add one: fedling-broker task add",
    )


def _accuracy(store: Store, row: TaskRow, plans: list[PlanRow], *, as_json: bool) -> object:
    """Make the cell of the newest model that was tested: the newest of all is not yet, often."""
    found = accuracy.newest(store, row.name, plans)
    if found is None or as_json:
        return accuracy.cell(found, as_json=as_json)
    return f"{found.words} (model {found.version})"


def _scaling(store: Store, row: TaskRow, newest: ModelRow) -> str:
    """Say how samples are scaled, and how far that is."""
    try:
        how = installation.task(store, row.name).spec.normalise
    except SettingsError:  # of another version; the list names it all the same
        return "unknown"
    return f"{how}, not measured yet" if how == Normalise.FLEET and newest.scale is None else how


def update(args: argparse.Namespace) -> Exit:
    """Change what needs no new model. Raises BadInput, Missing, SettingsError."""
    task, text = task_file.load_task(args.file)
    with installation.opened(args) as (_, store):
        done = task_changes.apply(store, args.task, task, text)
    if args.json:
        output.print_json({"task": args.task, "changed": done.keys, "from_round": done.from_round})
    elif not done.keys:
        print(f"task {args.task}: {args.file} says what is so already")
    else:
        print(f"task {args.task}: {', '.join(done.keys)}; it keeps model {done.model}")
        print(f"how devices train changes with round {done.from_round}, all else at once")
    return Exit.OK


def show(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        installation.task(store, args.task)
        row = next(row for row in store.tasks.rows() if row.name == args.task)
    if args.json:
        output.print_json({"task": row.name, "paused": row.paused, "text": row.text})
    else:
        print(row.text, end="")
    return Exit.OK


def pause(args: argparse.Namespace) -> Exit:
    """Raises BadInput: devices would refuse the reason; Missing."""
    why = args.reason
    if not why.isprintable() or len(why.encode()) > MAX_WORDS:
        raise BadInput(f"--reason: a line of at most {MAX_WORDS} bytes, without control characters")
    names = _each(args, lambda store, name: store.tasks.pause(name, why))
    words = "ends the round in work, then rests"
    return _tell_pause(args, names, words, {"paused": True, "why_paused": why})


def resume(args: argparse.Namespace) -> Exit:
    """Raises Missing."""
    names = _each(args, lambda store, name: store.tasks.resume(name))
    return _tell_pause(args, names, "goes on", {"paused": False})


def _each(args: argparse.Namespace, change: Callable[[Store, str], bool]) -> list[str]:
    """Change the tasks that were named; returns their names."""
    with installation.opened(args) as (_, store):
        names = [row.name for row in store.tasks.rows()] if args.all else [args.task]
        for name in names:
            if not change(store, name):
                raise Missing(f"no task {name}")
    return names


def _tell_pause(
    args: argparse.Namespace, names: list[str], does: str, facts: dict[str, object]
) -> Exit:
    words = "\n".join(f"task {name}: {does}" for name in names)
    which: dict[str, object] = {"tasks": names} if args.all else {"task": args.task}
    output.print_answer(words or "no tasks", which | facts, as_json=args.json)
    return Exit.OK


def remove(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        if not store.tasks.remove(args.task):
            raise Missing(f"no task {args.task}")
    output.print_answer(
        f"task {args.task} is removed with its rounds and models",
        {"task": args.task, "removed": True},
        as_json=args.json,
    )
    return Exit.OK
