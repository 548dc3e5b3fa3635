"""`fedling-broker model`: the versions of a task's model."""

import argparse

from fedling_broker.commands import installation
from fedling_protocol.command import output
from fedling_protocol.exits import Exit


def list_(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        installation.task(store, args.task)
        made = {fold.version: fold for fold in store.models.folds(args.task)}
        rows = [
            {
                "version": row.version,
                "round": made[row.version].round if row.version in made else 0,
                "model_hash": row.model_hash.hex(),
                "exponents": " ".join(map(str, row.exponents)),
            }
            for row in store.models.rows(args.task)
        ]
    output.print_rows(rows, as_json=args.json, empty="no models")
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
