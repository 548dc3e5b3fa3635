"""`fedling-agent check`: what a person should look at before asking somebody else."""

import argparse
from collections.abc import Callable
from contextlib import closing
from typing import Any

from fedling_agent.commands import installation, mqtt_check, status, volatile
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions import watcher
from fedling_agent.service import report
from fedling_agent.store import identity
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import day
from fedling_protocol.net.probe import Missed
from fedling_protocol.runtime import mishaps


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    results = outcomes(where)
    if args.json:
        output.print_json(facts(results))
    else:
        output.print_pairs([(name, _painted(ok, says)) for name, ok, says in results])
    return Exit.OK if all(ok for _, ok, _ in results) else Exit.FAILED


def outcomes(where: Installation) -> list[tuple[str, bool, str]]:
    """Look at everything: name, whether it is well, and what there is to say."""
    return [
        (name, ok, says) for name, check in CHECKS.items() for ok, says in _outcomes(check, where)
    ]


def facts(results: list[tuple[str, bool, str]]) -> list[dict[str, object]]:
    """Give what outcomes() found to programs."""
    return [{"check": name, "ok": ok, "says": says} for name, ok, says in results]


def _outcomes(check: Callable[[Installation], str], where: Installation) -> list[tuple[bool, str]]:
    """What is well, or a line for each fault."""
    try:
        return [(True, check(where))]
    except Missed as missed:
        return [(False, fault) for fault in missed.faults]
    except Exception as error:  # noqa: BLE001 (the boundary of a line: the others are told, too)
        return [(False, mishaps.sentence(error))]


def _painted(ok: bool, says: str) -> str:
    word = output.paint("ok", output.GREEN) if ok else output.paint("WRONG", output.RED)
    return f"{word}  {says}"


def _configuration(where: Installation) -> str:
    return f"{where.file}: fleet {where.needed_config().fleet}"


def _identity(where: Installation) -> str:
    me = identity.load(where.kept())
    if me is None:
        raise Missing(f"{where.state}: no key yet; make one with: fedling-agent init")
    warning = volatile.warning(where.state)
    member = _member(where, me.device)
    return "; ".join(word for word in (f"device {me.device}", member, warning) if word)


def _member(where: Installation, device: str) -> str:
    """Say of which fleet the device is, until when. Raises Missing: it was put out of it."""
    try:
        store = Store(where.state, read_only=True)
    except Missing:  # made by init, never run
        return ""
    with closing(store):
        own = report.certificate_of(store, device)
    if own is None:
        return ""
    if own.revoked:
        raise Missing(report.revoked_words(own.fleet))
    name = f" as {own.name}" if own.name else ""
    until = f", until {day(own.until_s)}, renewed before" if own.until_s else ""
    return f"in {own.fleet}{name}{until}"


def _streams(where: Installation) -> str:
    streams = where.streams()
    if not streams:
        raise Missing("agent.toml names no stream: nothing can be ingested or trained")
    return ", ".join(f"{s.name} ({len(s.channels)} channels)" for s in streams.values())


def _store(where: Installation) -> str:
    store = Store(where.kept(), read_only=True)
    try:
        summaries = store.recordings.summary().values()
        return f"{where.state}: {sum(s.samples for s in summaries)} samples"
    finally:
        store.close()


def _conditions(where: Installation) -> str:
    config = where.needed_config()
    signals = watcher.read(config.policy.rows, where.roots()).values()
    broken = [f"{signal.source}: {signal.detail}" for signal in signals if signal.broken]
    if broken:
        raise Missing("; ".join(broken))
    return "readable"


def _broker(where: Installation) -> str:
    config, me = where.needed_config(), identity.load(where.kept())
    if me is None:
        raise Missing("not tried: this device has no identity yet")
    return mqtt_check.run(config, me.device)


def _service(where: Installation) -> str:
    told: dict[str, Any] = status.read(where)
    if told["source"] != "service":
        raise Missing("it does not run; start it with: fedling-agent run")
    if told.get("revoked"):
        raise Missing(str(told["doing"]))
    if not told["enrolled"]:
        raise Missing(f"runs, but is not enrolled; the operator runs: {told['enrol']}")
    lost = told["connection"].get("lost")  # a service of before the last upgrade tells none
    return f"{told['doing']}; the last connection ended: {lost}" if lost else str(told["doing"])


CHECKS: dict[str, Callable[[Installation], str]] = {
    "configuration": _configuration,
    "identity": _identity,
    "streams": _streams,
    "store": _store,
    "conditions": _conditions,
    "MQTT broker": _broker,
    "service": _service,
}
