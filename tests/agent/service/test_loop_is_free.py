"""The loop waits for nothing but events: no disk, no name server, no sensor is asked in its thread.

The real service on its real ports runs a round in this process, over a real mosquitto. Whatever may
block says in which thread it was called; a slow card, a dead resolver or a gauge on a slow bus then
hold up what waits for them, never a lease, an answer or the watchdog.
"""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from fedling_agent.cli import build_parser
from fedling_agent.commands import run
from fedling_agent.conditions import files
from fedling_agent.config import load, load_streams
from fedling_agent.service.control import Client
from fedling_agent.service.service import Service
from fedling_agent.store import identity
from fedling_agent.store.store import Store
from fedling_broker.mosquitto.process import Mosquitto
from fedling_native import dense
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.exits import Exit
from fedling_protocol.net import credentials
from fedling_protocol.runtime import logs
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from tests.support.agent import Agent, rows
from tests.support.aggregator import FakeAggregator, make_model
from tests.support.waiting import PATIENCE_S, Manager

LAYERS = (dense(40, 8, relu=True), dense(8, 3))
SLOW: list[tuple[Any, str]] = [
    (os, "fsync"),
    (durable, "commit"),
    (durable, "write_file"),
    (durable, "sync_directory"),
    (socket, "getaddrinfo"),
    (files, "text"),
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


def ended(error: BadDatabase) -> None:
    raise error


class Inside:
    """The real service on its real ports, in this process, beside an aggregator."""

    def __init__(self, directory: Path, aggregator: FakeAggregator, port: int) -> None:
        agent = Agent(directory / "device", port)
        text = agent.config.read_text().replace('host = "127.0.0.1"', 'host = "localhost"')
        agent.config.write_text(text)
        agent.run("ingest", "wrist", text=rows(6, 60))
        config = load(agent.config)
        me = identity.ensure(agent.state)
        aggregator.certify(me.key.public)
        self.aggregator = aggregator
        self.store, self.loop = Store(agent.state, config.bounds), Loop()
        self.disk = ThreadWorker(self.loop, "disk")
        ports = run._ports(self.loop, self.disk, config, credentials.load(config.mqtt), ended)
        self.service = Service(ports, config, load_streams(config), me, self.store)

    def until(self, condition: Callable[[], object]) -> None:
        def both() -> object:
            self.loop.turn(0.0)
            return condition()

        self.aggregator.until(both)

    def end(self) -> None:
        ended: list[bool] = []
        self.service.stop(lambda: ended.append(True))
        self.until(lambda: ended)
        self.aggregator.close()
        self.disk.close()
        self.loop.close()
        self.store.close()


def test_what_may_block_is_never_called_in_the_loop(
    tmp_path: Path, mosquitto: Mosquitto, in_loop: Counter[str]
) -> None:
    aggregator = FakeAggregator(mosquitto.port)
    device = Inside(tmp_path, aggregator, mosquitto.port)
    receipts = partial(device.store.spool.receipts, "watch")
    in_loop.clear()
    device.service.start()
    aggregator.offer(make_model(LAYERS), 1)
    device.until(receipts)
    aggregator.offer(make_model(LAYERS, version=2), 2)
    device.until(lambda: len(receipts()) == 2)
    found = dict(in_loop)
    device.end()
    assert {name for name in found if name.startswith("loop ")} == set(), found
    assert {name for _, name in SLOW} <= set(found)  # each was called, elsewhere


def test_sensor_that_takes_longer_than_a_lease_does_not_end_training(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease began with the reading, and was over before it was given: 0 of 1500 batches."""
    read = files.text

    def slow(path: str) -> str:
        if path.endswith("BAT0/capacity"):
            time.sleep(0.3)  # the sensor's slowness is what is tested
        return read(path)

    monkeypatch.setattr(files, "text", slow)
    aggregator = FakeAggregator(mosquitto.port)
    device = Inside(tmp_path, aggregator, mosquitto.port)
    device.service.start()
    aggregator.offer(make_model(LAYERS), 1)
    device.until(lambda: device.store.spool.receipts("watch"))
    assert device.service.watcher.latest.signals["network"].detail == "connected"
    device.end()


# --- the whole command, while something hangs ------------------------------------------------


class Hang:
    """A call that is let go by the test, or at its end."""

    def __init__(self) -> None:
        self.began, self.release = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.began.set()
        assert self.release.wait(PATIENCE_S)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.release.set()


class Running:
    """`fedling-agent run` in this thread, as signals want it; `talk` uses it from another one."""

    def __init__(self, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agent = agent
        self.manager = Manager()
        monkeypatch.setenv("NOTIFY_SOCKET", self.manager.environment["NOTIFY_SOCKET"])
        monkeypatch.setattr(logs, "set_up", lambda _level: None)

    def while_it_runs(self, talk: Callable[[], None]) -> Exit:
        """Run; when `talk` has returned, SIGTERM ends it. Returns how it ended."""
        failed: list[BaseException] = []
        over = threading.Event()

        def other() -> None:
            try:
                self.manager.hear("READY=1")
                talk()
            except BaseException as error:  # noqa: BLE001 (raised below, in the test's thread)
                failed.append(error)
            finally:
                if not over.is_set():
                    os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=other)
        thread.start()
        args = build_parser().parse_args(["run", "--config", str(self.agent.config)])
        try:
            code = run.run(args)
        finally:
            over.set()
            self.manager.end()
            thread.join()
            self.manager.close()
        if failed:
            raise failed[0]
        return code

    def ask(self, **request: object) -> dict[str, object]:
        with Client(self.agent.state) as client:
            return client.ask(request)


def test_dead_name_server_delays_neither_ready_nor_an_answer_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Hang
) -> None:
    agent = Agent(tmp_path, 1883)
    text = agent.config.read_text().replace("127.0.0.1", "broker.test")
    agent.config.write_text(text.replace("[mqtt]\n", "[mqtt]\nallow_plaintext = true\n"))

    def dead(*words: object) -> NoReturn:
        if words[-1] != socket.AI_NUMERICHOST:
            hang.wait()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", dead)
    running = Running(agent, monkeypatch)

    def talk() -> None:
        assert hang.began.wait(PATIENCE_S)
        assert running.ask(do="status")["doing"] == "not connected"
        signals = cast(dict[str, dict[str, object]], running.ask(do="conditions")["signals"])
        assert signals["network"]["reason"] == "its name has not been looked up yet"
        assert not hang.release.is_set()

    assert running.while_it_runs(talk) == Exit.OK
    assert not hang.release.is_set()


def test_slow_disk_delays_no_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Hang
) -> None:
    commit = durable.commit

    def slow(connection: sqlite3.Connection) -> None:
        if threading.current_thread().name == "disk":
            hang.wait()
        commit(connection)

    monkeypatch.setattr(durable, "commit", slow)
    agent = Agent(tmp_path, 1)
    running = Running(agent, monkeypatch)
    stored: list[object] = []

    def ingest() -> None:
        lines = rows(1, 3).splitlines()
        stored.append(running.ask(do="ingest", stream="wrist", form="csv", lines=lines))

    def talk() -> None:
        thread = threading.Thread(target=ingest)
        thread.start()
        assert hang.began.wait(PATIENCE_S)
        assert running.ask(do="status")["disk"] == "ok"
        assert stored == []
        hang.release.set()
        thread.join()
        assert stored

    assert running.while_it_runs(talk) == Exit.OK


def test_silent_sensor_delays_no_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Hang
) -> None:
    read = files.text

    def slow(path: str) -> str:
        if path.endswith("thermal_zone0/temp"):
            hang.wait()
        return read(path)

    monkeypatch.setattr(files, "text", slow)
    running = Running(Agent(tmp_path, 1), monkeypatch)
    told: list[object] = []

    def talk() -> None:
        thread = threading.Thread(target=lambda: told.append(running.ask(do="conditions")))
        thread.start()
        assert hang.began.wait(PATIENCE_S)
        assert running.ask(do="status")["disk"] == "ok"
        assert told == []
        hang.release.set()
        thread.join()
        assert told

    assert running.while_it_runs(talk) == Exit.OK
