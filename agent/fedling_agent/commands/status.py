"""`fedling-agent status`: what the device does and, if it is nothing, why."""

import argparse
import time
from functools import partial
from typing import Any

from fedling_agent.commands import installation, labels, stored
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions import words as sentences
from fedling_agent.conditions.table import paused
from fedling_agent.service import report
from fedling_agent.service.books import day_of
from fedling_agent.service.control import Json
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.store import Store
from fedling_protocol.command import output, watching
from fedling_protocol.common_settings import PLAINTEXT
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import day
from fedling_protocol.wire import counted

EVERY_S = 5.0  # with --watch
MUCH_CLIPPED = 0.01  # of a training set: beyond four deviations lie far fewer values

Facts = dict[str, Any]  # as report.py makes it, possibly by way of the socket


def run(args: argparse.Namespace) -> Exit:
    where, show = installation.find(args), partial(_print, as_json=args.json)
    if args.watch:
        watching.watch(partial(_facts, where), show, EVERY_S, as_json=args.json)
    show(_facts(where))
    return Exit.OK


def _facts(where: Installation) -> Facts:
    facts = read(where)
    for stream in facts.get("streams", {}).values():
        stream["unwanted"] = labels.unwanted(stream["labels"], stream["wanted"])
    return facts


def _print(facts: Facts, *, as_json: bool) -> None:
    if as_json:
        output.print_json(facts)
    else:
        output.print_pairs(pairs(facts))


def read(where: Installation) -> Facts:
    """Ask the service, without one read the store. Raises Missing."""
    service = where.service()
    if service is not None:
        with service:
            return service.ask({"do": "status"}) | {"source": "service"}
    me = stored.device(where)
    facts: Json = {"doing": "the service does not run", "source": "store"}
    try:
        bounds = Bounds() if where.config is None else where.config.bounds
        store = Store(where.state, bounds, read_only=True)
    except Missing:  # made by init, never run
        return facts | {"device": me.device, "key": me.key.public.hex(), "enrol": me.add_command}
    try:
        owner = stored.owner_of(store)
        if (why := paused(owner)) is not None:
            facts["doing"] = f"{facts['doing']}; {sentences.sentence(why)}"
        facts["pause"] = report.of_pause(owner)
        return report.of_store(store, me, day_of(time.time())) | facts
    finally:
        store.close()


def pairs(facts: Facts) -> list[tuple[str, str]]:
    """Make the name and the text of each line that a person reads."""
    lines = [
        ("device", str(facts["device"])),
        ("doing", output.paint(str(facts["doing"]), output.GREEN)),
        *_connection(facts.get("connection")),
        ("enrolled", _enrolled(facts)),
    ]
    if facts.get("disk", "ok") != "ok":
        lines.append(("disk", output.paint(str(facts["disk"]), output.RED)))
    if names := [name for name in facts.get("aside", []) if name.count("-") == 1]:
        text = f"{names[0]} was damaged: what can be read is here, `recordings forget` erases it"
        lines.append(("put aside", output.paint(text, output.YELLOW)))
    for task, about in facts.get("tasks", {}).items():
        lines += _task(task, about)
    lines += [
        (f"task {task}", output.paint(f"declined: {why}", output.YELLOW))
        for task, why in facts.get("declined", {}).items()
    ]
    for name, about in facts.get("streams", {}).items():
        lines += _stream(name, about, facts["most_bytes"])
    if "bytes" in facts:
        lines.append(("bytes", _bytes(facts["bytes"])))
    for name, prefix in (("  sent", counted.SENT), ("  received", counted.RECEIVED)):
        if kinds := _sizes(facts, prefix):
            lines.append((name, kinds))
    if budget := facts.get("budget"):
        lines.append(("  in 24 hours", ", ".join(_used(*one) for one in budget.items())))
    for word in ("refused", "declined"):
        if counts := _counts(facts, f"{word}: "):
            lines.append((word, output.paint(counts, output.YELLOW)))
    return [*lines, ("told by", f"the {facts['source']}")]


def _counts(facts: Facts, prefix: str) -> str:
    """List the counters whose names begin with the prefix, each by the rest of its name."""
    counters: dict[str, int] = facts.get("counters", {})
    found = [(k.removeprefix(prefix), n) for k, n in counters.items() if k.startswith(prefix)]
    return ", ".join(f"{n} {name}" for name, n in found)


def _sizes(facts: Facts, prefix: str) -> str:
    """List counters of bytes as _counts() does, the most first."""
    counters: dict[str, int] = facts.get("counters", {})
    found = [(n, k.removeprefix(prefix)) for k, n in counters.items() if k.startswith(prefix)]
    return ", ".join(f"{name} {output.size(n)}" for n, name in sorted(found, reverse=True))


def _enrolled(facts: Facts) -> str:
    if facts.get("revoked"):
        return output.paint("no: revoked", output.RED)
    if facts.get("enrolled"):
        return _member(facts.get("certificate"))
    if facts.get("foreign"):
        return "no; root_key of agent.toml comes first, or the operator can do nothing"
    word = "not any more" if facts.get("was_enrolled") else "no"
    return f"{word}; the operator runs: {facts['enrol']}"


def _member(about: Facts | None) -> str:
    """Say which fleet, under which name, until when."""
    if about is None:
        return "yes"
    name = f" as {about['name']}" if about["name"] else ""
    until = ""
    if about["until_s"]:
        until = f"; the certificate holds until {day(about['until_s'])} and is renewed before"
    return f"yes, in {about['fleet']}{name}{until}"


def _connection(about: Facts | None) -> list[tuple[str, str]]:
    if about is None:
        return []
    since = report.span(about["since_s"])
    # A service of before the last upgrade tells neither.
    broker = f"{about['broker']} by TLS" if about.get("tls") else about["broker"]
    open_ = [("  plaintext", output.paint(PLAINTEXT, output.YELLOW))] * about.get("plaintext", 0)
    if about["connected"]:
        lost = f"; the one before ended: {about['lost']}" if about.get("lost") else ""
        lines = [("MQTT broker", f"{broker}, connected for {since}{lost}"), *open_]
        if refused := about.get("refused"):
            words = f"lets this device not subscribe to {', '.join(refused)}: allow it there"
            lines.append(("  refuses", output.paint(words, output.YELLOW)))
        return lines
    text = f"{broker}, not connected for {since}: {about['reason']}"
    if about["retry_s"] is not None:
        text += f", next try in {report.span(about['retry_s'])}"
    return [("MQTT broker", output.paint(text, output.YELLOW)), *open_]


def _task(task: str, about: Facts) -> list[tuple[str, str]]:
    model = about["model"]
    lines = [(f"task {task}", about.get("doing", ""))] if "doing" in about else []
    lines.append(("  model", _model(model)))
    if (about.get("clipped") or 0) > MUCH_CLIPPED:
        words = (
            f"{about['clipped']:.1%} of the values of the last training set: larger than what the"
            " model can tell apart; see normalise in docs/configuration.md"
        )
        lines.append(("  clipped", output.paint(words, output.YELLOW)))
    if test := about["own_test"]:
        lines.append(("  own test", _own_test(test)))
    if words := _personal(about.get("personal"), about.get("personal_doing", "")):
        lines.append(("  personal", words))
    if about["verdicts"]:
        words = ", ".join(f"{n} {verdict}" for verdict, n in about["verdicts"].items())
        lines.append(("  rounds", words))
    for entry in about["spool"]:
        words = f"an update of {output.size(entry['bytes'])}, plan {entry['plan'][:8]}"
        lines.append(("  to send", words))
    if about.get("failure"):
        lines.append(("  failed", output.paint(about["failure"], output.RED)))
    return lines


def _model(model: Facts | None) -> str:
    if model is None:
        return "none yet"
    drawn = ", which nobody has trained yet: it answers nothing" if model["drawn"] else ""
    return f"version {model['version']}{drawn}"


def _own_test(test: Facts) -> str:
    """Say how many of the windows that this device keeps out of training a model told right."""
    share = output.share(test["right"], test["windows"])
    return (
        f"{share} of {test['windows']:,} windows, model {test['model']}, in round {test['round']}"
    )


def _personal(made: Facts | None, doing: str) -> str:
    """Say which model answers here, and what chose it: windows that trained neither."""
    if made is None:
        return f"none: {doing}" if doing else ""
    own, fleets = (output.share(made[key], made["windows"]) for key in ("right", "fleets_right"))
    chosen = "in use" if made["in_use"] else "not used"
    words = f"{chosen}, from model {made['model']}: {own} of {made['windows']:,} windows"
    return f"{words}, the fleet's {fleets}" + (f"; {doing}" if doing else "")


def _stream(name: str, about: Facts, most: int) -> list[tuple[str, str]]:
    size = f"{output.size(about['bytes'])} of {output.size(most)}"
    words = f"{about['recordings']} recordings, {about['samples']} samples, {size}"
    lines = [(f"stream {name}", words)]
    if here := [f"{label} {n}" for label, n in about["labels"].items() if n]:
        lines.append(("  labels", ", ".join(here)))
    if unwanted := [_unwanted(**one) for one in about["unwanted"]]:
        text = f"{', '.join(unwanted)}: these samples train nothing"
        lines.append(("  not wanted", output.paint(text, output.YELLOW)))
    if lacking := [label for label in about["wanted"] if not about["labels"][label]]:
        text = f"no sample of {', '.join(lacking)}"
        lines.append(("  wanted", output.paint(text, output.YELLOW)))
    if about["evicted"]:
        text = f"{about['evicted']} older samples had to go, in all"
        lines.append(("  evicted", output.paint(text, output.YELLOW)))
    if about["no_room"]:
        text = f"{about['no_room']} rows were refused, in all: raise store.bytes"
        lines.append(("  no room", output.paint(text, output.RED)))
    return lines


def _unwanted(label: str, samples: int, nearest: str | None) -> str:
    hint = f" (did you mean {nearest}?)" if nearest else ""
    return f"{label} {samples}{hint}"


def _used(name: str, about: Facts) -> str:
    return f"{name} {about['used']:,} of {about['limit']:,} {about['unit']}"


def _bytes(about: Facts) -> str:
    today, total = about["today"], about["total"]
    return (
        f"today {output.size(today['sent'])} sent, {output.size(today['received'])} received; "
        f"in all {output.size(total['sent'])} and {output.size(total['received'])}"
    )
