"""The aggregator's half of SPEC.md section 5, row by row (J1 to J9, U1 to U7, R1 to R8)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

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
    PublishPlan,
    PublishRest,
    RecordDecision,
    SendReceipt,
    SendTicket,
    StoreUpdate,
    Tick,
    UpdateSeen,
)
from fedling_broker.rounds.machine import step
from fedling_broker.rounds.state import (
    DAY_S,
    Folding,
    OnDisk,
    Open,
    Over,
    Pausing,
    Rounds,
    Rules,
    due,
    restore,
)
from fedling_protocol.wire.messages import Answer, Verdict

START = 10**9
HOUR = 3_600_000
RULES = Rules(goal=2, minimum=1, rounds=2, deadline_ms=HOUR)
GRACE = RULES.grace_s * 1000
ACCEPTED = Decision(b"update", Verdict.ACCEPTED, "")
JOIN = JoinSeen("one", True, b"plan", b"nonce", None, True, None)
UPDATE = UpdateSeen("one", b"plan", b"update", "", True, None)


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


def opened(
    rules: Rules = RULES, places: Mapping[str, int] | None = None, accepted: str = ""
) -> Task:
    """A round that is just open. accepted: names, by space"""
    plan = OnDisk(b"plan", False, 0, places or {}, frozenset(accepted.split()))
    return Task(rules, 0, plan)


def closed() -> Task:
    return Task(plan=OnDisk(b"plan", True, 0, {}, frozenset({"one", "two"})))


def ticket(answer: Answer, seconds: int, reason: str = "", device: str = "one") -> SendTicket:
    return SendTicket(device, b"plan", b"nonce", answer, seconds, reason)


def receipt(
    update_hash: bytes | None, verdict: Verdict, reason: str = "", of: Verdict | None = None
) -> SendReceipt:
    return SendReceipt("one", b"plan", update_hash, verdict, reason, of)


# --- a join ----------------------------------------------------------------------------------


def test_j1_no_certificate() -> None:
    task = opened()
    actions = task.give(replace(JOIN, certified=False, known_plan=False, have=b"update"))
    assert actions == [ticket(Answer.WAIT, RULES.wait_s, "not enrolled")]


@pytest.mark.parametrize("have", [None, b"update"])
def test_j2_unknown_plan_is_refused_and_not_written_down(have: bytes | None) -> None:
    actions = opened().give(replace(JOIN, known_plan=False, have=have))
    assert actions == [receipt(have, Verdict.REFUSED, "unknown plan")]


@pytest.mark.parametrize("have", [None, b"update"])
@pytest.mark.parametrize("make", [opened, closed])
def test_j3_decided(make: Callable[[], Task], have: bytes | None) -> None:
    for known in (
        ACCEPTED,
        Decision(b"update", Verdict.REFUSED, "shape"),
        Decision(b"update", Verdict.LATE, ""),
    ):
        actions = make().give(replace(JOIN, have=have, known=known))
        assert receipt(b"update", known.verdict, known.reason) in actions
        assert not any(isinstance(action, RecordDecision) for action in actions)


def test_j4_another_update_was_decided() -> None:
    actions = opened().give(replace(JOIN, have=b"other", known=ACCEPTED))
    assert actions == [receipt(b"other", Verdict.REFUSED, "conflict")]


def test_j5_closed_without_an_update() -> None:
    task = closed()
    task.give(Tick())
    assert task.give(JOIN) == [receipt(None, Verdict.LATE)]


def test_j5_closed_with_an_update_is_written_down_first() -> None:
    task = closed()
    task.give(Tick())
    assert task.give(replace(JOIN, have=b"update")) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.LATE, "")),
        receipt(b"update", Verdict.LATE),
    ]


def test_j5_plan_of_an_earlier_round() -> None:
    assert opened().give(replace(JOIN, plan_id=b"plan 0")) == [
        SendReceipt("one", b"plan 0", None, Verdict.LATE, "", None)
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


def test_j7_not_in_the_named_cohort() -> None:
    task = opened(Rules(2, 2, 1, cohort=frozenset({"two", "three"})))
    assert task.give(JOIN) == [ticket(Answer.WAIT, DAY_S, "not in cohort")]


def test_j7_everyone_in_the_named_cohort_has_a_place() -> None:
    names = [f"device{i}" for i in range(20)]
    task = opened(Rules(20, 20, 1, cohort=frozenset(names)))
    for name in names:
        assert ticket(Answer.GO, DAY_S, device=name) in task.give(replace(JOIN, device=name))


def test_j8_all_places_are_taken() -> None:
    task = opened()
    for name in ("two", "three", "four"):  # goal + 30 %
        task.give(replace(JOIN, device=name))
    assert task.give(JOIN) == [ticket(Answer.WAIT, RULES.wait_s, "cohort full")]


def test_j8_accepted_updates_take_places_too() -> None:
    task = opened(replace(RULES, goal=3), accepted="two three")
    for name in ("four", "five"):
        task.give(replace(JOIN, device=name))
    assert task.give(JOIN) == [ticket(Answer.WAIT, RULES.wait_s, "cohort full")]


def test_j8_wait_ends_when_a_place_expires() -> None:
    task = opened(places={"two": 70_000, "three": 90_000, "four": 99_000})
    assert task.give(JOIN) == [ticket(Answer.WAIT, 70, "cohort full")]


def test_j8_place_is_not_given_away_before_ticket_and_grace_are_over() -> None:
    task = opened()
    for name in ("two", "three", "four"):
        task.give(replace(JOIN, device=name))
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
    assert ticket(Answer.GO, 86_400) in opened(replace(RULES, deadline_ms=None)).give(JOIN)


def test_j9_expired_place_is_given_away() -> None:
    task = opened(places={"two": 70_000, "three": 60_000, "four": 99_000})
    task.now += 65_000
    actions = task.give(JOIN)
    assert isinstance(actions[0], GrantPlace)
    assert actions[0].instead_of == "three"
    assert set(task.open.places) == {"one", "two", "four"}


@pytest.mark.parametrize(("goal", "places"), [(1, 2), (2, 3), (10, 13), (11, 15), (20, 26)])
def test_j9_thirty_percent_more_places_than_the_goal(goal: int, places: int) -> None:
    assert Rules(goal, 1, 1).capacity == places


# --- an update -------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.REFUSED, Verdict.LATE])
@pytest.mark.parametrize("make", [opened, closed])
def test_u1_same_update_again(make: Callable[[], Task], verdict: Verdict) -> None:
    actions = make().give(replace(UPDATE, known=Decision(b"update", verdict, "why")))
    assert receipt(b"update", Verdict.DUPLICATE, "why", verdict) in actions
    assert not any(isinstance(action, StoreUpdate | RecordDecision) for action in actions)


def test_u2_another_update_for_the_same_plan() -> None:
    actions = opened().give(replace(UPDATE, update_hash=b"other", known=ACCEPTED))
    assert actions == [receipt(b"other", Verdict.REFUSED, "conflict")]


def test_u3_unknown_plan_is_refused_and_not_written_down() -> None:
    actions = opened().give(replace(UPDATE, known_plan=False))
    assert actions == [receipt(b"update", Verdict.REFUSED, "unknown plan")]


def test_u4_closed_plan() -> None:
    task = closed()
    task.give(Tick())
    assert task.give(UPDATE) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.LATE, "")),
        receipt(b"update", Verdict.LATE),
    ]


def test_u4_plan_of_an_earlier_round() -> None:
    actions = opened(places={"one": 70_000}).give(replace(UPDATE, plan_id=b"plan 0"))
    assert actions[-1] == SendReceipt("one", b"plan 0", b"update", Verdict.LATE, "", None)


def test_u5_no_place() -> None:
    assert opened().give(UPDATE) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.REFUSED, "no ticket")),
        receipt(b"update", Verdict.REFUSED, "no ticket"),
    ]


@pytest.mark.parametrize("misfit", ["base", "codec", "weight", "shape"])
def test_u6_update_that_does_not_fit(misfit: str) -> None:
    task = opened(places={"one": 70_000, "two": 70_000})
    assert task.give(replace(UPDATE, misfit=misfit)) == [
        RecordDecision(b"plan", "one", Decision(b"update", Verdict.REFUSED, misfit)),
        receipt(b"update", Verdict.REFUSED, misfit),
    ]
    assert set(task.open.places) == {"two"}


def test_u7_update_is_stored_before_it_is_said() -> None:
    task = opened(places={"one": 70_000, "two": 70_000})
    task.now += 5_000
    assert task.give(UPDATE) == [
        StoreUpdate(b"plan", "one", b"update", 5_000),
        receipt(b"update", Verdict.ACCEPTED),
    ]
    assert set(task.open.places) == {"two"}
    assert task.open.accepted == {"one"}


def test_u7_expired_place_that_nobody_needed_is_good() -> None:
    task = opened(replace(RULES, deadline_ms=None), places={"one": 70_000})
    task.now += 80_000
    assert receipt(b"update", Verdict.ACCEPTED) in task.give(UPDATE)


# --- the round -------------------------------------------------------------------------------


def test_r1_first_round_opens_at_once() -> None:
    task = Task()
    assert task.give(Tick()) == [OpenRound(1)]
    assert task.give(Tick()) == []
    assert task.give(Opened(1, b"plan")) == [PublishPlan(b"plan")]
    assert task.open == Open(b"plan", START)


def test_r2_round_closes_at_the_goal() -> None:
    task = opened(places={"one": 70_000}, accepted="two")
    assert task.give(UPDATE) == [
        StoreUpdate(b"plan", "one", b"update", 0),
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
    task = closed()
    task.give(Tick())
    assert task.give(Folded(b"plan")) == [OpenRound(2)]


def test_r5_next_round_opens_after_the_pause() -> None:
    task = Task(replace(RULES, pause_s=60), 0, OnDisk(b"plan", True, 0, {}, frozenset()))
    task.give(Tick())
    assert task.give(Folded(b"plan")) == [PublishRest(60)]
    assert task.wait() == [OpenRound(2)]
    assert task.now == START + 60_000


def test_r5_rest_after_the_last_round() -> None:
    task = Task(RULES, 1, OnDisk(b"plan", True, 0, {}, frozenset()))
    task.give(Tick())
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
    assert task.give(Tick()) == [FoldRound(b"plan")]
    assert task.state.phase == Folding(b"plan", asked=True)
    assert task.give(Tick()) == []


def test_r8_round_goes_on_after_a_start() -> None:
    plan = OnDisk(b"plan", False, 1_000_000, {"one": 2_000_000}, frozenset({"two"}))
    task = Task(replace(RULES, goal=3), 0, plan)
    assert task.give(JOIN) == [ticket(Answer.GO, 700)]
    assert due(task.state) == START + HOUR - 1_000_000


def test_r8_round_that_was_full_when_it_crashed_closes() -> None:
    assert opened(accepted="one two").give(Tick()) == [CloseRound(b"plan"), FoldRound(b"plan")]


def test_r8_pause_begins_anew() -> None:
    task = Task(replace(RULES, pause_s=60), done=1)
    assert task.state.phase == Pausing(START + 60_000)


# --- around it -------------------------------------------------------------------------------


def test_step_leaves_the_old_state_alone() -> None:
    task = opened(places={"one": 70_000})
    before, places = task.state, dict(task.open.places)
    task.give(replace(JOIN, device="two"), UPDATE)
    assert isinstance(before.phase, Open)
    assert before.phase.places == places


def test_places_never_exceed_the_cohort() -> None:
    task = opened()
    for i in range(100):
        task.now += 60_000
        task.give(replace(JOIN, device=f"device{i}"))
        assert len(task.open.places) <= RULES.capacity
