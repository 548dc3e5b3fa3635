"""`fedling-agent sent`: everything that left this device."""

import argparse

from fedling_agent.commands import installation
from fedling_agent.store.ledger import Sent
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment


def _of_kinds(messages: list[Sent]) -> str:
    """Tell how many messages of each kind there are, and their bytes; the most first."""
    sizes: dict[str, list[int]] = {}
    for message in messages:
        sizes.setdefault(message.kind, []).append(message.size)
    kinds = sorted(sizes.items(), key=lambda one: -sum(one[1]))
    return ", ".join(f"{len(of)} {kind} of {output.size(sum(of))}" for kind, of in kinds)


def run(args: argparse.Namespace) -> Exit:
    store = Store(installation.find(args).kept(), read_only=True)
    try:
        found = store.ledger.sent()
    finally:
        store.close()
    messages = found[: output.most(args)]
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
            "when": moment(m.time_ms / 1000),
            "kind": m.kind,
            "size": output.size(m.size),
            "meaning": m.meaning,
        }
        for m in messages
    ]
    output.print_rows(rows, empty="nothing was sent yet")
    if found:
        print(f"in all: {_of_kinds(found)}")
    output.print_more(args, "the newest", more=len(found) > len(messages))
    return Exit.OK
