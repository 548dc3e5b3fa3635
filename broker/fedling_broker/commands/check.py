"""`fedling-broker check`: is the configuration sound, is the state readable."""

import argparse

from fedling_broker import tasks
from fedling_broker.commands import place
from fedling_broker.devices import Devices
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.topics import AGGREGATOR


def check(args: argparse.Namespace) -> Exit:
    with place.opened(args) as (found, store):
        online = place.online_key(found)
        place.secret(found)
        certified = Devices(store.database, found.topics).find(AGGREGATOR)
        if certified is None or certified.key != online.public:
            raise SettingsError(
                f"{found.state_dir}: the online key has no certificate; run: fedling-broker init"
            )
        for row in store.tasks():
            tasks.parse_task(row.text, f"task {row.name}")
        print(f"{found.path}: sound; fleet {found.file.fleet}, {len(store.tasks())} tasks")
    return Exit.OK
