"""A device that was away for some rounds, by a real MQTT broker: it fetches what has changed."""

import random
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_native import coded, parameter_counts
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire import counted, digest
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Plan, Update, Verdict
from tests.support.agent import Agent
from tests.support.fleet import ROOT, Aggregator, Device
from tests.support.waiting import until

TARGET = 200
COMPRESSION = f"[compression]\ntarget_bytes = {TARGET}"
HIDDEN = 100  # neurons, twice: a model of some thousand bytes


class Fleet:
    """An aggregator, one device that takes part in every round by script, and one by itself."""

    def __init__(self, directory: Path, port: int) -> None:
        self.loop = Loop()
        self.aggregator = Aggregator(directory / "broker", port)
        self.busy = Device(self.loop, port, 1)
        self.aggregator.enrol(self.busy)
        self.aggregator.add_task(rounds=20, goal=1, cohort=COMPRESSION)
        file = self.aggregator.directory / "tiny.toml"
        file.write_text(file.read_text().replace("[5, 3]", f"[{HIDDEN}, {HIDDEN}, 3]"))
        self.aggregator.run("task", "remove", "tiny")
        self.aggregator.run("task", "add", str(file))
        self.agent = Agent(directory / "device", port)
        self.agent.believe(ROOT.public)
        facts = self.agent.json("init")
        self.aggregator.run("device", "add", facts["device"], facts["key"])
        self.aggregator.start()

    def round(self, number: int) -> None:
        """One that changes the model."""
        plan = self.busy.wait_plan(number)
        assert self.busy.deliver(self._update(plan)).verdict is Verdict.ACCEPTED

    def _update(self, plan: Plan) -> Update:
        layers, draw = plan.spec.layers, random.Random(plan.round)
        weights, biases = parameter_counts(layers)
        raw = array("h", [draw.randrange(-60, 60) for _ in range(weights)]).tobytes()
        exponents = self._exponents(plan)
        seed = digest.codec_seed(plan.plan_id, self.busy.id)
        vector = coded.encode(layers, exponents, raw + bytes(4 * biases), TARGET, seed)
        return replace(self.busy.make_update(plan, 0), vector=vector)

    def _exponents(self, plan: Plan) -> tuple[int, ...]:
        """What a device knows that has the model."""
        version = plan.base_version
        self.busy.link.subscribe([self.busy.topics.of(Kind.MODEL, "tiny", version)])
        until(lambda: version in self.busy.models, self.loop.turn)
        return self.busy.models[version].exponents

    def fetch(self, version: int) -> None:
        """The device is there until it has this version."""
        self.agent.serve()
        until(lambda: version in self._versions(), self.loop.turn)
        assert self.agent.stop() == 0

    def _versions(self) -> list[int]:
        path = self.agent.state / "store.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return [version for (version,) in connection.execute("SELECT version FROM models")]

    def came(self, kind: Kind) -> int:
        """Tell how many bytes of a kind the device has taken in."""
        return int(self.agent.json("status")["counters"].get(counted.received(kind), 0))

    def close(self) -> None:
        if self.agent.process is not None:
            self.agent.kill()
        self.aggregator.kill()
        self.loop.close()


@pytest.fixture
def fleet(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Fleet]:
    made = Fleet(tmp_path, mosquitto.port)
    yield made
    made.close()


def test_who_missed_three_rounds_fetches_their_changes_alone(fleet: Fleet) -> None:
    fleet.fetch(1)
    whole = fleet.came(Kind.MODEL)
    assert whole > 0
    for number in (1, 2, 3):
        fleet.round(number)
    plan = fleet.busy.wait_plan(4)
    assert plan.recent is not None
    assert plan.recent.count == 3
    fleet.fetch(4)
    assert fleet.came(Kind.MODEL) == whole
    assert plan.recent.size < fleet.came(Kind.CHANGE) < plan.model_size


def test_who_comes_back_after_the_aggregator_began_anew_takes_the_whole_model(fleet: Fleet) -> None:
    """What stays retained from before is told no more; what comes later is."""
    fleet.fetch(1)
    first = fleet.came(Kind.MODEL)
    for number in (1, 2):
        fleet.round(number)
    fleet.busy.wait_plan(3)
    assert fleet.aggregator.stop() == 0
    fleet.aggregator.start()
    until(lambda: fleet.busy.plan and fleet.busy.plan.recent is None, fleet.loop.turn)
    fleet.fetch(3)
    both = fleet.came(Kind.MODEL)
    assert both > first
    for number in (3, 4):
        fleet.round(number)
    fleet.busy.wait_plan(5)
    fleet.fetch(5)
    assert fleet.came(Kind.MODEL) == both
