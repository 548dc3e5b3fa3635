"""`fedling-agent conditions`: what the sensors say, what that allows, and what became of it."""

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

from fedling_agent.commands import installation, stored, uptime
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions import watcher, words
from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.policy import Policy
from fedling_agent.service import explaining, report
from fedling_agent.service.control import Json
from fedling_agent.store.store import Store
from fedling_protocol.command import output, watching
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment

SLOW_S = 0.2  # sensors that take longer slow training down


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    if args.explain is not None:
        return _explain(where, args.explain, as_json=args.json)
    show = partial(_print, as_json=args.json)
    if args.watch:
        watching.watch(partial(read, where), show, _policy(where).check_s, as_json=args.json)
    show(read(where))
    return Exit.OK


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(facts)
        return
    lines = [(name, _signal(signal)) for name, signal in facts["signals"].items()]
    lines += _allowance("", facts["own"])
    for task, allowance in facts["tasks"].items():
        lines += _allowance(f" for {task}", allowance)
    if facts["took_s"] >= SLOW_S:
        lines.append(
            ("slow", f"the sensors took {facts['took_s']:.1f} s; each batch waits for them")
        )
    output.print_pairs([*lines, ("told by", f"the {facts['source']}")])


def read(where: Installation) -> Json:
    """Ask the service, which remembers what hysteresis needs; without one read the sensors now."""
    service = where.service()
    if service is not None:
        with service:
            return service.ask({"do": "conditions"}) | {"source": "service"}
    own = _policy(where)
    roots, began = replace(where.roots(), owner=stored.owner(where)), time.monotonic()
    signals = watcher.read(own.rows, roots)
    readings = Readings(signals, at=0.0, took_s=time.monotonic() - began)
    allowance, _ = decide(own, None, readings, Memory())
    return {
        "signals": report.of_readings(own.rows, readings),
        "took_s": readings.took_s,
        "own": report.of_allowance(allowance),
        "tasks": {},
        "source": "command; the service does not run",
    }


def _policy(where: Installation) -> Policy:
    return Policy() if where.config is None else where.config.policy


def _signal(signal: dict[str, Any]) -> str:
    text = words.shown(signal["value"], signal["unit"])
    why = f": {signal['reason']}" if signal["reason"] else ""
    source = f" ({signal['source']})" if signal["source"] else ""
    return f"{text}{why}{source}"


def _allowance(whom: str, about: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for what in ("train", "transfer", "send"):
        why = ", ".join(reason["sentence"] for reason in about[f"why_not_{what}"])
        text = output.paint("yes", output.GREEN)
        if not about[what]:
            text = output.paint(f"no: {why}", output.YELLOW)
        lines.append((f"may {what}{whom}", text))
    return lines


# --- what became of it -----------------------------------------------------------------------


def _explain(where: Installation, span_s: int, *, as_json: bool) -> Exit:
    found = spells(where, span_s)
    rows = found if as_json else [_row(one) for one in found]
    output.print_rows(rows, empty="the service has not run", as_json=as_json)
    return Exit.OK


def spells(where: Installation, span_s: int) -> list[dict[str, Any]]:
    """Ask the service, without one read the store. Raises Missing."""
    service = where.service()
    if service is not None:
        with service:
            told: Any = service.ask({"do": "explain", "span_s": span_s})["spells"]
            return list(told)
    store = Store(where.kept(), read_only=True)
    try:
        read = store.spells.within(1000 * span_s, uptime.up_ms())
    finally:
        store.close()
    return explaining.explain(read.spells, read.lived_ms, time.time(), None)


def _row(one: dict[str, Any]) -> dict[str, object]:
    ended = "not known" if one["to_s"] is None else moment(one["to_s"])
    return {
        "FROM": moment(one["from_s"]),
        "TO": "now" if one["goes_on"] else ended,
        "FOR": "" if one["for_s"] is None else report.span(one["for_s"]),
        "VERDICT": one["verdict"],
        "WHY": "; ".join(reason["sentence"] for reason in one["why"]),
    }
