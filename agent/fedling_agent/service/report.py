"""What status and conditions tell, as plain data; a person reads it through `commands/`."""

from collections.abc import Sequence
from typing import Protocol

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Condition, Readings, Reason
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.owner import Owner
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.table import TRAFFIC, WORK
from fedling_agent.conditions.used import Used
from fedling_agent.data.counting import Found
from fedling_agent.service.control import Json
from fedling_agent.session import state
from fedling_agent.session.state import Session
from fedling_agent.store.identity import Identity
from fedling_agent.store.ledger import Traffic
from fedling_agent.store.plans import PlanRecord
from fedling_agent.store.store import Store
from fedling_agent.training.slot import Occupant
from fedling_protocol.disk.errors import stored
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.labels import tidy
from fedling_protocol.wire.messages import Certificate, Plan, PlanKind, TaskSpec

RECEIPTS = 5  # shown, of each task
PATIENCE_S = 60.0  # connected; then a plan that did not come is a fault
LABELS = 32  # of each stream, the most frequent ones
BY_OPERATOR = "paused by the operator"


class Personal(Protocol):
    """The personal model of a task, as the running service knows it."""

    @property
    def doing(self) -> str: ...


class Live(Protocol):
    """One task, as the running service knows it."""

    task: str
    plan: Plan | None
    allowance: Allowance | None
    looked_at: float

    @property
    def personal(self) -> Personal: ...

    @property
    def failure(self) -> str: ...

    @property
    def wanted(self) -> int: ...

    @property
    def found(self) -> Found: ...

    @property
    def new_wanted(self) -> int: ...

    @property
    def new_found(self) -> int | None: ...

    @property
    def session(self) -> Session: ...

    @property
    def next_check_s(self) -> float | None: ...


def of_store(
    store: Store,
    identity: Identity | None,
    today: str,
    pending: Sequence[Traffic] = (),
    specs: Sequence[TaskSpec] = (),
) -> Json:
    """Tell what the store knows.

    pending: bytes at the socket that are not written there yet; specs: of the plans at hand
    """
    own = None if identity is None else certificate_of(store, identity.device)
    models = [store.models.newest(task) for task in store.models.tasks()]
    wanted = [*specs, *(model.spec for model in models if model is not None)]
    return {
        "device": None if identity is None else identity.device,
        "key": None if identity is None else identity.key.public.hex(),
        "enrol": None if identity is None else identity.add_command,
        "enrolled": own is not None and not own.revoked,
        "revoked": own is not None and own.revoked,
        "certificate": None if own is None else of_certificate(own),
        "tasks": {task: of_task(store, task) for task in store.tasks()},
        "streams": {
            name: summary._asdict() | of_labels(store, name, wanted)
            for name, summary in store.recordings.summary().items()
        },
        "aside": [path.name for path in store.aside()],
        "most_bytes": store.recordings.bounds.bytes,
        "bytes": of_bytes([*store.ledger.traffic(), *pending], today),
        "counters": store.ledger.counters(),
    }


def certificate_of(store: Store, device: str) -> Certificate | None:
    """Read the device's certificate as it is kept, which was verified before; None: it has none."""
    kept = store.vouched.certificate(device)
    if kept is None:
        return None
    with stored("the device's certificate"):
        message = payload.decode(Kind.KEYS, envelope.parse(kept, Kind.KEYS).payload)
        assert isinstance(message, Certificate)
    return message


def of_certificate(own: Certificate) -> Json:
    """Tell what the device's certificate says of it. until_s: Unix time; 0: it has no end"""
    return {
        "fleet": own.fleet,
        "name": own.name,
        "serial": own.serial,
        "issued_s": own.issued_s,
        "until_s": own.until_s,
    }


def of_labels(store: Store, stream: str, specs: Sequence[TaskSpec]) -> Json:
    """Tell how many samples have the most frequent labels, and those that tasks want."""
    wanted = {tidy(x): None for spec in specs if spec.stream == stream for x in spec.labels}
    counts = store.recordings.labels(stream, LABELS)
    counts |= {
        label: store.recordings.labelled(stream, label) for label in wanted if label not in counts
    }
    return {"labels": counts, "wanted": list(wanted)}


def of_task(store: Store, task: str) -> Json:
    """Tell one task's model, spool and receipts."""
    model, last = store.models.newest(task), store.plans.last(task)
    tested = store.plans.last_tested(task)
    receipts = store.spool.receipts(task)
    verdicts = [r.verdict for r in receipts if r.verdict is not None]
    return {
        "model": None
        if model is None
        else {"version": model.version, "hash": model.hash.hex(), "drawn": model.drawn},
        "clipped": None if last is None else last.clipped / last.values,
        "own_test": None if tested is None else of_test(tested),
        "personal": of_personal(store, task),
        "spool": [
            {"plan": e.plan_id.hex(), "update": e.update_hash.hex(), "bytes": e.size}
            for e in store.spool.entries(task)
        ],
        "verdicts": {str(v): verdicts.count(v) for v in dict.fromkeys(verdicts)},
        "receipts": [
            {
                "plan": r.plan_id.hex(),
                "round": r.round,
                "own_test": _own_test(store, r.plan_id),
                "verdict": None if r.verdict is None else str(r.verdict),
                "reason": r.reason,
                "time_ms": r.time_ms,
            }
            for r in receipts[:RECEIPTS]
        ],
    }


def of_personal(store: Store, task: str) -> Json | None:
    """Tell of the personal model that was made last, and what chose; None: none was made.

    in_use: it answers in place of the fleet's
    """
    made, model = store.personal.last(task), store.models.newest(task)
    if made is None:
        return None
    return {
        "model": made.version,
        "in_use": model is not None and store.personal.in_use(model) is not None,
        "windows": made.own.windows,
        "right": made.own.right,
        "fleets_right": made.fleets.right,
        "examples": made.examples,
    }


def _own_test(store: Store, plan_id: bytes) -> Json | None:
    """Tell of the test that the update of a plan told of, as long as the plan is known."""
    record = store.plans.find(plan_id)
    return None if record is None or record.tested is None else of_test(record)


def of_test(record: PlanRecord) -> Json:
    """Tell what a base model said of windows that were held out, as the update of a round says."""
    hits, labels = record.hits, record.plan.spec.labels
    assert hits is not None
    assert record.tested is not None
    return {
        "round": record.plan.round,
        "model": record.plan.base_version,
        **hits._asdict(),
        "labels": {label: one._asdict() for label, one in zip(labels, record.tested, strict=True)},
    }


def of_bytes(rows: Sequence[Traffic], today: str) -> Json:
    """Add up the bytes at the socket: today, in all, of the last rounds, and before them."""
    rounds: dict[str, list[int]] = {}
    for row in rows:
        if not row.day:
            continue
        counts = rounds.setdefault("" if row.plan_id is None else row.plan_id.hex(), [0, 0])
        counts[0] += row.sent
        counts[1] += row.received
    return {
        "today": _sum([(row.sent, row.received) for row in rows if row.day == today]),
        "total": _sum([(row.sent, row.received) for row in rows]),
        "earlier": _sum([(row.sent, row.received) for row in rows if not row.day]),
        "of_no_round": _sum([tuple(rounds.pop("", [0, 0]))]),
        "rounds": {plan: _sum([tuple(counts)]) for plan, counts in rounds.items()},
    }


def _sum(pairs: list[tuple[int, ...]]) -> Json:
    return {"sent": sum(p[0] for p in pairs), "received": sum(p[1] for p in pairs)}


# --- conditions ----------------------------------------------------------------------------------


def of_readings(rows: Sequence[Condition], readings: Readings) -> Json:
    """Tell every signal with its value, or why there is none, and where it was read."""
    return {row.name: _of_signal(row, readings) for row in rows}


def _of_signal(row: Condition, readings: Readings) -> Json:
    signal = readings.signals[row.name]
    return {
        "value": signal.value,
        "unit": row.unit,
        "source": signal.source,
        "lack": None if signal.lack is None else signal.lack.value,
        "reason": signal.detail,
    }


def of_reason(reason: Reason) -> Json:
    """Tell a reason: a code with its numbers for programs, the sentence for people."""
    return {
        "code": str(reason.code),
        "condition": reason.condition.name,
        "value": reason.value,
        "limit": reason.limit,
        "resume": reason.resume,
        "unit": reason.unit,
        "asker": reason.asker,
        "source": reason.source,
        "detail": reason.detail,
        "sentence": words.sentence(reason),
    }


def of_allowance(allowance: Allowance) -> Json:
    """Tell what may be done, and why not."""
    return {
        "train": allowance.train,
        "transfer": allowance.transfer,
        "send": allowance.send,
        "why_not_train": [of_reason(r) for r in allowance.train_reasons],
        "why_not_transfer": [of_reason(r) for r in allowance.transfer_reasons],
        "why_not_send": [of_reason(r) for r in allowance.send_reasons],
        "sentence": allowance.sentence,
    }


def of_used(policy: Policy, used: Used) -> Json:
    """Tell what the last 24 hours have cost, of what the owner gives."""
    given = {WORK: used.work_min, TRAFFIC: used.megabytes}
    return {
        row.name: {"used": value, "limit": policy.own(row).value, "unit": row.unit}
        for row, value in given.items()
    }


def of_pause(owner: Owner) -> Json | None:
    """Tell of the owner's pause; None: there is none. until_s: Unix time, as its clock is now"""
    pause = owner.pause
    if pause is None:
        return None
    left_s = owner.left_s(pause)
    until_s = None if left_s is None else round(owner.wall() + left_s)
    return {"reason": pause.reason, "left_s": left_s, "until_s": until_s}


# --- a task in the running service ---------------------------------------------------------------


def of_live(live: Live, run: Occupant | None, now: float) -> Json:
    """Tell a task's phase in a word and in a sentence. now: Clock.now()"""
    session, allowance = live.session, live.allowance
    plan = session.begun or session.offer
    age_s = now - live.looked_at
    return {
        "phase": type(session.phase).__name__.lower(),
        "doing": sentence(live, run, now),
        "why_not": [] if allowance is None else [of_reason(r) for r in allowance.reasons],
        "next_check_s": None if live.next_check_s is None else max(0.0, live.next_check_s - age_s),
        "plan": None if plan is None else plan.plan_id.hex(),
        "round": None if plan is None else plan.round,
        "progress": None if run is None else {"done": run.done, "total": run.job.total_steps},
        "too_few_new": None
        if live.new_found is None
        else {"wanted": live.new_wanted, "found": live.new_found},
        "failure": live.failure,
        "personal_doing": live.personal.doing,
    }


def sentence(live: Live, run: Occupant | None, now: float) -> str:
    """Say what a task does and, if it is nothing, why."""
    session = live.session
    words = _of_phase(session, run, now)
    if not words:
        return _why_idle(live)
    hindered = isinstance(session.phase, state.Paused | state.Ready)
    why = "" if live.allowance is None else live.allowance.sentence
    return f"{words}: {why}" if hindered and why else words


def _of_phase(session: Session, run: Occupant | None, now: float) -> str:
    """Say what a task does; empty if it is idle."""
    at = named(session.begun) if session.begun else "a round"
    step = f" at batch {run.done} of {run.job.total_steps}" if run else ""
    match session.phase:
        case state.Training():
            waits = run is not None and not run.running
            if session.begun and session.begun.kind is PlanKind.STATISTICS:
                return "counts its samples for the fleet's statistics"
            if waits:
                return f"waits for the training slot, {at}"
            return f"trains {at}{step}{_lacks(run, now)}"
        case state.Paused():
            return f"paused in {at}{step}"
        case state.Joining(have=have):
            return "asks what became of its update" if have else "asks to take part"
        case state.Waiting(reason=reason, due_ms=due):
            return f"told to wait: {reason}, asks again in {span(due / 1000 - now)}"
        case state.Ready():
            return "has a ticket, waits for the model" if session.fetch else "has a ticket, waits"
        case state.Sending(sent=sent):
            return "waits for the receipt" if sent else "sends its update"
        case state.Held(due_ms=due):
            times = session.sent.times if session.sent else 1
            return (
                f"sent its update {times} times, the aggregator has not got it: does the MQTT "
                f"broker let this device write it? See fedling-agent check; next try in "
                f"{span(due / 1000 - now)}"
            )
    return ""


def _lacks(run: Occupant | None, now: float) -> str:
    """Say that the training gets no processor, and since when; empty if it does."""
    lacked_s = run.lacked_s(now) if run else 0.0
    if not lacked_s:
        return ""
    return (
        f", and has waited {span(lacked_s)} for a processor that others have: it takes what they "
        "leave; training.only_idle = false gives it a share"
    )


def _why_idle(live: Live) -> str:
    session, allowance = live.session, live.allowance
    why = "" if allowance is None else allowance.sentence
    if session.spool:
        return f"an update waits to be sent{': ' + why if why else ''}"
    if session.offer is None:
        if session.fetch and why:
            return f"a model waits to be fetched: {why}"
        return "no open plan" if session.standstill is None else standstill(session.standstill)
    if not session.enough and live.new_found is not None:
        return f"not training: {_too_few_new(live.new_wanted, live.new_found)}"
    if not session.enough:
        return f"not training: {_too_few(session.offer.spec, live.wanted, live.found)}"
    return f"not training: {why}" if why else "about to ask"


def standstill(words: str) -> str:
    """Say that the operator has paused a task, in the operator's own words."""
    return f"{BY_OPERATOR}{': ' if words else ''}{words}"


def named(plan: Plan) -> str:
    """Name a round for people."""
    return f"round {plan.round}" if plan.round else "the round of statistics"


def _too_few(spec: TaskSpec, wanted: int, found: Found) -> str:
    if 0 < found.longest < spec.window:
        what = "of one label" if spec.labels else "without a hole"
        return f"the longest stretch {what} has {found.longest} samples, a window is {spec.window}"
    return f"fewer than {wanted} examples: {found.windows} are here"


def _too_few_new(wanted: int, found: int) -> str:
    since = "since its last update that was accepted"
    if not found:
        return f"no new examples {since}"
    return f"fewer than {wanted} new examples {since}: {found} are here"


# --- a device without a task ----------------------------------------------------------------------


def foreign_words(fleet: str) -> str:
    """Say that the aggregator here is another root key's."""
    return (
        f"the aggregator of fleet {fleet} is not one that root_key of agent.toml signs: is that "
        "the key which fedling-broker init printed?"
    )


def revoked_words(fleet: str) -> str:
    """Say that this device was put out of the fleet, and the way back."""
    return (
        f"revoked: fleet {fleet} has put this device out; it trains no more, its models go on"
        " answering. If that is a mistake, ask the operator for a token and run: fedling-agent"
        " enroll TOKEN --again"
    )


def no_plan_words(fleet: str, known: bool, since_s: float) -> str:
    """Say that no plan came. known: an aggregator's certificate did; since_s: connected."""
    words = "no plan was seen yet"
    if since_s < PATIENCE_S:
        return words
    if not known:
        words += f", nor an aggregator of fleet {fleet}: is that its name?"
    return f"{words}; fedling-agent check says why"


def span(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
