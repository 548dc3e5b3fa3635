"""A session trains, sends and ends: SPEC.md section 5, rows D8 to D20."""

from dataclasses import replace

import pytest

from fedling_agent.session.events import (
    Allowed,
    AskPlan,
    CancelUpdate,
    Connected,
    Disconnected,
    Erase,
    PauseTraining,
    PlanOver,
    PlanSeen,
    ReceiptSeen,
    RestSeen,
    SendUpdate,
    StartTraining,
    TrainingFailed,
    UpdateSent,
    UpdateSpooled,
)
from fedling_agent.session.state import (
    Idle,
    Joining,
    Paused,
    Sending,
    Spooled,
    Timing,
    Training,
    due,
)
from fedling_protocol.wire.messages import Answer, Receipt, Verdict
from tests.support.session import (
    ALL,
    ENTRY,
    NEXT,
    PLAN,
    REST,
    RETRY,
    SEEN,
    Device,
    joining,
    joins,
    sending,
    training,
)

# --- D8 to D11: work -------------------------------------------------------------------------


def test_d8_training_pauses_and_goes_on() -> None:
    device = training()
    assert device.give(Allowed(False, True, True, True)) == [PauseTraining(b"plan 1")]
    assert device.state.phase == Paused()
    assert device.give(ALL) == [StartTraining(PLAN)]


def test_d8_no_action_is_repeated() -> None:
    device = training()
    assert device.give(ALL) == []
    assert device.give(Allowed(False, True, True, True), Allowed(False, True, True, False)) == []


def test_d8_same_plan_again_changes_nothing() -> None:
    device = training()
    before = device.state
    assert device.give(SEEN) == []
    assert device.state == before


def test_d8_training_needs_neither_transfers_nor_more_examples() -> None:
    device = training()
    assert device.give(Allowed(True, False, False, False)) == []


def test_d9_finished_update_is_sent_with_a_good_ticket() -> None:
    device = training()
    actions = device.give(UpdateSpooled(b"plan 1", b"update 1"))
    assert actions == [SendUpdate(b"plan 1", b"update 1")]
    assert (device.state.begun, device.state.spool) == (None, (ENTRY,))


def test_d9_finished_update_asks_when_the_ticket_ran_out() -> None:
    device = training()
    device.now += 600_000
    actions = device.give(UpdateSpooled(b"plan 1", b"update 1"))
    assert [j.have for j in joins(actions)] == [b"update 1"]


def test_d9_finished_update_asks_after_a_reconnect() -> None:
    device = training()
    device.give(Disconnected(), Connected(), SEEN)
    assert len(joins(device.give(UpdateSpooled(b"plan 1", b"update 1")))) == 1


def test_d9_finished_update_waits_for_a_connection() -> None:
    device = training()
    device.give(Disconnected())
    assert device.give(UpdateSpooled(b"plan 1", b"update 1")) == []
    assert len(joins(device.give(Connected()))) == 1


def test_d9_finished_update_waits_for_conditions() -> None:
    device = training()
    device.give(Allowed(True, False, False, True))
    assert device.give(UpdateSpooled(b"plan 1", b"update 1")) == []


def test_d9_finished_update_waits_for_an_older_one() -> None:
    device = training()
    device.state = device.state._replace(spool=(Spooled(b"plan 0", b"update 0"),))
    actions = device.give(UpdateSpooled(b"plan 1", b"update 1"))
    assert [j.have for j in joins(actions)] == [b"update 0"]


def test_d9_child_that_was_done_when_paused() -> None:
    device = training()
    device.give(Allowed(False, True, True, True))
    actions = device.give(UpdateSpooled(b"plan 1", b"update 1"))
    assert actions == [SendUpdate(b"plan 1", b"update 1")]


def test_d10_plan_that_cannot_be_trained_is_given_up() -> None:
    device = training()
    actions = device.give(TrainingFailed(b"plan 1", "no memory"))
    assert actions == [PlanOver(b"plan 1", None, None, "failed: no memory")]
    assert device.state.phase == Idle()


def test_d11_sending_stops_when_transfers_are_forbidden() -> None:
    device = sending()
    assert device.give(Allowed(True, False, False, True)) == [CancelUpdate(b"plan 1")]
    assert len(joins(device.give(ALL))) == 1


def test_d3_d9_d11_update_of_a_device_that_takes_no_part_waits() -> None:
    nothing = Allowed(False, True, False, True)
    device = training()
    assert device.give(nothing) == [PauseTraining(b"plan 1")]
    assert device.give(UpdateSpooled(b"plan 1", b"update 1")) == []
    assert len(joins(device.give(ALL))) == 1
    device = sending()
    assert device.give(nothing) == [CancelUpdate(b"plan 1")]
    device = joining_with_update()
    device.give(nothing)
    assert device.answer(Answer.GO, 600) == []


def joining_with_update() -> Device:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected())
    assert isinstance(device.state.phase, Joining)
    return device


def test_d11_what_was_sent_is_not_stopped() -> None:
    device = sending()
    device.give(UpdateSent(b"plan 1"))
    assert device.give(Allowed(True, False, False, True)) == []
    assert isinstance(device.state.phase, Sending)


# --- D12 to D15: receipts --------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.REFUSED, Verdict.LATE])
def test_d12_receipt_ends_the_entry(verdict: Verdict) -> None:
    device = sending()
    device.give(UpdateSent(b"plan 1"))
    assert device.receipt(verdict)[0] == PlanOver(b"plan 1", b"update 1", verdict, "")
    assert (device.state.phase, device.state.spool) == (Idle(), ())


def test_d12_duplicate_is_kept_as_its_first_verdict() -> None:
    device = sending()
    device.give(UpdateSent(b"plan 1"))
    actions = device.give(
        ReceiptSeen(Receipt(b"plan 1", b"update 1", Verdict.DUPLICATE, "", Verdict.ACCEPTED))
    )
    assert actions == [PlanOver(b"plan 1", b"update 1", Verdict.ACCEPTED, "")]


def test_d12_receipt_of_another_hash_is_ignored() -> None:
    device = sending()
    assert device.give(ReceiptSeen(Receipt(b"plan 1", b"update x", Verdict.LATE, "", None))) == []
    assert device.give(ReceiptSeen(Receipt(b"plan 1", None, Verdict.LATE, "", None))) == []
    assert device.state.spool == (ENTRY,)


def test_d12_receipt_stops_a_second_sending() -> None:
    """Found by schedule 9682: the rest of the update went on moving when conditions failed."""
    device = sending()
    assert device.receipt()[0] == CancelUpdate(b"plan 1")


def test_d12_receipt_is_taken_while_joining_or_waiting() -> None:
    for reason in ("", "cohort full"):
        device = Device(spool=(ENTRY,))
        device.give(ALL, Connected())
        if reason:
            device.answer(Answer.WAIT, 600, reason)
        device.receipt()
        assert (device.state.phase, device.state.spool) == (Idle(), ())


def test_d12_receipt_of_an_unknown_plan_is_ignored() -> None:
    device = training()
    before = device.state
    assert device.give(ReceiptSeen(Receipt(b"plan 7", None, Verdict.LATE, "", None))) == []
    assert device.state == before


def test_d12_receipt_of_another_entry_changes_nothing_else() -> None:
    device = sending()
    device.state = device.state._replace(begun=NEXT)
    device.state = device.state._replace(spool=(ENTRY, Spooled(b"plan 0", b"update 0")))
    phase = device.state.phase
    actions = device.give(ReceiptSeen(Receipt(b"plan 0", b"update 0", Verdict.ACCEPTED, "", None)))
    assert actions == [PlanOver(b"plan 0", b"update 0", Verdict.ACCEPTED, "")]
    assert (device.state.phase, device.state.begun) == (phase, NEXT)


def test_d12_receipt_ends_the_back_off() -> None:
    device = Device(spool=(ENTRY, Spooled(b"plan 0", b"update 0")))
    device.give(ALL, Connected())
    for _ in range(12):
        device.wait()
    device.receipt()
    before = device.now
    device.wait()
    assert device.now - before <= 2 * RETRY


def test_d13_no_receipt() -> None:
    device = sending()
    device.now += 5_000
    device.give(UpdateSent(b"plan 1"))
    assert [j.have for j in joins(device.wait())] == [b"update 1"]
    assert RETRY <= device.now - 1_005_000 <= 2 * RETRY


def test_d13_no_puback() -> None:
    device = sending()
    actions = device.wait()
    assert actions[0] == CancelUpdate(b"plan 1")
    assert [j.have for j in joins(actions)] == [b"update 1"]
    assert device.now - 1_000_000 == Timing().transfer_ms


def test_d13_reconnected() -> None:
    device = sending()
    assert [j.have for j in joins(device.give(Disconnected(), Connected()))] == [b"update 1"]


def test_d14_closed_plan_in_work_is_aborted() -> None:
    device = training()
    actions = device.give(ReceiptSeen(Receipt(b"plan 1", None, Verdict.LATE, "", None)))
    assert actions[0] == PlanOver(b"plan 1", None, Verdict.LATE, "")
    assert (device.state.phase, device.state.begun) == (Idle(), None)


def test_d14_closed_offer_is_over() -> None:
    device = joining()
    actions = device.give(ReceiptSeen(Receipt(b"plan 1", None, Verdict.LATE, "", None)))
    assert actions[0] == PlanOver(b"plan 1", None, Verdict.LATE, "")
    assert (device.state.phase, device.state.offer) == (Idle(), None)


def test_d14_update_decided_before_this_device_lost_its_store() -> None:
    device = joining()
    actions = device.give(ReceiptSeen(Receipt(b"plan 1", b"update 1", Verdict.ACCEPTED, "", None)))
    assert actions == [PlanOver(b"plan 1", None, Verdict.ACCEPTED, "")]


def test_d15_closed_plan_makes_it_ask_for_the_open_one() -> None:
    device = joining()
    actions = device.give(
        ReceiptSeen(Receipt(b"plan 1", None, Verdict.REFUSED, "unknown plan", None))
    )
    assert actions[-1] == AskPlan()


def test_d15_it_does_not_ask_when_it_knows_a_newer_plan() -> None:
    device = sending()
    device.give(UpdateSent(b"plan 1"), PlanSeen(NEXT, False, True))
    assert AskPlan() not in device.receipt(Verdict.LATE)


# --- D16 to D20 ------------------------------------------------------------------------------


def test_d16_newer_plan_aborts_the_one_in_work() -> None:
    device = training()
    actions = device.give(PlanSeen(NEXT, False, True))
    assert actions[0] == PlanOver(b"plan 1", None, None, "superseded")
    assert [j.plan_id for j in joins(actions)] == [b"plan 2"]


def test_d16_rest_with_a_newer_model_aborts_the_plan_in_work() -> None:
    device = training()
    actions = device.give(RestSeen(REST, held=True))
    assert actions == [PlanOver(b"plan 1", None, None, "superseded")]


def test_d16_rest_from_before_the_plan_changes_nothing() -> None:
    device = training()
    assert device.give(RestSeen(replace(REST, version=1, model_hash=b"model 1"), True)) == []
    assert device.state.begun == PLAN


def test_d16_earlier_plan_is_ignored() -> None:
    device = Device(begun=NEXT)
    assert device.give(ALL, Connected(), SEEN) == []
    assert device.state.begun == NEXT


def test_d16_another_plan_of_the_same_round_replaces_it() -> None:
    """After a restore from a backup the aggregator opens the round again."""
    device = training()
    actions = device.give(PlanSeen(replace(PLAN, plan_id=b"plan x"), False, True))
    assert actions[0] == PlanOver(b"plan 1", None, None, "superseded")


def test_d16_rest_from_before_the_offer_changes_nothing() -> None:
    device = joining()
    before = device.state
    assert device.give(RestSeen(replace(REST, version=1, model_hash=b"model 1"), True)) == []
    assert device.state == before


def test_d16_ticket_is_not_good_for_another_plan() -> None:
    device = joining()
    device.give(Allowed(False, True, True, True))
    device.answer(Answer.GO, 600)
    device.give(PlanSeen(NEXT, False, True))
    assert [j.plan_id for j in joins(device.give(ALL))] == [b"plan 2"]


def test_d16_newer_plan_replaces_an_offer() -> None:
    device = joining()
    assert [j.plan_id for j in joins(device.give(PlanSeen(NEXT, False, True)))] == [b"plan 2"]
    device = joining()
    assert device.give(RestSeen(REST, held=True)) == []
    assert (device.state.phase, device.state.offer) == (Idle(), None)


def test_d17_spooled_update_comes_before_a_new_plan() -> None:
    device = sending()
    device.give(UpdateSent(b"plan 1"))
    assert device.give(PlanSeen(NEXT, False, True)) == []
    actions = device.receipt()
    assert actions[0] == PlanOver(b"plan 1", b"update 1", Verdict.ACCEPTED, "")
    assert [(j.plan_id, j.have) for j in joins(actions)] == [(b"plan 2", None)]


def test_d17_question_about_the_spooled_update_goes_on() -> None:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected())
    phase = device.state.phase
    assert device.give(PlanSeen(NEXT, False, True)) == []
    assert device.state.phase == phase


def test_d18_training_goes_on_without_a_connection() -> None:
    device = training()
    assert device.give(Disconnected()) == []
    assert device.state.phase == Training()
    assert device.give(Allowed(False, True, True, True)) == [PauseTraining(b"plan 1")]
    assert device.give(ALL) == [StartTraining(PLAN)]


def test_d18_join_waits_for_the_connection() -> None:
    device = joining()
    assert device.give(Disconnected()) == []
    assert due(device.state) is None
    assert device.give(Connected()) == []  # the open plan may be another one now
    assert len(joins(device.give(SEEN))) == 1


def test_d19_plan_ends_the_rest() -> None:
    device = Device()
    device.give(Allowed(False, True, True, True), Connected(), RestSeen(REST, held=True))
    device.give(PlanSeen(NEXT, False, True))
    assert due(device.state) is None


def test_d19_rest_is_over() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(REST, held=True))
    assert device.wait() == [AskPlan()]
    assert 60_000 <= device.now - 1_000_000 <= 60_000 + RETRY
    assert due(device.state) is None


def test_d20_erase_aborts_the_training() -> None:
    device = training()
    assert device.give(Erase())[0] == PlanOver(b"plan 1", None, None, "erased")
    assert (device.state.begun, device.state.phase) == (None, Idle())


def test_d20_erase_stops_and_ends_a_spooled_update() -> None:
    device = sending()
    actions = device.give(Erase())
    assert actions == [
        CancelUpdate(b"plan 1"),
        PlanOver(b"plan 1", b"update 1", None, "erased"),
    ]
    assert device.state.spool == ()


def test_d20_erase_ends_a_question_about_the_update() -> None:
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected())
    assert device.give(Erase()) == [PlanOver(b"plan 1", b"update 1", None, "erased")]
    assert device.state.phase == Idle()
