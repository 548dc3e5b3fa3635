"""The aggregator's half of SPEC.md section 5, row by row (J1 to J9, U1 to U7, R1 to R8)."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fedling_broker.aggregation.limits import Sizes
from fedling_broker.aggregation.reading import Read
from fedling_broker.aggregation.vectors import Vector
from fedling_broker.rounds.events import (
    Action,
    CloseRound,
    Connected,
    Decision,
    Event,
    Folded,
    FoldRound,
    GrantPlace,
    JoinSeen,
    Opened,
    OpenRound,
    Past,
    PublishPlan,
    PublishRest,
    RecordDecision,
    SendReceipt,
    SendTicket,
    StoreUpdate,
    Tick,
    UpdateSeen,
)
from fedling_broker.rounds.machine import is_to_be_read, step
from fedling_broker.rounds.policy import DAY_S
from fedling_broker.rounds.state import (
    Folding,
    OnDisk,
    Open,
    Over,
    Pausing,
    Rounds,
    Rules,
    due,
    open_plan,
    restore,
)
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.rounds.terms import Terms
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Answer, Join, Receipt, Ticket, Update, Verdict

START = 10**9
HOUR = 3_600_000
ROUND = Synchronous(goal=2, minimum=1, deadline_ms=HOUR)
RULES = Rules(ROUND, rounds=2)
GRACE = ROUND.grace_s * 1000
TERMS = Terms(7, b"model", Codec.RAW_INT16, 100, 6)
ACCEPTED = Decision(b"update", Verdict.ACCEPTED, "")
JOIN = JoinSeen("one", Join(b"plan", b"nonce", None, None), True)
UPDATE = UpdateSeen(
    "one",
    Update(b"plan", 7, b"model", 100, Codec.RAW_INT16, b"vector", 0, 1),
    b"all of the message",
    b"update",
)
SIZE = len(UPDATE.message)


class Task:
    """Rounds at some time."""

    def __init__(self, rules: Rules = RULES, done: int = 0, plan: OnDisk | None = None) -> None:
        self.state: Rounds = restore(rules, done, plan, START)
        self.now = START

    def give(self, *events: Event) -> list[Action]:
        """The actions of the last of these events."""
        actions: list[Action] = []
        for event in events:
            self.state, actions = step(self.state, event, self.now)
        return actions

    def wait(self) -> list[Action]:
        """Until the next tick is due."""
        time = due(self.state)
        assert time is not None
        self.now = time
        return self.give(Tick())

    @property
    def open(self) -> Open:
        assert isinstance(self.state.phase, Open)
        return self.state.phase

    def placed(self, *devices: str) -> list[str]:
        """Those of these devices that have a place."""
        return [d for d in devices if self.open.cohort.until(d) is not None]


def opened(
    policy: Synchronous = ROUND,
    places: Mapping[str, int] | None = None,
    accepted: str = "",
    decisions: Mapping[str, Decision] | None = None,
) -> Task:
    """A round that is just open. accepted: names, by space"""
    known = dict.fromkeys(accepted.split(), ACCEPTED) | dict(decisions or {})
    plan = OnDisk(b"plan", TERMS, False, 0, places or {}, known)
    return Task(Rules(policy, 2), 0, plan)


def closed(rules: Rules = RULES, done: int = 0) -> Task:
    """A plan that is closed, and asked to be folded."""
    known = {"two": ACCEPTED, "three": ACCEPTED}
    task = Task(rules, done, OnDisk(b"plan", TERMS, True, 0, {}, known))
    assert task.give(Tick()) == [FoldRound(b"plan")]
    return task


def asks(
    device: str = "one",
    have: bytes | None = None,
    plan_id: bytes = b"plan",
    past: Past | None = None,
) -> JoinSeen:
    return JoinSeen(device, Join(plan_id, b"nonce", have, None), True, past)


def ticket(answer: Answer, seconds: int, reason: str = "", device: str = "one") -> SendTicket:
    return SendTicket(device, Ticket(b"plan", b"nonce", answer, seconds, reason))


def receipt(
    update_hash: bytes | None,
    verdict: Verdict,
    reason: str = "",
    of: Verdict | None = None,
    plan_id: bytes = b"plan",
) -> SendReceipt:
    return SendReceipt("one", Receipt(plan_id, update_hash, verdict, reason, of))


def stored(age_ms: int) -> StoreUpdate:
    return StoreUpdate("one", UPDATE.update, UPDATE.message, b"update", age_ms)


# --- a join ----------------------------------------------------------------------------------


def test_j1_no_certificate() -> None:
    task = opened()
    actions = task.give(replace(asks(have=b"update", plan_id=b"?"), certified=False))
    refused = Ticket(b"?", b"nonce", Answer.WAIT, ROUND.wait_s, "not enrolled")
    assert actions == [SendTicket("one", refused)]


@pytest.mark.parametrize("have", [None, b"update"])
def test_j2_unknown_plan_is_refused_and_not_written_down(have: bytes | None) -> None:
    actions = opened().give(asks(have=have, plan_id=b"?"))
    assert actions == [receipt(have, Verdict.REFUSED, "unknown plan", plan_id=b"?")]


VERDICTS = [
    ACCEPTED,
    Decision(b"update", Verdict.REFUSED, "shape"),
    Decision(b"update", Verdict.LATE, ""),
]


@pytest.mark.parametrize("have", [None, b"update"])
@pytest.mark.parametrize("known", VERDICTS)
def test_j3_decided(known: Decision, have: bytes | None) -> None:
    word = receipt(b"update", known.verdict, known.reason)
    task = opened(replace(ROUND, goal=3), decisions={"one": known})
    assert task.give(asks(have=have)) == [word]
    assert closed().give(asks(have=have, past=Past(known))) == [word]


def test_j4_another_update_was_decided() -> None:
    word = receipt(b"other", Verdict.REFUSED, "conflict")
    assert opened(accepted="one").give(asks(have=b"other")) == [word]
    assert closed().give(asks(have=b"other", past=Past(ACCEPTED))) == [word]


def test_j5_closed_without_an_update() -> None:
    assert closed().give(asks(past=Past(None))) == [receipt(None, Verdict.LATE)]


def test_j5_closed_with_an_update_is_written_down_first() -> None:
    assert closed().give(asks(have=b"update", past=Past(None))) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.LATE, ""), 0),
        receipt(b"update", Verdict.LATE),
    ]


def test_j5_plan_of_an_earlier_round() -> None:
    assert opened().give(asks(plan_id=b"plan 0", past=Past(None))) == [
        receipt(None, Verdict.LATE, plan_id=b"plan 0")
    ]


def test_j6_place_is_kept_and_its_seconds_count_down() -> None:
    task = opened()
    task.give(JOIN)
    task.now += 1_000_500
    assert task.give(JOIN) == [ticket(Answer.GO, 2599)]


def test_j6_place_without_seconds_is_prolonged() -> None:
    task = opened()
    task.give(JOIN)
    task.now += HOUR + 1
    assert task.give(JOIN) == [
        GrantPlace(b"plan", "one", 2 * HOUR + GRACE + 1, None, HOUR + 1),
        ticket(Answer.GO, 3600),
    ]


def test_j6_place_with_less_than_a_second_is_prolonged() -> None:
    task = opened()
    task.give(JOIN)
    task.now += HOUR - 999
    assert isinstance(task.give(JOIN)[0], GrantPlace)


def test_j7_not_in_the_named_cohort() -> None:
    task = opened(Synchronous(2, 2, members=frozenset({"two", "three"})))
    assert task.give(JOIN) == [ticket(Answer.WAIT, DAY_S, "not in cohort")]


def test_j7_everyone_in_the_named_cohort_has_a_place() -> None:
    names = [f"device{i}" for i in range(20)]
    task = opened(Synchronous(20, 20, members=frozenset(names)))
    for name in names:
        assert ticket(Answer.GO, DAY_S, device=name) in task.give(asks(name))


def test_j8_all_places_are_taken() -> None:
    task = opened()
    for name in ("two", "three", "four"):  # goal + 30 %
        task.give(asks(name))
    assert task.give(JOIN) == [ticket(Answer.WAIT, ROUND.wait_s, "cohort full")]


def test_j8_accepted_updates_take_places_too() -> None:
    task = opened(replace(ROUND, goal=3), accepted="two three")
    for name in ("four", "five"):
        task.give(asks(name))
    assert task.give(JOIN) == [ticket(Answer.WAIT, ROUND.wait_s, "cohort full")]


def test_j8_wait_ends_when_a_place_expires() -> None:
    task = opened(places={"two": 70_000, "three": 90_000, "four": 99_000})
    assert task.give(JOIN) == [ticket(Answer.WAIT, 70, "cohort full")]


def test_j8_place_is_not_given_away_before_ticket_and_grace_are_over() -> None:
    task = opened()
    for name in ("two", "three", "four"):
        task.give(asks(name))
    task.now += HOUR + GRACE - 1
    assert task.give(JOIN) == [ticket(Answer.WAIT, 1, "cohort full")]
    task.now += 1
    assert ticket(Answer.GO, 3600) in task.give(JOIN)


def test_j9_place_is_written_down_before_it_is_said() -> None:
    assert opened().give(JOIN) == [
        GrantPlace(b"plan", "one", HOUR + GRACE, None, 0),
        ticket(Answer.GO, 3600),
    ]


def test_j9_ticket_lasts_to_the_deadline() -> None:
    task = opened()
    task.now += HOUR - 5_500
    assert ticket(Answer.GO, 6) in task.give(JOIN)


def test_j9_ticket_without_deadline_lasts_a_day() -> None:
    assert ticket(Answer.GO, 86_400) in opened(replace(ROUND, deadline_ms=None)).give(JOIN)


def test_j9_expired_place_is_given_away() -> None:
    task = opened(places={"two": 70_000, "three": 60_000, "four": 99_000})
    task.now += 65_000
    actions = task.give(JOIN)
    assert isinstance(actions[0], GrantPlace)
    assert actions[0].instead_of == "three"
    assert task.placed("one", "two", "three", "four") == ["one", "two", "four"]


@pytest.mark.parametrize(("goal", "places"), [(1, 2), (2, 3), (10, 13), (11, 15), (20, 26)])
def test_j9_thirty_percent_more_places_than_the_goal(goal: int, places: int) -> None:
    assert Synchronous(goal, 1).capacity == places


# --- an update -------------------------------------------------------------------------------


@pytest.mark.parametrize("known", VERDICTS)
def test_u1_same_update_again(known: Decision) -> None:
    word = receipt(b"update", Verdict.DUPLICATE, known.reason, known.verdict)
    task = opened(replace(ROUND, goal=3), decisions={"one": known})
    assert task.give(UPDATE) == [word]
    assert closed().give(replace(UPDATE, past=Past(known))) == [word]


def test_u1_what_was_accepted_a_moment_ago_is_known() -> None:
    task = opened(replace(ROUND, goal=3), places={"one": 70_000})
    task.give(UPDATE)
    assert task.give(UPDATE) == [receipt(b"update", Verdict.DUPLICATE, "", Verdict.ACCEPTED)]


def test_u2_another_update_for_the_same_plan() -> None:
    word = receipt(b"other", Verdict.REFUSED, "conflict")
    other = replace(UPDATE, update_hash=b"other")
    assert opened(accepted="one").give(other) == [word]
    assert closed().give(replace(other, past=Past(ACCEPTED))) == [word]


def test_u3_unknown_plan_is_refused_and_not_written_down() -> None:
    update = replace(UPDATE, update=replace(UPDATE.update, plan_id=b"?"))
    assert opened().give(update) == [
        receipt(b"update", Verdict.REFUSED, "unknown plan", plan_id=b"?")
    ]


def test_u4_closed_plan() -> None:
    assert closed().give(replace(UPDATE, past=Past(None))) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.LATE, ""), SIZE),
        receipt(b"update", Verdict.LATE),
    ]


def test_u4_plan_of_an_earlier_round() -> None:
    earlier = replace(UPDATE, update=replace(UPDATE.update, plan_id=b"plan 0"), past=Past(None))
    task = opened(places={"one": 70_000})
    assert task.give(earlier)[-1] == receipt(b"update", Verdict.LATE, plan_id=b"plan 0")
    assert task.placed("one") == ["one"]


def test_u5_no_place() -> None:
    assert opened().give(UPDATE) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.REFUSED, "no ticket"), SIZE),
        receipt(b"update", Verdict.REFUSED, "no ticket"),
    ]


def test_u6_update_that_does_not_fit() -> None:
    task = opened(places={"one": 70_000, "two": 70_000})
    wrong = replace(UPDATE, update=replace(UPDATE.update, vector=b"another"))
    assert task.give(wrong) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.REFUSED, "shape"), SIZE),
        receipt(b"update", Verdict.REFUSED, "shape"),
    ]
    assert task.placed("one", "two") == ["two"]


CODED = replace(UPDATE, update=replace(UPDATE.update, codec=Codec.CODED, vector=b"\1"))


def coding() -> Task:
    """A round whose vectors are coded, in which a device has a place."""
    task = opened()
    task.give(asks())
    assert isinstance(task.state.phase, Open)
    terms = replace(TERMS, codec=Codec.CODED)
    task.state = replace(task.state, phase=replace(task.state.phase, terms=terms))
    return task


def test_u6_vector_that_no_encoder_wrote() -> None:
    refused = Decision(b"update", Verdict.REFUSED, "vector")
    assert coding().give(replace(CODED, unreadable=True)) == [
        RecordDecision(b"plan", "one", refused, SIZE),
        receipt(b"update", Verdict.REFUSED, "vector"),
    ]


def test_u7_what_was_read_goes_with_the_update() -> None:
    read = Read(Vector(np.zeros(1, np.int32), np.zeros(1, np.int32), 8), Sizes(1, 2, 3))
    (store, _) = coding().give(replace(CODED, read=read))
    assert isinstance(store, StoreUpdate)
    assert store.read is read


def test_only_what_may_be_accepted_is_to_be_read() -> None:
    task = coding()
    assert is_to_be_read(task.state, CODED)
    for other in (
        replace(CODED, device="two"),
        replace(CODED, update=replace(CODED.update, plan_id=b"?")),
        replace(CODED, update=replace(CODED.update, vector=b"\1" * 7)),
        replace(CODED, update=replace(CODED.update, weight=101)),
        UPDATE,
    ):
        assert not is_to_be_read(task.state, other)
    task.give(CODED)
    assert not is_to_be_read(task.state, CODED)
    assert not is_to_be_read(opened(accepted="two").state, UPDATE)


def test_u7_update_is_stored_before_it_is_said() -> None:
    task = opened(places={"one": 70_000, "two": 70_000})
    task.now += 5_000
    assert task.give(UPDATE) == [
        stored(5_000),
        receipt(b"update", Verdict.ACCEPTED),
    ]
    assert task.placed("one", "two") == ["two"]
    assert (task.open.cohort.accepted, task.open.cohort.decision("one")) == (1, ACCEPTED)


def test_u7_expired_place_that_nobody_needed_is_good() -> None:
    task = opened(replace(ROUND, deadline_ms=None), places={"one": 70_000})
    task.now += 80_000
    assert receipt(b"update", Verdict.ACCEPTED) in task.give(UPDATE)


# --- the round -------------------------------------------------------------------------------


def test_r1_first_round_opens_at_once() -> None:
    task = Task()
    assert task.give(Tick()) == [OpenRound(1)]
    assert task.give(Tick()) == []
    assert task.give(Opened(b"plan", TERMS)) == [PublishPlan(b"plan")]
    assert (task.open.plan_id, task.open.opened_ms, task.open.terms) == (b"plan", START, TERMS)
    assert open_plan(task.state) == b"plan"


def test_r2_round_closes_at_the_goal() -> None:
    task = opened(places={"one": 70_000}, accepted="two")
    assert task.give(UPDATE) == [
        stored(0),
        receipt(b"update", Verdict.ACCEPTED),
        CloseRound(b"plan"),
        FoldRound(b"plan"),
    ]


def test_r3_round_closes_at_the_deadline_with_the_minimum() -> None:
    task = opened(accepted="two")
    assert task.give(Tick()) == []
    assert task.wait() == [CloseRound(b"plan"), FoldRound(b"plan")]
    assert task.now == START + HOUR


def test_r4_round_stays_open_with_fewer() -> None:
    task = opened(places={"one": 2 * HOUR})
    assert task.wait() == []
    assert due(task.state) is None
    task.now += 60_000
    assert task.give(UPDATE)[2:] == [CloseRound(b"plan"), FoldRound(b"plan")]


def test_r4_goal_counts_before_the_deadline_only() -> None:
    task = opened(places={"one": 2 * HOUR})
    task.give(UPDATE)
    assert isinstance(task.state.phase, Open)


def test_r5_next_round_opens_at_once() -> None:
    assert closed().give(Folded(b"plan")) == [OpenRound(2)]


def test_r5_next_round_opens_after_the_pause() -> None:
    task = closed(replace(RULES, pause_s=60))
    assert task.give(Folded(b"plan")) == [PublishRest(60)]
    assert task.wait() == [OpenRound(2)]
    assert task.now == START + 60_000


def test_r1_a_fleet_is_measured_before_its_first_round() -> None:
    """Number 0 is no round of the task's: all of these follow, at once, and the pauses between."""
    rules = replace(RULES, rounds=1, pause_s=60)
    task = Task(rules, -1, None)
    assert task.give(Tick()) == [OpenRound(0)]
    measured = closed(rules, done=-1)
    assert measured.give(Folded(b"plan")) == [OpenRound(1)]
    assert measured.state.done == 0
    last = closed(rules, done=0)
    assert last.give(Folded(b"plan")) == [PublishRest(DAY_S)]


@pytest.mark.parametrize("done", [-1, 0, 1])
def test_r5_a_paused_task_rests_after_the_round_in_work(done: int) -> None:
    task = closed(replace(RULES, rounds=0, paused=True), done=done)
    assert task.give(Folded(b"plan")) == [PublishRest(DAY_S)]
    assert Task(replace(RULES, rounds=0, paused=True), done, None).state.phase == Over()


def test_r5_rest_after_the_last_round() -> None:
    task = closed(done=1)
    assert task.give(Folded(b"plan")) == [PublishRest(DAY_S)]
    assert (task.state.phase, due(task.state)) == (Over(), None)


def test_r5_rounds_for_ever() -> None:
    task = Task(replace(RULES, rounds=0), 10**6)
    assert task.give(Tick()) == [OpenRound(10**6 + 1)]


def test_r6_open_plan_is_published_on_connect() -> None:
    assert opened().give(Connected()) == [PublishPlan(b"plan")]


def test_r6_rest_is_published_on_connect() -> None:
    assert Task(RULES, done=2).give(Connected()) == [PublishRest(DAY_S)]
    task = Task(replace(RULES, pause_s=60), done=1)
    task.now += 20_000
    assert task.give(Connected()) == [PublishRest(40)]


def test_r7_closed_plan_is_folded_after_a_start() -> None:
    task = closed()
    assert task.state.phase == Folding(b"plan", asked=True)
    assert task.give(Tick()) == []


def test_r8_round_goes_on_after_a_start() -> None:
    plan = OnDisk(b"plan", TERMS, False, 1_000_000, {"one": 2_000_000}, {"two": ACCEPTED})
    task = Task(Rules(replace(ROUND, goal=3), 2), 0, plan)
    assert task.give(JOIN) == [ticket(Answer.GO, 700)]
    assert due(task.state) == START + HOUR - 1_000_000


def test_r8_round_that_was_full_when_it_crashed_closes() -> None:
    assert opened(accepted="one two").give(Tick()) == [CloseRound(b"plan"), FoldRound(b"plan")]


def test_r8_pause_begins_anew() -> None:
    task = Task(replace(RULES, pause_s=60), done=1)
    assert task.state.phase == Pausing(START + 60_000)


# --- around it -------------------------------------------------------------------------------


def test_places_never_exceed_the_cohort() -> None:
    task = opened()
    names = [f"device{i}" for i in range(100)]
    for name in names:
        task.now += 60_000
        task.give(asks(name))
        assert len(task.placed(*names)) == min(ROUND.capacity, names.index(name) + 1)
