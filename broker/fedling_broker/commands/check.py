"""`fedling-broker check`: is the configuration sound, is the state readable, what was counted."""

import argparse
import time
from dataclasses import asdict

from fedling_broker.commands import ages, installation, mqtt_check
from fedling_broker.commands.mqtt_check import Tried
from fedling_broker.config import Config
from fedling_broker.service import notices
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_protocol.command import output
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError


def run(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        installation.secret(found)
        devices = Devices(store.database, found.topics)
        installation.check_certificates(found, devices)
        tasks, wrong = _parse_tasks(store)
        wrong += _stopped(found)
        now_s = int(time.time())
        ends, soon = ages.faults(devices, now_s), ages.notes(found, devices, now_s)
        facts = {
            "config": str(found.path),
            "state": str(found.state_dir),
            "fleet": found.file.fleet,
            "tasks": len(store.tasks.rows()),
            "devices": len(devices.certified()),
            "pending": len(devices.pending()),
            "counters": store.ledger.counters(),
        }
    with found.acting():  # this may take seconds: the database is closed
        tried = mqtt_check.run(found, tasks)
    if args.json:
        keys = {"faults": ends, "notes": soon}
        output.print_json(facts | {"wrong": wrong, "keys": keys, "mqtt": asdict(tried)})
    else:
        _tell(facts, wrong, found.file.mqtt.address, tried)
        _tell_of_keys(ends, soon)
    return Exit.FAILED if tried.faults or wrong or ends else Exit.OK


def _parse_tasks(store: Store) -> tuple[list[Task], list[str]]:
    """Parse all tasks again; what is wrong with the others."""
    tasks, wrong = [], []
    for row in store.tasks.rows():
        try:
            tasks.append(task_file.parse_task(row.text, f"task {row.name}"))
        except SettingsError as error:
            wrong.append(str(error))
    return tasks, wrong


def _stopped(found: Config) -> list[str]:
    """What the running service has told of tasks that are stopped, or held back."""
    told = notices.read(found.state_dir, time.time())
    return [f"task {task} {notice.says}" for task, notice in told.items()]


def _tell(facts: dict[str, object], wrongs: list[str], address: str, tried: Tried) -> None:
    counters = facts.pop("counters")
    print(f"{facts['config']}: sound")
    assert isinstance(counters, dict)
    lines = {name: value for name, value in {**facts, **counters}.items() if name != "config"}
    wrong, note = output.paint("WRONG", output.RED), output.paint("note", output.YELLOW)
    well = f"{output.paint('ok', output.GREEN)}  {address} lets the aggregator do what it needs"
    output.print_pairs(
        [(name, str(value)) for name, value in lines.items()]
        + [("task", f"{wrong}  {why}") for why in wrongs]
        + [("MQTT broker", f"{wrong}  {fault}") for fault in tried.faults]
        + [("MQTT broker", well)] * (not tried.faults)
        + [("MQTT broker", f"{note}  {word}") for word in tried.notes]
    )


def _tell_of_keys(ends: list[str], soon: list[str]) -> None:
    wrong, note = output.paint("WRONG", output.RED), output.paint("note", output.YELLOW)
    rows = [(wrong, why) for why in ends] + [(note, word) for word in soon]
    output.print_pairs([("keys", f"{sort}  {words}") for sort, words in rows])
