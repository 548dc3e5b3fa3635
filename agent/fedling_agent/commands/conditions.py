"""`fedling-agent conditions`: what the sensors say, and what that allows."""

import argparse
import time
from typing import Any

from fedling_agent.commands import installation
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions import watcher, words
from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.policy import Policy
from fedling_agent.service import report
from fedling_agent.service.control import Json
from fedling_protocol.command import output
from fedling_protocol.exits import Exit

SLOW_S = 0.2  # sensors that take longer slow training down


def run(args: argparse.Namespace) -> Exit:
    facts: dict[str, Any] = read(installation.find(args))
    if args.json:
        output.print_json(facts)
        return Exit.OK
    lines = [(name, _signal(signal)) for name, signal in facts["signals"].items()]
    lines += _allowance("", facts["own"])
    for task, allowance in facts["tasks"].items():
        lines += _allowance(f" for {task}", allowance)
    if facts["took_s"] >= SLOW_S:
        lines.append(
            ("slow", f"the sensors took {facts['took_s']:.1f} s; each batch waits for them")
        )
    output.print_pairs([*lines, ("told by", f"the {facts['source']}")])
    return Exit.OK


def read(where: Installation) -> Json:
    """Ask the service, which remembers what hysteresis needs; without one read the sensors now."""
    service = where.service()
    if service is not None:
        with service:
            return service.ask({"do": "conditions"}) | {"source": "service"}
    own = Policy() if where.config is None else where.config.policy
    roots, began = where.roots(), time.monotonic()
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


def _signal(signal: dict[str, Any]) -> str:
    text = words.shown(signal["value"], signal["unit"])
    why = f": {signal['reason']}" if signal["reason"] else ""
    source = f" ({signal['source']})" if signal["source"] else ""
    return f"{text}{why}{source}"


def _allowance(whom: str, about: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for what in ("train", "transfer"):
        why = ", ".join(reason["sentence"] for reason in about[f"why_not_{what}"])
        text = output.paint("yes", output.GREEN)
        if not about[what]:
            text = output.paint(f"no: {why}", output.YELLOW)
        lines.append((f"may {what}{whom}", text))
    return lines
