"""`fedling-agent pause`, `resume`: the owner keeps this device out of rounds, and lets it in.

Without a service the store is told, which the next one reads.
"""

import argparse
import time
from typing import Any

from fedling_agent.commands import installation, stored, uptime
from fedling_agent.conditions.owner import until
from fedling_agent.conditions.pause import WORDS
from fedling_agent.service import operations, report
from fedling_protocol.command import output
from fedling_protocol.exits import Exit


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    service = where.service()
    if service is not None:
        with service:
            request = {"do": "pause", "lasts_s": args.lasts, "reason": args.reason}
            pause: Any = service.ask(request)["pause"]
    else:
        stored.device(where)
        operations.check_pause(args.lasts, args.reason)
        with stored.alone(where) as store:
            lasts_ms = None if args.lasts is None else 1000 * args.lasts
            store.pauses.begin(lasts_ms, args.reason, uptime.up_ms())
            pause = report.of_pause(stored.owner_of(store))
    words = f"{WORDS} {until(pause['left_s'], pause['reason'], time.time())}"
    output.print_answer(words, {"pause": pause}, as_json=args.json)
    return Exit.OK


def resume(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    service = where.service()
    if service is not None:
        with service:
            was_paused = bool(service.ask({"do": "resume"})["was_paused"])
    else:
        stored.device(where)
        with stored.alone(where) as store:
            was_paused = store.pauses.find(uptime.up_ms()) is not None
            store.pauses.end()
    words = "takes part again, as conditions allow" if was_paused else "it was not paused"
    output.print_answer(words, {"was_paused": was_paused}, as_json=args.json)
    return Exit.OK
