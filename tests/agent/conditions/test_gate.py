"""One task's decision, with its memory."""

from pathlib import Path

import pytest

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.conditions.table import TABLE
from fedling_agent.conditions.watcher import Watcher
from fedling_protocol.runtime.worker import InlineWorker
from fedling_protocol.wire.messages import Conditions
from tests.support.conditions import FakeWorker, Machine, policy
from tests.support.ports import HandClock


def test_gauge_that_is_slower_than_a_lease_gives_leases_all_the_same(tmp_path: Path) -> None:
    machine, clock, worker = Machine(tmp_path), HandClock(), FakeWorker()
    watcher = Watcher(TABLE, machine.roots, clock, worker)
    leases: list[float] = []

    def answer(allowance: Allowance, readings: Readings) -> None:
        assert allowance.train
        leases.append(readings.good_until - clock.now())

    gate = Gate(policy(), watcher, lambda: None)
    gate.refresh(answer)
    clock.move(0.3)
    worker.run()
    assert leases == [pytest.approx(0.3)]  # as long as the reading took


def test_gate_of_a_battery_that_goes_down_and_up(tmp_path: Path) -> None:
    machine, clock, asked = Machine(tmp_path), HandClock(), [Conditions(False, 0, 90)]
    watcher = Watcher(TABLE, machine.roots, clock, InlineWorker(clock))
    gate = Gate(policy(network=False), watcher, lambda: asked[0])
    told: list[tuple[Allowance, Readings]] = []

    def see(capacity: int) -> bool:
        machine.supply("BAT0", type="Battery", status="Discharging", capacity=str(capacity))
        gate.refresh(lambda *answer: told.append(answer))
        clock.move(0.1)
        assert gate.fresh
        assert gate.look() == told[-1][0]
        assert told[-1][1] is watcher.latest
        return gate.look().train

    assert not gate.fresh
    assert not gate.look().train  # nothing was read yet
    assert [see(c) for c in (50, 39, 44, 45, 41)] == [True, False, False, True, True]
    asked[0] = Conditions(False, 60, 90)
    assert not gate.look().train
    clock.move(1)
    assert not gate.fresh
