"""`fedling-broker model`: the versions of a task's model."""

import argparse

from fedling_broker.commands import accuracy, installation
from fedling_broker.store.horizon import FIRST_VERSION
from fedling_broker.store.models import Fold, ModelRow
from fedling_protocol.command import output
from fedling_protocol.exits import Exit


def list_(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        installation.task(store, args.task)
        plans = store.rounds.plans(args.task)
        made = {fold.version: fold for fold in store.models.folds(args.task)}
        limit, found = output.most(args), store.models.rows(args.task)
        shown = found if limit is None else found[-limit:]
        tested = accuracy.of_versions(store, args.task, plans, {row.version for row in shown})
        rows = [
            {
                "version": row.version,
                "round": _round(row, made.get(row.version)),
                "model_hash": row.model_hash.hex(),
                "accuracy": accuracy.cell(tested.get(row.version), as_json=args.json),
                "exponents": " ".join(map(str, row.exponents)),
                "back_to": made[row.version].back_to if row.version in made else None,
            }
            for row in shown
        ]
    if not args.json:  # for people
        rows = [{**row, "model_hash": str(row["model_hash"])[:16]} for row in rows]
        rows = accuracy.for_people(rows)
    output.print_rows(rows, as_json=args.json, empty="no models")
    output.print_more(args, "the newest", more=len(found) > len(shown))
    return Exit.OK


def _round(row: ModelRow, fold: Fold | None) -> int | None:
    """The round that made it; 0: none did; None: that was erased."""
    if fold is not None:
        return fold.round
    return 0 if row.version == FIRST_VERSION else None


def rollback(args: argparse.Namespace) -> Exit:
    """Make a new version of an old one's weights: history goes forward. Raises Missing, Damaged."""
    with installation.opened(args) as (_, store):
        spec = installation.task(store, args.task).spec
        newest = store.models.newest(args.task)
        made, dropped = store.roll_back(spec, args.version)
    if args.json:
        facts = {"task": args.task, "version": made.version, "back_to": args.version}
        output.print_json(facts | {"undo": newest.version, "dropped": dropped})
        return Exit.OK
    print(
        f"model {made.version} of {args.task} has the weights of {args.version}; learning goes on"
    )
    if dropped:
        print(f"{dropped} updates of the round that was open, made from model {newest.version}, are"
              " in no model")  # fmt: skip
    print(f"to undo it: fedling-broker model rollback {args.task} {newest.version}")
    return Exit.OK


def weights(args: argparse.Namespace) -> Exit:
    """Write the weights as bytes (NUMERICS.md section 2)."""
    with installation.opened(args) as (_, store):
        spec = installation.task(store, args.task).spec
        row = installation.model_row(store, args.task, args.version)
        data = store.models.bytes_of(row, spec)
    installation.write(args.file, data)
    output.print_answer(
        f"{args.file}: model {row.version}, exponents {row.exponents}, {len(data):,} bytes",
        {
            "file": str(args.file),
            "version": row.version,
            "model_hash": row.model_hash.hex(),
            "exponents": row.exponents,
            "bytes": len(data),
        },
        as_json=args.json,
    )
    return Exit.OK
