"""Power cuts, kills, bad disks of three machines, one after another, when a seed says so."""

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from fedling_protocol.exits import Exit
from fedling_protocol.wire.kinds import Kind
from tests.support.crash.keeper import Keeper
from tests.support.outages.bad_disk import SEEN, Trouble
from tests.support.outages.disk import WAYS
from tests.support.outages.federation import AGGREGATOR, Federation
from tests.support.outages.judge import Judgement, judge
from tests.support.outages.witness import is_word_of

EARLY = 0.2  # of them
LONGEST_S = 2.0  # a spell
LATEST_S = 0.6  # after a recovery, or after the start that is interrupted
ASK_S = 0.05
TELL = 20  # outages, then a line on how far it is
ROUNDS_AFTER = 2  # that have to be held when all is over
BEHIND_S = (0.0, 0.002, 0.01, 0.05)  # what was said, most of the moments lie so close


class What(StrEnum):
    """What befalls a machine."""

    CUT = "power cut"
    KILL = "kill -9"
    SPELL = "bad disk"  # for a while


@dataclass(frozen=True, slots=True)
class Outage:
    """What befalls a machine, and when."""

    what: What
    victim: str
    after: Kind | None  # the next message of this kind; None: in no time but a delay
    delay_s: float
    early: bool  # it strikes while the machine comes back from the outage before
    way: str  # of a cut: what the disk is like from then on
    trouble: Trouble  # of a spell
    for_s: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """From the start of a process, or the end of a spell, to its next word or answer."""

    outage: Outage
    seconds: float
    cpu_s: float  # of this process, since its start


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a campaign."""

    judgement: Judgement
    recoveries: list[Recovery]


def draw(dice: Random, names: Sequence[str], cuts: int, kills: int, spells: int) -> list[Outage]:
    """So many of each, in any order."""
    kinds = [What.CUT] * cuts + [What.KILL] * kills + [What.SPELL] * spells
    dice.shuffle(kinds)
    outages: list[Outage] = []
    for what in kinds:
        early = bool(outages) and dice.random() < EARLY
        victim = outages[-1].victim if early else dice.choice([AGGREGATOR, AGGREGATOR, *names])
        after = None if early or dice.random() < 0.3 else dice.choice(_SAID)
        delay_s = dice.uniform(0, LATEST_S) if after is None else dice.choice(BEHIND_S)
        way, trouble, for_s = dice.choice(WAYS), dice.choice(SEEN), dice.uniform(0.05, LONGEST_S)
        outages.append(Outage(what, victim, after, delay_s, early, way, trouble, for_s))
    return outages


_SAID = (Kind.PLAN, Kind.JOIN, Kind.TICKET, Kind.UPDATE, Kind.UPDATE, Kind.RECEIPT, Kind.RECEIPT)


def play(
    directory: Path,
    seed: int,
    cuts: int,
    kills: int,
    spells: int,
    forgetful: Collection[str] = (),
) -> Result:
    """A whole campaign. Raises AssertionError when the federation does not go on.

    With forgetful disks it may well not: what is left is judged all the same.
    """
    with Keeper() as keeper, Federation(directory, keeper, forgetful) as federation:
        recoveries: list[Recovery] = []
        names = [name for name in federation.machines if name != AGGREGATOR]
        try:
            _suffer(federation, draw(Random(seed), names, cuts, kills, spells), recoveries)
        except AssertionError:
            if not forgetful:
                raise
            federation.halt()
        return Result(judge(federation), recoveries)


def _suffer(federation: Federation, outages: Sequence[Outage], recoveries: list[Recovery]) -> None:
    """From the first start to an end in good order, through all outages. Raises AssertionError."""
    federation.start()
    _hold_rounds(federation)
    for number, outage in enumerate(outages):
        _strike(federation, outage)
        if number + 1 == len(outages) or not outages[number + 1].early:
            recoveries.append(_recover(federation, outage))
        if (number + 1) % TELL == 0:
            print(f"{number + 1} of {len(outages)} outages", file=sys.stderr)
    _hold_rounds(federation)
    codes = federation.stop()
    assert set(codes) == {Exit.OK}, f"{codes}\n{federation.logs()}"


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
    match outage.what:
        case What.CUT:
            machine.cut(outage.way)
            machine.start()
        case What.KILL:
            machine.kill()
            machine.start()
        case What.SPELL:
            machine.be_in(outage.trouble)
            federation.pass_time(outage.for_s)
            machine.be_in(Trouble.WELL)


def _recover(federation: Federation, outage: Outage) -> Recovery:
    """Wait for the first word of the machine that was struck."""
    # How long it takes is the bench's figure; no test looks at it.
    machine, well_s = federation.machines[outage.victim], time.monotonic()
    if outage.victim == AGGREGATOR:
        _ask_until_answered(federation, of_a_new_life=outage.what is not What.SPELL)
    else:
        federation.wait_for(lambda m: is_word_of(m, outage.victim), f"a word of {outage.victim}")
    since = well_s if outage.what is What.SPELL else machine.started_s
    return Recovery(outage, time.monotonic() - since, machine.cpu_s())  # as above


def _ask_until_answered(federation: Federation, *, of_a_new_life: bool) -> None:
    """Each start is an epoch: an answer of a later one is this life's."""
    witness = federation.witness
    epoch, answers = witness.epoch, witness.answers

    def is_answered() -> bool:
        return witness.answered > epoch if of_a_new_life else witness.answers > answers

    def again() -> None:
        if not is_answered():
            witness.ask()
            federation.loop.after(ASK_S, again)

    again()
    federation.until(is_answered, "an answer")
