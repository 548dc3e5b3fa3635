"""The simulator's small demo, whose devices and aggregator are killed while it runs."""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fedling_sim import accounts, run
from fedling_sim.aggregator import Aggregator
from fedling_sim.device import Device
from fedling_sim.federation import Federation
from tests.support import small_task
from tests.support.waiting import until

DEVICES, GOAL = 5, 4
PAUSE_S = 1.0  # between two kills, at most
LOOK_S = 0.01
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a demo."""

    kills: int
    updates: int  # that were accepted
    accounts: list[str]  # where journal and receipts of devices differ, one to one
    verify: list[str]  # models that cannot be recomputed
    worst_recovery_s: float


def play(directory: Path, seed: int, kills: int) -> Played:
    """Raises ChildDied, DeviceFailed, AssertionError when it does not go on."""
    dice = Random(seed)
    task = small_task.write(
        directory / "task", devices=DEVICES, rounds=3 + kills * 3 // 4, goal=GOAL
    )
    scenario, data = run.prepare(task, seed, None, None)
    with Federation(scenario, data, directory / "run") as federation:
        federation.start()
        began, worst = now(), 0.0
        for _ in range(kills):
            _live(federation, began, dice.uniform(0, PAUSE_S))
            worst = max(worst, _kill(federation, dice))
        while _rounds(federation.aggregator) < scenario.task.rules.rounds:
            _live(federation, began, LOOK_S)
        federation.fair_weather()
        federation.wait_for_receipts(PATIENCE_S)
        federation.stop()
        wrong = accounts.faults(federation.aggregator, federation.devices, [])
        verified = federation.aggregator.command("round", "verify", "--all")
        faults = [model["fault"] for model in verified["models"] if model["fault"]]
        return Played(kills, _accepted(federation.aggregator), wrong, faults, worst)


def _live(federation: Federation, began: float, seconds: float) -> None:
    """Let it run, in its weather."""
    end = now() + seconds
    while True:
        federation.weather(now() - began)
        federation.check()
        assert now() < began + PATIENCE_S, "the rounds do not come to an end"
        if now() >= end:
            return
        time.sleep(LOOK_S)  # as long as the weather of a trace lasts


def _kill(federation: Federation, dice: Random) -> float:
    """Kill one, start it again, and wait until it is connected; how long that took."""
    all_of_them: list[Aggregator | Device] = [
        federation.aggregator,
        federation.aggregator,
        *federation.devices,
    ]
    victim = dice.choice(all_of_them)
    before = _connects(victim)
    victim.process.kill()
    started = now()
    victim.process.start()
    federation.fair_weather()  # or its network might be off

    def is_back() -> bool:
        federation.check()
        return _connects(victim) > before

    until(is_back, says=victim.process.tail, look_s=LOOK_S, patience_s=PATIENCE_S)
    return now() - started


def now() -> float:
    """Seconds: a recovery is measured, and a weather has its time."""
    return time.monotonic()  # what this is for


def _connects(victim: Aggregator | Device) -> int:
    """How often it has said so, in all its lives."""
    return victim.process.log.read_text(errors="replace").count(" connected to ")


def _rounds(aggregator: Aggregator) -> int:
    return sum(plan.folded for plan in aggregator.plans() if plan.round)


def _accepted(aggregator: Aggregator) -> int:
    plans = aggregator.plans()
    return sum(
        row.verdict == "accepted" for plan in plans for row in aggregator.decisions(plan.plan_id)
    )
