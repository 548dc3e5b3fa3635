"""`fedling-agent status`: what the device does and, if it is nothing, why."""

import argparse
import time
from typing import Any

from fedling_agent.commands import installation
from fedling_agent.commands.installation import Installation
from fedling_agent.service import report
from fedling_agent.service.books import day_of
from fedling_agent.service.control import Json
from fedling_agent.store import identity
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit

Facts = dict[str, Any]  # as report.py makes it, possibly by way of the socket


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    facts = read(where)
    if args.json:
        output.print_json(facts)
    else:
        output.print_pairs(pairs(facts))
    return Exit.OK


def read(where: Installation) -> Json:
    """Ask the service, without one read the store. Raises Missing."""
    service = where.service()
    if service is not None:
        with service:
            return service.ask({"do": "status"}) | {"source": "service"}
    me = identity.load(where.state)
    if me is None:
        raise Missing(f"{where.state}: no device yet; make one with: fedling-agent init")
    facts: Json = {"doing": "the service does not run", "source": "store"}
    try:
        store = Store(where.state, read_only=True)
    except Missing:  # made by init, never run
        return facts | {"device": me.device, "key": me.key.public.hex(), "enrol": me.add_command}
    try:
        return report.of_store(store, me, day_of(time.time())) | facts
    finally:
        store.close()


def pairs(facts: Facts) -> list[tuple[str, str]]:
    """Make the name and the text of each line that a person reads."""
    lines = [
        ("device", str(facts["device"])),
        ("doing", output.paint(str(facts["doing"]), output.GREEN)),
        *_connection(facts.get("connection")),
        (
            "enrolled",
            "yes" if facts.get("enrolled") else f"no; the operator runs: {facts['enrol']}",
        ),
    ]
    if facts.get("disk", "ok") != "ok":
        lines.append(("disk", output.paint(str(facts["disk"]), output.RED)))
    for task, about in facts.get("tasks", {}).items():
        lines += _task(task, about)
    lines += [
        (f"task {task}", output.paint(f"declined: {why}", output.YELLOW))
        for task, why in facts.get("declined", {}).items()
    ]
    lines += [
        (f"stream {name}", _stream(about)) for name, about in facts.get("streams", {}).items()
    ]
    if "bytes" in facts:
        lines.append(("bytes", _bytes(facts["bytes"])))
    for word in ("refused", "declined"):
        if counts := _counts(facts, f"{word}: "):
            lines.append((word, output.paint(counts, output.YELLOW)))
    return [*lines, ("told by", f"the {facts['source']}")]


def _counts(facts: Facts, prefix: str) -> str:
    """List the counters whose names begin with the prefix, each by the rest of its name."""
    counters: dict[str, int] = facts.get("counters", {})
    found = [(k.removeprefix(prefix), n) for k, n in counters.items() if k.startswith(prefix)]
    return ", ".join(f"{n} {name}" for name, n in found)


def _enrolled(facts: Facts) -> str:
    return "yes" if facts.get("enrolled") else f"no; the operator runs: {facts['enrol']}"


def _connection(about: Facts | None) -> list[tuple[str, str]]:
    if about is None:
        return []
    since = report.span(about["since_s"])
    if about["connected"]:
        lost = f"; the one before ended: {about['lost']}" if about.get("lost") else ""
        lines = [("MQTT broker", f"{about['broker']}, connected for {since}{lost}")]
        if refused := about.get("refused"):
            words = f"lets this device not subscribe to {', '.join(refused)}: allow it there"
            lines.append(("  refuses", output.paint(words, output.YELLOW)))
        return lines
    text = f"{about['broker']}, not connected for {since}: {about['reason']}"
    if about["retry_s"] is not None:
        text += f", next try in {report.span(about['retry_s'])}"
    return [("MQTT broker", output.paint(text, output.YELLOW))]


def _task(task: str, about: Facts) -> list[tuple[str, str]]:
    model = about["model"]
    lines = [(f"task {task}", about.get("doing", ""))] if "doing" in about else []
    lines.append(("  model", "none yet" if model is None else f"version {model['version']}"))
    if about["verdicts"]:
        words = ", ".join(f"{n} {verdict}" for verdict, n in about["verdicts"].items())
        lines.append(("  rounds", words))
    for entry in about["spool"]:
        words = f"an update of {output.size(entry['bytes'])}, plan {entry['plan'][:8]}"
        lines.append(("  to send", words))
    if about.get("failure"):
        lines.append(("  failed", output.paint(about["failure"], output.RED)))
    return lines


def _stream(about: Facts) -> str:
    size = output.size(about["bytes"])
    return f"{about['recordings']} recordings, {about['samples']} samples, {size}"


def _bytes(about: Facts) -> str:
    today, total = about["today"], about["total"]
    return (
        f"today {output.size(today['sent'])} sent, {output.size(today['received'])} received; "
        f"in all {output.size(total['sent'])} and {output.size(total['received'])}"
    )
