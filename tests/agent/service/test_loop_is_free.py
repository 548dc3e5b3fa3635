"""The loop waits for nothing but events: no disk, no name server, no sensor is asked in its thread.

The real service on its real ports runs a round in this process, over a real mosquitto. Whatever may
block says in which thread it was called; a slow card, a dead resolver or a gauge on a slow bus then
hold up what waits for them, never a lease, an answer or the watchdog.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedling_agent.commands import run
from fedling_agent.conditions import files
from fedling_agent.config import load, load_streams
from fedling_agent.service.service import Service
from fedling_agent.store import identity
from fedling_agent.store.store import Store
from fedling_native import dense
from fedling_protocol.disk import durable
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_sim.mosquitto import Mosquitto
from tests.support.agent import Agent, rows
from tests.support.aggregator import FakeAggregator, make_model

LAYERS = (dense(40, 8, relu=True), dense(8, 3))
SLOW: list[tuple[Any, str]] = [
    (os, "fsync"),
    (durable, "commit"),
    (durable, "write_file"),
    (durable, "sync_directory"),
    (socket, "getaddrinfo"),
    (files, "content"),
]


@pytest.fixture
def in_loop(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls that may block, by name; those made in the thread that sets `loop` are told apart."""
    seen: Counter[str] = Counter()
    mine = threading.get_ident()

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*words: Any, **options: Any) -> Any:
            # An address that is a number is not looked up.
            here = threading.get_ident() == mine and socket.AI_NUMERICHOST not in words
            seen[f"loop {name}" if here else name] += 1
            return call(*words, **options)

        return wrapper

    for owner, name in SLOW:
        monkeypatch.setattr(owner, name, watched(name, getattr(owner, name)))
    return seen


def test_what_may_block_is_never_called_in_the_loop(
    tmp_path: Path, mosquitto: Mosquitto, in_loop: Counter[str]
) -> None:
    aggregator = FakeAggregator(mosquitto.port)
    agent = Agent(tmp_path / "device", mosquitto.port)
    text = agent.config.read_text().replace('host = "127.0.0.1"', 'host = "localhost"')
    agent.config.write_text(text)
    agent.run("ingest", "wrist", text=rows(6, 60))
    config = load(agent.config)
    me = identity.ensure(agent.state)
    aggregator.certify(me.key.public)
    store, loop = Store(agent.state, config.bounds), Loop()
    disk = ThreadWorker(loop, "disk")
    service = Service(run._ports(loop, disk, config), config, load_streams(config), me, store)

    def until(condition: Callable[[], object]) -> None:
        def both() -> object:
            loop.turn(0.0)
            return condition()

        aggregator.until(both)

    in_loop.clear()
    service.start()
    aggregator.offer(make_model(LAYERS), 1)
    until(lambda: store.spool.receipts("watch"))
    aggregator.offer(make_model(LAYERS, version=2), 2)
    until(lambda: len(store.spool.receipts("watch")) == 2)
    ended: list[bool] = []
    service.stop(lambda: ended.append(True))
    until(lambda: ended)
    found = dict(in_loop)
    disk.close()
    loop.close()
    store.close()
    assert {name for name in found if name.startswith("loop ")} == set(), found
    assert {name for _, name in SLOW} <= set(found)  # each was called, elsewhere
