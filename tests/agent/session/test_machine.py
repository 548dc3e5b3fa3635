"""A session asks and is answered: SPEC.md section 5, rows D1 to D7."""

from dataclasses import replace

import pytest

from fedling_agent.session.events import (
    Allowed,
    AskPlan,
    CancelFetch,
    Connected,
    Disconnected,
    Enrolled,
    Event,
    FetchModel,
    ModelComing,
    ModelStored,
    PlanSeen,
    RestSeen,
    SendUpdate,
    StartTraining,
    TicketSeen,
)
from fedling_agent.session.state import (
    Joining,
    Ready,
    Sending,
    Spooled,
    Timing,
    Training,
    Waiting,
)
from fedling_protocol.wire.messages import Answer, Ticket
from tests.support.session import ALL, ENTRY, NEXT, PLAN, REST, RETRY, SEEN, Device, joining, joins

# --- D1: models ------------------------------------------------------------------------------


def test_d1_missing_model_of_a_plan_is_fetched() -> None:
    device = Device()
    actions = device.give(ALL, Connected(), replace(SEEN, held=False))
    assert FetchModel(1, b"model 1", 1000) in actions


def test_d1_missing_model_of_a_rest_is_fetched() -> None:
    device = Device()
    assert device.give(ALL, Connected(), RestSeen(REST, held=False)) == [
        FetchModel(2, b"model 2", 1000)
    ]


def test_d1_model_is_fetched_even_if_conditions_for_training_fail() -> None:
    device = Device()
    actions = device.give(Allowed(False, True, True, True), Connected(), replace(SEEN, held=False))
    assert actions == [FetchModel(1, b"model 1", 1000)]


def test_d1_model_is_fetched_by_a_device_that_takes_no_part() -> None:
    device = Device()
    actions = device.give(Allowed(False, True, False, True), Connected(), replace(SEEN, held=False))
    assert actions == [FetchModel(1, b"model 1", 1000)]
    assert device.give(ModelStored(1, b"model 1")) == []
    assert len(joins(device.give(ALL))) == 1


def test_d1_no_model_is_fetched_while_transfers_are_forbidden() -> None:
    device = Device()
    assert (
        device.give(Allowed(True, False, False, True), Connected(), replace(SEEN, held=False)) == []
    )
    assert FetchModel(1, b"model 1", 1000) in device.give(ALL)


def test_d1_fetch_stops_when_transfers_are_forbidden() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    assert device.give(Allowed(True, False, False, True)) == [CancelFetch(2)]
    assert device.give(ALL) == [FetchModel(2, b"model 2", 1000)]


def test_d1_newer_model_replaces_a_fetch() -> None:
    device = Device()
    device.give(ALL, Connected(), replace(SEEN, held=False))
    actions = device.give(RestSeen(REST, held=False))
    assert actions == [CancelFetch(1), FetchModel(2, b"model 2", 1000)]


def test_d1_chunks_keep_a_fetch_alive() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    device.now += Timing().transfer_ms - 1
    device.give(ModelComing(2))
    assert device.state.fetch is not None
    assert device.state.fetch.due_ms == device.now + Timing().transfer_ms


def test_d1_chunk_of_another_version_keeps_nothing_alive() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    fetch = device.state.fetch
    device.now += 1000
    device.give(ModelComing(1))
    assert device.state.fetch == fetch


def test_d1_chunk_that_comes_when_transfers_are_forbidden_begins_nothing() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    device.give(Allowed(True, False, False, True))
    assert device.give(ModelComing(2)) == []
    assert device.state.fetch is not None
    assert device.state.fetch.due_ms is None


def test_d1_older_model_does_not_replace_a_fetch() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    assert device.give(RestSeen(replace(REST, version=1, model_hash=b"model 1"), False)) == []


def test_d1_older_model_does_not_replace_a_fetch_that_could_not_begin() -> None:
    """Found by schedule 5798: the plan came after the rest that followed it."""
    device = Device()
    device.give(Allowed(True, False, False, True), Connected(), RestSeen(REST, held=False))
    device.give(replace(SEEN, finished=True))
    assert device.give(ALL) == [FetchModel(2, b"model 2", 1000)]


def test_d1_fetch_that_takes_too_long_ends_in_a_new_join() -> None:
    device = Device()
    device.give(ALL, Connected(), replace(SEEN, held=False))
    device.answer(Answer.GO, 3600)
    assert isinstance(device.state.phase, Ready)
    assert device.wait() == [CancelFetch(1, late=True), AskPlan()]
    assert device.now - 1_000_000 == Timing().transfer_ms
    assert len(joins(device.give(replace(SEEN, held=False)))) == 1


def test_d1_given_up_fetch_gives_way_to_any_other() -> None:
    """After a restore from a backup the newest model has a smaller number."""
    device = Device()
    device.give(ALL, Connected(), RestSeen(replace(REST, look_again_s=10**6), held=False))
    device.wait()
    older = RestSeen(replace(REST, version=1, model_hash=b"model 1"), held=False)
    assert device.give(older) == [FetchModel(1, b"model 1", 1000)]


def test_d1_another_model_than_the_wanted_one_changes_nothing() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=False))
    before = device.state
    assert device.give(ModelStored(2, b"model x")) == []
    assert device.state == before


# --- D2, D3: asking --------------------------------------------------------------------------


def test_d2_open_plan_is_joined() -> None:
    device = Device()
    actions = device.give(ALL, Connected(), SEEN)
    assert len(joins(actions)) == 1
    assert (joins(actions)[0].plan_id, joins(actions)[0].have) == (b"plan 1", None)
    assert isinstance(device.state.phase, Joining)


@pytest.mark.parametrize(
    "allowed",
    [
        Allowed(False, True, True, True),
        Allowed(True, False, False, True),
        Allowed(True, True, False, True),
        Allowed(True, True, True, False),
    ],
)
def test_d2_conditions_fail(allowed: Allowed) -> None:
    device = Device()
    assert device.give(allowed, Connected(), SEEN) == []
    assert len(joins(device.give(ALL))) == 1


def test_d2_finished_plan_is_not_joined() -> None:
    device = Device()
    assert device.give(ALL, Connected(), replace(SEEN, finished=True)) == []


def test_d2_same_plan_again_changes_nothing() -> None:
    device = joining()
    before = device.state
    assert device.give(SEEN) == []
    assert device.state == before


def test_d3_spooled_update_is_asked_about() -> None:
    device = Device(spool=(ENTRY,))
    actions = device.give(ALL, Connected())
    assert [(j.plan_id, j.have) for j in joins(actions)] == [(b"plan 1", b"update 1")]


def test_d3_spooled_update_needs_no_conditions_for_training() -> None:
    device = Device(spool=(ENTRY,))
    assert len(device.give(Allowed(False, True, True, False), Connected())) == 1


def test_d3_nothing_is_asked_while_transfers_are_forbidden() -> None:
    device = Device(spool=(ENTRY,))
    assert device.give(Allowed(True, False, False, True), Connected()) == []


def test_d3_plan_of_the_spooled_update_is_no_offer() -> None:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected(), SEEN)
    assert device.state.offer is None


def test_d3_oldest_entry_comes_first() -> None:
    device = Device(spool=(ENTRY, Spooled(b"plan 2", b"update 2")))
    assert joins(device.give(ALL, Connected()))[0].plan_id == b"plan 1"
    assert joins(device.receipt())[0].plan_id == b"plan 2"


# --- D4 to D7: answers -----------------------------------------------------------------------


def test_d4_go_begins_the_training() -> None:
    device = joining()
    assert device.answer(Answer.GO, 600) == [StartTraining(PLAN)]
    assert (device.state.phase, device.state.begun) == (Training(), PLAN)


def test_d4_go_waits_for_the_model() -> None:
    device = Device()
    device.give(ALL, Connected(), replace(SEEN, held=False))
    assert device.answer(Answer.GO, 600) == []
    assert device.state.phase == Ready()
    assert device.give(ModelStored(1, b"model 1")) == [StartTraining(PLAN)]


@pytest.mark.parametrize(
    "allowed", [Allowed(False, True, True, True), Allowed(True, True, True, False)]
)
def test_d4_go_waits_for_conditions(allowed: Allowed) -> None:
    device = joining()
    device.give(allowed)
    assert device.answer(Answer.GO, 600) == []
    assert device.give(ALL) == [StartTraining(PLAN)]


def test_d4_ticket_that_runs_out_before_the_training_is_asked_for_again() -> None:
    device = Device()
    device.give(ALL, Connected(), replace(SEEN, held=False))
    device.answer(Answer.GO, 600)
    assert len(joins(device.wait())) == 1
    assert device.now == 1_000_000 + 600_000


def test_d4_go_with_another_nonce_is_ignored() -> None:
    device = joining()
    before = device.state
    assert device.give(TicketSeen(Ticket(b"plan 1", b"8 others", Answer.GO, 600, ""))) == []
    assert device.state == before


def test_d4_go_counts_from_the_join() -> None:
    device = joining()
    device.now += 20_000
    assert device.answer(Answer.GO, 20) == []
    assert isinstance(device.state.phase, Joining)


def test_d5_go_publishes_the_spooled_update() -> None:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected())
    assert device.answer(Answer.GO, 600) == [SendUpdate(b"plan 1", b"update 1")]
    assert isinstance(device.state.phase, Sending)


def test_d5_go_is_not_used_when_transfers_are_forbidden_meanwhile() -> None:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected(), Allowed(True, False, False, True))
    assert device.answer(Answer.GO, 600) == []
    assert len(joins(device.give(ALL))) == 1


@pytest.mark.parametrize("reason", ["cohort full", "not in cohort", "not enrolled"])
def test_d6_wait_is_at_least_as_long_as_told(reason: str) -> None:
    device = joining()
    assert device.answer(Answer.WAIT, 60, reason) == []
    assert isinstance(device.state.phase, Waiting)
    assert len(joins(device.wait())) == 1
    assert 60_000 <= device.now - 1_000_000 <= 60_000 + 2 * RETRY


def test_d6_uncertified_device_asks_less_and_less_often() -> None:
    device = joining()
    waits = []
    for _ in range(12):
        device.answer(Answer.WAIT, 1, "not enrolled")
        before = device.now
        device.wait()
        waits.append(device.now - before)
    assert max(waits[:2]) <= 1_000 + 4 * RETRY
    assert max(waits[7:]) > 10 * RETRY
    assert max(waits) <= 1_000 + Timing().longest_ms


def test_d6_full_cohort_is_asked_again_as_often_as_told() -> None:
    device = joining()
    for _ in range(20):
        before = device.now
        device.answer(Answer.WAIT, 60, "cohort full")
        device.wait()
        assert 60_000 <= device.now - before <= 60_000 + RETRY


@pytest.mark.parametrize("news", [Enrolled(), PlanSeen(NEXT, False, True)])
def test_d6_news_end_the_wait_and_the_back_off(news: Event) -> None:
    device = joining()
    for _ in range(12):
        device.answer(Answer.WAIT, 1, "not enrolled")
        device.wait()
    device.answer(Answer.WAIT, 86_400, "not enrolled")
    assert len(joins(device.give(news))) == 1
    before = device.now
    device.wait()
    assert device.now - before <= 2 * RETRY


def test_d6_certificate_does_not_end_another_wait() -> None:
    device = joining()
    device.answer(Answer.WAIT, 86_400, "cohort full")
    assert device.give(Enrolled()) == []


def test_d6_wait_outlasts_a_reconnect() -> None:
    device = joining()
    device.answer(Answer.WAIT, 600, "cohort full")
    assert device.give(Disconnected(), Connected(), SEEN) == []
    assert len(joins(device.wait())) == 1


def test_d7_unanswered_join_is_sent_again_with_another_nonce() -> None:
    device = Device()
    first = joins(device.give(ALL, Connected(), SEEN))[0]
    second = joins(device.wait())[0]
    assert second.nonce != first.nonce
    assert RETRY <= device.now - 1_000_000 <= 2 * RETRY


def test_d7_back_off_doubles_to_a_ceiling() -> None:
    device = joining()
    waits = []
    for _ in range(20):
        before = device.now
        device.wait()
        waits.append(device.now - before)
    for tries, wait in enumerate(waits):
        assert RETRY <= wait <= RETRY + min(Timing().longest_ms, RETRY << tries)
    assert max(waits) > Timing().longest_ms / 4
