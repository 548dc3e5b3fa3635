"""Watches a running federation and keeps the record of it."""

import time
from dataclasses import field
from typing import Any

from fedling_agent.conditions import words
from fedling_agent.conditions.table import TABLE
from fedling_broker.store.rounds import PlanRow
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import PlanKind
from fedling_sim.device import Device
from fedling_sim.evaluation import Examiner
from fedling_sim.federation import Federation
from fedling_sim.record import Event, Record, Round, Sample

AWAY = "left"
BACK = "back"
LATE = "late"

# Why a device does not train, by the code of the reason, for the progress and the report.
WORDS = {str(code): word for code, word in words.WORDS.items()} | {
    row.code: row.word for row in TABLE
}
VERDICTS = ("accepted", "late")
TALKS = ("joining", "ready", "sending")


Reason = dict[str, Any]  # as the agent's report.of_reason makes it


@dataclass(slots=True)
class Watched:
    """What was last seen of one device."""

    phase: str = ""
    doing: str = "starting"
    why: str = ""
    away: str = ""  # how it left in mid-training; empty: it has not, or came back
    late: set[str] = field(default_factory=set)  # plans


@dataclass(frozen=True, slots=True)
class Now:
    """The state of the run, for the progress."""

    second: float
    folded: int  # rounds
    round: int  # in work, or the last one
    rounds: int
    accepted: int  # updates in this round
    closed: int  # updates in the last round that is folded
    goal: int
    accuracy: float | None
    doing: dict[str, int]  # how many devices
    why: dict[str, int]


class Observer:
    """Call `look` often; each call asks a few of the devices how they are."""

    def __init__(self, federation: Federation, record: Record, examiner: Examiner) -> None:
        self.record = record
        self._federation = federation
        self.examiner = examiner
        self._seen = {device.id: Watched() for device in federation.devices}
        self._name = {device.id: device.name for device in federation.devices}
        self._turn = 0
        self._start_ms = _boot_ms()
        self._open: PlanRow | None = None
        self._accepted = 0
        self._folded = 0

    def start(self) -> None:
        """Begin: seconds count from now."""
        self._start_ms = _boot_ms()

    @property
    def second(self) -> float:
        """How many seconds have passed since the start."""
        return (_boot_ms() - self._start_ms) / 1000

    @property
    def opened(self) -> bool:
        """Whether the first round is open, or was."""
        return self._open is not None or self._folded > 0

    @property
    def done(self) -> bool:
        """Whether all rounds are folded."""
        return self._folded >= self._federation.aggregator.task.rules.rounds

    def look(self, devices: int) -> None:
        """Look at the aggregator, and at the next so many devices."""
        self._look_at_rounds()
        everybody = self._federation.devices
        for _ in range(min(devices, len(everybody))):
            self._look_at(everybody[self._turn % len(everybody)])
            self._turn += 1

    def now(self) -> Now:
        """Tell the progress where the run stands."""
        rules = self._federation.aggregator.task.rules
        done = [r.accuracy for r in self.record.rounds if r.accuracy is not None]
        seen = self._seen.values()
        return Now(
            second=self.second,
            folded=self._folded,
            round=self._open.round if self._open else self._folded,
            rounds=rules.rounds,
            accepted=self._accepted,
            closed=len(self.record.rounds[-1].accepted) if self.record.rounds else 0,
            goal=rules.policy.goal,
            accuracy=done[-1] if done else None,
            doing=_count(w.doing for w in seen),
            why=_count(w.why for w in seen if w.why),
        )

    # --- the aggregator --------------------------------------------------------------------------

    def _look_at_rounds(self) -> None:
        plans = self._trained()
        folded = [plan for plan in plans if plan.folded]
        for plan in folded[self._folded :]:
            self._close(plan)
        self._folded = len(folded)
        self._open = plans[-1] if plans and not plans[-1].folded else None
        self._accepted = 0
        if self._open is not None:
            decisions = self._federation.aggregator.decisions(self._open.plan_id)
            self._accepted = sum(d.verdict == "accepted" for d in decisions)

    def _trained(self) -> list[PlanRow]:
        """List the rounds in which something was trained: of statistics none is shown."""
        plans = self._federation.aggregator.plans()
        return [plan for plan in plans if plan.kind is PlanKind.TRAIN]

    def _close(self, plan: PlanRow) -> None:
        version = plan.base_version + 1
        self.record.rounds.append(
            Round(
                number=plan.round,
                version=version,
                opened_s=(plan.opened_ms - self._start_ms) / 1000,
                closed_s=self.second,
                goal=self._federation.aggregator.task.rules.policy.goal,
                accepted=[],
                late=[],
                accuracy=self.examiner.accuracy(*self._federation.aggregator.net(version)),
            )
        )
        self._add_verdicts(plan, self.record.rounds[-1])

    def finish(self) -> None:
        """Take in verdicts that came after their rounds' ends."""
        plans = {plan.round: plan for plan in self._trained()}
        for row in self.record.rounds:
            self._add_verdicts(plans[row.number], row)

    def _add_verdicts(self, plan: PlanRow, row: Round) -> None:
        decisions = self._federation.aggregator.decisions(plan.plan_id)
        by = {v: [self._name[d.device] for d in decisions if d.verdict == v] for v in VERDICTS}
        row.accepted, row.late = by["accepted"], by["late"]

    # --- the devices -----------------------------------------------------------------------------

    def _look_at(self, device: Device) -> None:
        status = device.status()
        if not status:
            return
        task: dict[str, Any] = status["tasks"].get(self._federation.aggregator.task.name, {})
        seen = self._seen[device.id]
        phase = str(task.get("phase", ""))
        reasons: list[Reason] = task.get("why_not", [])
        connected = bool(status["connection"]["connected"])
        self._notice_leaving(device, seen, phase, reasons, connected)
        self._notice_late(device, seen, task)
        seen.phase = phase
        seen.doing, seen.why = describe(phase, reasons, connected=connected)
        self.record.samples.append(Sample(self.second, device.name, seen.doing, seen.why))

    def _notice_leaving(
        self, device: Device, seen: Watched, phase: str, reasons: list[Reason], connected: bool
    ) -> None:
        if not seen.away and phase == "paused" and seen.phase in ("training", ""):
            seen.away = "paused"
            why = "; ".join(str(reason["sentence"]) for reason in reasons) or "conditions"
            self._event(device, AWAY, f"paused: {why}")
        elif not seen.away and phase == "training" and not connected:
            seen.away = "cut off"
            self._event(device, AWAY, "cut off from the network; trains on")
        elif seen.away == "paused" and phase != "paused":
            self._event(device, BACK, f"goes on: {phase}")
            seen.away = ""
        elif seen.away == "cut off" and connected:
            self._event(device, BACK, f"connected again: {phase}")
            seen.away = ""

    def _notice_late(self, device: Device, seen: Watched, task: dict[str, Any]) -> None:
        for receipt in task.get("receipts", []):
            if receipt["verdict"] == "late" and receipt["plan"] not in seen.late:
                seen.late.add(receipt["plan"])
                self._event(device, LATE, f"its update of round {receipt['round']} came too late")

    def _event(self, device: Device, what: str, detail: str) -> None:
        self.record.events.append(Event(self.second, device.name, what, detail))


def describe(phase: str, reasons: list[Reason], *, connected: bool) -> tuple[str, str]:
    """Say in a word what a device does and why not; no numbers, so that they add up."""
    why = next((word(str(reason["code"])) for reason in reasons), "")
    if phase == "training":
        return "training", ""
    if phase == "paused":
        return "paused", why
    if not connected:
        return "waiting", "cut off"
    if phase in TALKS:
        return "talking", why
    if phase == "waiting":
        return "waiting", "no place in the round"
    return "waiting", why or "round done"


def word(code: str) -> str:
    """Say a reason without its numbers; a code that we do not know is its own word."""
    return WORDS.get(code, code)


def _count(words: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
