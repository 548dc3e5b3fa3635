"""`fedling-broker backup` and `restore`: a whole state in one file."""

import argparse
import time
from pathlib import Path

from fedling_broker import backup, config
from fedling_broker import verify as verification
from fedling_broker.commands import installation
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_protocol.command import output
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit
from fedling_protocol.wire import digest, identity

READABLE = 0o644
LAST = "backup_s"  # when the last whole one was made, Unix time, in the table `meta`


def make(args: argparse.Namespace) -> Exit:
    """Raises CannotWrite, BadInput, Missing."""
    found = installation.load(args)
    made = backup.make(found, args.file)
    if not made.faults:
        with installation.opened(args) as (_, store):
            store.ledger.set_meta(LAST, int(time.time()))
    if args.json:
        facts = {"file": str(args.file), "bytes": made.size, "files": made.files}
        output.print_json(facts | {"epoch": made.epoch, "faults": made.faults})
    else:
        print(f"{args.file}: {output.size(made.size)}, {made.files} files, read again and checked;")
        print("it has the online key: keep it as you keep the state; the root key is not in it")
        _tell_faults(made.faults, "missing or damaged in the state, and so not in the backup")
    return Exit.FAILED if made.faults else Exit.OK


def restore(args: argparse.Namespace) -> Exit:
    """Raises Locked, StateExists, BadInput, Missing, CannotWrite."""
    found, written = _config(args)
    models = 0

    def verify(store: Store) -> list[str]:
        nonlocal models
        secret, faults = identity.load_secret(store.directory / config.SECRET), []
        for row in store.tasks.rows():
            task = task_file.parse_task(row.text, f"task {row.name}")
            seed = digest.first_model_seed(secret, found.file.fleet, row.name)
            for check in verification.verify(store, task, seed):
                models += 1
                if check.fault:
                    faults.append(f"{row.name} round {check.round}: {check.fault}")
        return faults

    try:
        done = backup.restore(found, args.file, replace=args.replace, verify=verify)
    except BaseException:
        if written:  # it would speak of a state that was not put there
            durable.remove_file(found.path)
        raise
    if args.json:
        facts: dict[str, object] = {
            "state": str(found.state_dir),
            "epoch": done.manifest.epoch,
            "models": models,
        }
        replaced = None if done.aside is None else str(done.aside)
        facts |= {"faults": done.faults, "replaced": replaced, "stayed": done.stayed}
        output.print_json(facts)
        return Exit.FAILED if done.faults else Exit.OK
    if written:
        print(f"{found.path} is written as it was: look at mqtt.host before you start")
    print(f"{found.state_dir}: {models} models recomputed, {len(done.faults)} faults")
    if done.aside is not None:
        print(f"the state that was there is in {done.aside}: remove it when you need it no more")
    print(_who_belongs(done.stayed))
    print("start `serve`: it begins a later epoch, and devices follow at their next contact")
    _tell_faults(done.faults, "restored as it was, with these faults")
    return Exit.FAILED if done.faults else Exit.OK


def _who_belongs(stayed: list[str] | None) -> str:
    """Say whether a device may be in that was revoked."""
    if stayed is None:
        return (
            "devices are in that were revoked since the backup was made, others are not that were"
            " added since: look at `fedling-broker device list`"
        )
    if not stayed:
        return "who belongs to the fleet is as it was before"
    return f"certificates as the state before has them, which are newer: {', '.join(stayed)}"


def _config(args: argparse.Namespace) -> tuple[config.Config, bool]:
    """Load the configuration; without one write that of the backup."""
    path: Path = args.config or next((p for p in config.PLACES if p.exists()), config.PLACES[0])
    if path.exists():
        return config.load(path), False
    text = backup.read_config(args.file)
    with writing(str(path)):
        durable.write_file(path, text, READABLE, exact=True)  # for the service
    return config.load(path), True


def _tell_faults(faults: list[str], what: str) -> None:
    if faults:
        print(output.paint(f"{what}:", output.RED))
    for fault in faults:
        print(f"  {fault}")
