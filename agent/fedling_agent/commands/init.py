"""`fedling-agent init`: who this device is."""

import argparse

from fedling_agent.commands import installation, volatile
from fedling_agent.store import identity
from fedling_protocol.command import output
from fedling_protocol.exits import Exit


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    me = identity.ensure(where.kept())
    warning = volatile.warning(where.state)
    if args.json:
        output.print_json(
            {
                "device": me.device,
                "key": me.key.public.hex(),
                "state": str(where.state),
                "enrol": me.add_command,
                "warning": warning,
            }
        )
        return Exit.OK
    output.print_pairs(
        [
            ("device", me.device),
            ("key", me.key.public.hex()),
            ("kept in", str(where.state)),
            ("enrol", f"the operator runs: {me.add_command}"),
            *([("warning", output.paint(warning, output.YELLOW))] if warning else []),
        ]
    )
    if where.config is None:
        print(f"\nNext: write {where.file} with fleet, root_key and mqtt.host.")
    return Exit.OK
