"""`fedling-broker check`: is the configuration sound, is the state readable, what was counted."""

import argparse
from dataclasses import asdict

from fedling_broker.commands import installation, mqtt_check
from fedling_broker.commands.mqtt_check import Tried
from fedling_broker.config import Config
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_protocol.command import output
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.trust import Trust


def run(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        installation.secret(found)
        devices = Devices(store.database, found.topics)
        _check_certificates(found, devices)
        tasks = _parse_tasks(store)
        facts = {
            "config": str(found.path),
            "state": str(found.state_dir),
            "fleet": found.file.fleet,
            "tasks": len(tasks),
            "devices": len(devices.certified()) - 1,
            "pending": len(devices.pending()),
            "counters": store.ledger.counters(),
        }
    with found.acting():  # this may take seconds: the database is closed
        tried = mqtt_check.run(found, tasks)
    if args.json:
        output.print_json(facts | {"mqtt": asdict(tried)})
    else:
        _tell(facts, found.file.mqtt.address, tried)
    return Exit.FAILED if tried.faults else Exit.OK


def _check_certificates(found: Config, devices: Devices) -> None:
    """Check every certificate against fleet and root key. Raises SettingsError."""
    certified = devices.find(AGGREGATOR)
    if certified is None or certified.key != installation.online_key(found).public:
        raise SettingsError(
            f"{found.state_dir}: the online key has no certificate; run: fedling-broker init"
        )
    trust = Trust(found.topics, found.root_key)
    for row in devices.certified():
        try:
            trust.open(found.topics.of(Kind.KEYS, row.id), row.envelope)
        except Refused as refused:
            raise SettingsError(
                f"{found.path}: fleet and root_key are not those of the certificate of {row.id}:"
                f" {refused}"
            ) from refused


def _parse_tasks(store: Store) -> list[Task]:
    """Parse all tasks again. Raises SettingsError."""
    return [task_file.parse_task(row.text, f"task {row.name}") for row in store.tasks.rows()]


def _tell(facts: dict[str, object], address: str, tried: Tried) -> None:
    counters = facts.pop("counters")
    print(f"{facts['config']}: sound")
    assert isinstance(counters, dict)
    lines = {name: value for name, value in {**facts, **counters}.items() if name != "config"}
    wrong, note = output.paint("WRONG", output.RED), output.paint("note", output.YELLOW)
    well = f"{output.paint('ok', output.GREEN)}  {address} lets the aggregator do what it needs"
    output.print_pairs(
        [(name, str(value)) for name, value in lines.items()]
        + [("MQTT broker", f"{wrong}  {fault}") for fault in tried.faults]
        + [("MQTT broker", well)] * (not tried.faults)
        + [("MQTT broker", f"{note}  {word}") for word in tried.notes]
    )
