"""The loop waits for nothing but messages: no fsync, no commit and no fold is in its thread.

The real service on its real ports plays two rounds in this process, over a real mosquitto.
Whatever may block says in which thread it was called.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedling_broker import config
from fedling_broker.commands import serve
from fedling_broker.config import ONLINE_KEY, SECRET
from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.service import runner
from fedling_broker.service.publisher import Publisher
from fedling_broker.service.service import Service
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.net import credentials
from fedling_protocol.wire import identity
from fedling_protocol.wire.messages import Verdict
from tests.support.fleet import Aggregator, Device
from tests.support.waiting import until

SLOW: list[tuple[Any, str]] = [
    (os, "fsync"),
    (os, "fdatasync"),
    (durable, "commit"),
    (durable, "append"),
    (durable, "write_file"),
    (durable, "keep_draft"),
    (durable, "remove_file"),
    (durable, "remove_files"),
    (durable, "sync_directory"),
    (runner, "fold"),
    (Publisher, "_seal_model"),
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls that may block, by name; those made in the test's thread are told apart."""
    seen: Counter[str] = Counter()
    mine = threading.get_ident()

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*words: Any, **options: Any) -> Any:
            in_loop = threading.get_ident() == mine
            seen[f"{name} in the loop" if in_loop else name] += 1
            return call(*words, **options)

        return wrapper

    for owner, name in SLOW:
        monkeypatch.setattr(owner, name, watched(name, getattr(owner, name)))
    return seen


def test_no_round_waits_for_a_disk_or_a_fold_in_the_loop(
    tmp_path: Path, mosquitto: Mosquitto, seen: Counter[str]
) -> None:
    aggregator = Aggregator(tmp_path / "aggregator", mosquitto.port)
    aggregator.add_task(rounds=2, goal=2)
    found = config.load(aggregator.directory / "broker.toml")
    store = Store(found.state_dir, alone=True)
    with serve._ports(found, credentials.load(found.file.mqtt)) as (loop, ports):
        devices = [Device(loop, mosquitto.port, number) for number in (1, 2)]
        for device in devices:
            aggregator.enrol(device)
        key = identity.load_key(found.state_dir / ONLINE_KEY)
        secret = identity.load_secret(found.state_dir / SECRET)
        service = Service(ports, found, store, key, secret)
        seen.clear()
        service.start()
        for number in (1, 2):
            plan = devices[0].wait_plan(number)
            for device in devices:
                receipt = device.deliver(device.make_update(plan, number))
                assert receipt.verdict is Verdict.ACCEPTED
        until(lambda: devices[0].rest, loop.turn)
        done: list[bool] = []
        service.stop(lambda: done.append(True))
        until(lambda: done, loop.turn)
        for device in devices:
            device.link.stop(None, lambda: None)
        loop.turn(0.1)
    store.close()
    assert [name for name in seen if name.endswith("in the loop")] == []
    wanted = {"commit", "append", "fdatasync", "keep_draft", "remove_file", "fold", "_seal_model"}
    assert wanted <= seen.keys()
