"""Power cuts and kills of three machines, one after another, at moments that a seed chooses."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fedling_protocol.exits import Exit
from fedling_protocol.wire.kinds import Kind
from tests.support.crash.keeper import Keeper
from tests.support.outages.disk import WAYS
from tests.support.outages.federation import AGGREGATOR, Federation
from tests.support.outages.judge import Judgement, judge
from tests.support.outages.machine import Machine
from tests.support.outages.witness import is_word_of

LATEST_S = 0.6  # after a recovery, or after the start that is interrupted
ASK_S = 0.05
ROUNDS_AFTER = 2  # that have to be held when all is over
BEHIND_S = (0.0, 0.002, 0.01, 0.05)  # what was said, most of the moments lie so close


@dataclass(frozen=True, slots=True)
class Outage:
    """What befalls a machine, and when."""

    cut: bool  # else a kill
    victim: str
    after: Kind | None  # the next message of this kind; None: in no time but a delay
    delay_s: float
    early: bool  # it strikes while the machine comes back from the outage before
    way: str  # what the disk is like from then on


@dataclass(frozen=True, slots=True)
class Recovery:
    """From the start of a process to its first word, or to its first answer."""

    outage: Outage
    seconds: float
    cpu_s: float  # of this process, in that time


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a campaign."""

    judgement: Judgement
    recoveries: list[Recovery]


def draw(dice: Random, names: Sequence[str], cuts: int, kills: int) -> list[Outage]:
    """So many of each, in any order."""
    kinds = [True] * cuts + [False] * kills
    dice.shuffle(kinds)
    outages: list[Outage] = []
    for cut in kinds:
        early = bool(outages) and dice.random() < 0.2
        victim = outages[-1].victim if early else dice.choice([AGGREGATOR, AGGREGATOR, *names])
        after = None if early or dice.random() < 0.3 else dice.choice(_SAID)
        delay_s = dice.uniform(0, LATEST_S) if after is None else dice.choice(BEHIND_S)
        outages.append(Outage(cut, victim, after, delay_s, early, dice.choice(WAYS)))
    return outages


_SAID = (Kind.PLAN, Kind.JOIN, Kind.TICKET, Kind.UPDATE, Kind.UPDATE, Kind.RECEIPT, Kind.RECEIPT)


def play(
    directory: Path, seed: int, cuts: int, kills: int, preload: Mapping[str, str] | None = None
) -> Result:
    """A whole campaign. Raises AssertionError when the federation does not go on."""
    with Keeper() as keeper, Federation(directory, keeper, preload or {}) as federation:
        federation.start()
        _hold_rounds(federation)
        recoveries = []
        names = [name for name in federation.machines if name != AGGREGATOR]
        outages = draw(Random(seed), names, cuts, kills)
        for number, outage in enumerate(outages):
            _strike(federation, outage)
            if number + 1 == len(outages) or not outages[number + 1].early:
                recoveries.append(_recover(federation, outage))
        _hold_rounds(federation)
        codes = federation.stop()
        assert set(codes) == {Exit.OK}, f"{codes}\n{federation.logs()}"
        return Result(judge(federation), recoveries)


def _hold_rounds(federation: Federation) -> None:
    """Wait until nothing stands in the way of a few rounds."""
    plan = federation.witness.plan
    until = ROUNDS_AFTER + (0 if plan is None else plan.round)

    def held() -> bool:
        now = federation.witness.plan
        return now is not None and now.round >= until

    federation.until(held, f"round {until}")


def _strike(federation: Federation, outage: Outage) -> None:
    machine = federation.machines[outage.victim]
    if outage.after is not None:
        federation.wait_for(lambda m: m.address.kind is outage.after, str(outage.after))
    federation.pass_time(outage.delay_s)
    if outage.cut:
        machine.cut(outage.way)
    else:
        machine.kill()
    machine.start()


def _recover(federation: Federation, outage: Outage) -> Recovery:
    """Wait for the first word of the machine that was struck."""
    machine = federation.machines[outage.victim]
    if outage.victim == AGGREGATOR:
        _ask_until_answered(federation)
    else:
        federation.wait_for(lambda m: is_word_of(m, outage.victim), f"a word of {outage.victim}")
    return _recovery(machine, outage)


def _recovery(machine: Machine, outage: Outage) -> Recovery:
    return Recovery(outage, time.monotonic() - machine.started_s, machine.cpu_s())


def _ask_until_answered(federation: Federation) -> None:
    """Each start is an epoch: an answer of a later one is this life's."""
    witness = federation.witness
    former = witness.epoch

    def again() -> None:
        if witness.answered <= former:
            witness.ask()
            federation.loop.after(ASK_S, again)

    again()
    federation.until(lambda: witness.answered > former, "an answer")
