"""`fedling-broker task`: what the fleet learns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from fedling_broker import onnx
from fedling_broker.aggregation.state import ServerState
from fedling_broker.commands import hindrance, installation
from fedling_broker.service import notices
from fedling_broker.store.devices import Devices
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_native import parameter_counts
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.wire.names import AGGREGATOR

if TYPE_CHECKING:
    from fedling_broker.onnx.quantise import Change


def add(args: argparse.Namespace) -> Exit:
    task, text = task_file.load_task(args.file)
    state, changes = _start(args, task)
    with installation.opened(args) as (found, store):
        store.add_task(task, text, installation.first_model_seed(found, task.name), state)
    parameters = sum(parameter_counts(task.spec.layers))
    words = f"task {task.name}: {parameters:,} parameters; a running `serve` takes it up at once"
    _tell(args, task, changes, words)
    return Exit.OK


def check(args: argparse.Namespace) -> Exit:
    task, _ = task_file.load_task(args.file)
    _, changes = _start(args, task)
    _tell(args, task, changes, f"{args.file}: task {task.name} is sound")
    return Exit.OK


def _start(args: argparse.Namespace, task: Task) -> tuple[ServerState | None, list[Change]]:
    """Import a first model; tell what rounding changed. Raises OnnxError."""
    if args.start is None:
        return None, []
    onnx.require()
    from fedling_broker.onnx import importer  # it imports an extra

    return importer.import_model(args.start, task.spec)


def _tell(args: argparse.Namespace, task: Task, changes: Sequence[Change], words: str) -> None:
    if args.json:
        output.print_json(
            {
                "task": task.name,
                "parameters": sum(parameter_counts(task.spec.layers)),
                "start": None if args.start is None else str(args.start),
                "layers": [asdict(change) for change in changes],
            }
        )
        return
    if changes:
        print(f"first model: {args.start}, rounded to integers, weights and errors in its units")
        output.print_rows([_row(change) for change in changes], empty="")
    print(words)


def _row(change: Change) -> dict[str, object]:
    """Make a row; three digits are enough for a person."""
    cells = asdict(change)
    return {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in cells.items()}


def list_(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        told, rows = notices.read(found.state_dir), []
        devices = frozenset(d.id for d in Devices(store.database, found.topics).certified())
        for row in store.tasks.rows():
            plans = store.rounds.plans(row.name)
            newest = store.models.newest(row.name)
            rows.append(
                {
                    "task": row.name,
                    "paused": row.paused,
                    "rounds": store.models.folded(row.name),
                    "open": bool(plans) and not plans[-1].closed,
                    "model": newest.version,
                    "hindrance": hindrance.of_task(store, row, devices - {AGGREGATOR}, told),
                }
            )
    output.print_rows(rows, as_json=args.json, empty="no tasks; add one: fedling-broker task add")
    return Exit.OK


def show(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        installation.task(store, args.task)
        print(next(row.text for row in store.tasks.rows() if row.name == args.task), end="")
    return Exit.OK


def pause(args: argparse.Namespace) -> Exit:
    return _set_paused(args, paused=True)


def resume(args: argparse.Namespace) -> Exit:
    return _set_paused(args, paused=False)


def _set_paused(args: argparse.Namespace, *, paused: bool) -> Exit:
    with installation.opened(args) as (_, store):
        if not store.tasks.pause(args.task, paused):
            raise Missing(f"no task {args.task}")
    print(f"task {args.task}: {'ends the round in work, then rests' if paused else 'goes on'}")
    return Exit.OK


def remove(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        if not store.tasks.remove(args.task):
            raise Missing(f"no task {args.task}")
    print(f"task {args.task} is removed with its rounds and models")
    return Exit.OK
