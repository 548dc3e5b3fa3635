"""`fedling-broker task`: what the fleet learns."""

import argparse

from fedling_broker import tasks
from fedling_broker.commands import output, place
from fedling_broker.commands.place import NotFound
from fedling_native import parameter_counts
from fedling_protocol.exits import Exit


def add(args: argparse.Namespace) -> Exit:
    task, text = tasks.load_task(args.file)
    with place.opened(args) as (found, store):
        store.add_task(task, text, place.first_model_seed(found, task.name))
    parameters = sum(parameter_counts(task.spec.layers))
    print(f"task {task.name}: {parameters:,} parameters; a running `serve` takes it up at once")
    return Exit.OK


def check(args: argparse.Namespace) -> Exit:
    task, _ = tasks.load_task(args.file)
    print(f"{args.file}: task {task.name} is sound")
    return Exit.OK


def list_(args: argparse.Namespace) -> Exit:
    with place.opened(args) as (_, store):
        rows = []
        for row in store.tasks():
            plans = store.plans(row.name)
            newest = store.newest(row.name)
            rows.append(
                {
                    "task": row.name,
                    "paused": row.paused,
                    "rounds": store.done(row.name),
                    "open": bool(plans) and not plans[-1].closed,
                    "model": newest.version,
                }
            )
    output.print_rows(rows, as_json=args.json, empty="no tasks; add one: fedling-broker task add")
    return Exit.OK


def show(args: argparse.Namespace) -> Exit:
    with place.opened(args) as (_, store):
        place.task(store, args.task)
        print(next(row.text for row in store.tasks() if row.name == args.task), end="")
    return Exit.OK


def pause(args: argparse.Namespace) -> Exit:
    return _set_paused(args, paused=True)


def resume(args: argparse.Namespace) -> Exit:
    return _set_paused(args, paused=False)


def _set_paused(args: argparse.Namespace, *, paused: bool) -> Exit:
    with place.opened(args) as (_, store):
        if not store.pause_task(args.task, paused):
            raise NotFound(f"no task {args.task}")
    print(f"task {args.task}: {'ends the round in work, then rests' if paused else 'goes on'}")
    return Exit.OK


def remove(args: argparse.Namespace) -> Exit:
    with place.opened(args) as (_, store):
        if not store.remove_task(args.task):
            raise NotFound(f"no task {args.task}")
    print(f"task {args.task} is removed with its rounds and models")
    return Exit.OK
