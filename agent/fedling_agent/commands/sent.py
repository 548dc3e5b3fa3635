"""`fedling-agent sent`: everything that left this device."""

import argparse
import datetime

from fedling_agent.commands import installation
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.exits import Exit


def run(args: argparse.Namespace) -> Exit:
    store = Store(installation.find(args).kept(), read_only=True)
    try:
        messages = store.ledger.sent(max(0, args.limit))
    finally:
        store.close()
    if args.json:
        output.print_json(
            [
                {
                    "time_ms": m.time_ms,
                    "kind": m.kind,
                    "topic": m.topic,
                    "bytes": m.size,
                    "plan": None if m.plan_id is None else m.plan_id.hex(),
                    "meaning": m.meaning,
                }
                for m in messages
            ]
        )
        return Exit.OK
    rows = [
        {
            "when": _when(m.time_ms),
            "kind": m.kind,
            "size": output.size(m.size),
            "meaning": m.meaning,
        }
        for m in messages
    ]
    output.print_rows(rows, empty="nothing was sent yet")
    return Exit.OK


def _when(time_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")
