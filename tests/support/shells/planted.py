"""Bugs of the services that schedules must find: each is planted by a patch of one function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from fedling_agent.service import runner as agent
from fedling_agent.service.history import History
from fedling_agent.service.local_training import LocalTraining
from fedling_agent.service.outbox import Outbox
from fedling_agent.session import machine as session
from fedling_agent.session.events import (
    CancelFetch,
    CancelUpdate,
    Event,
    PlanOver,
    TicketSeen,
)
from fedling_agent.session.state import Joining, Session
from fedling_agent.store.spool import Spool
from fedling_agent.store.store import Store
from fedling_broker.rounds.events import GrantPlace
from fedling_broker.service import measure, turns
from fedling_broker.service import runner as broker
from fedling_broker.service.running_sum import RunningSum
from fedling_broker.service.turns import Turns
from fedling_broker.store import models
from fedling_broker.store import store as broker_store
from fedling_broker.store.ledger import Ledger
from fedling_broker.store.rounds import Rounds
from fedling_native import Sums
from fedling_protocol.net.ports import Done
from fedling_protocol.runtime.worker import Failed
from fedling_protocol.wire.messages import Scale
from tests.support.shells.faults import Focus

Plant = Callable[[], AbstractContextManager[object]]


def nothing(*_arguments: Any) -> None:
    """What should be done is not."""


def without(table: dict[type, Any], action: type) -> Plant:
    return lambda: patch.dict(table, {action: nothing})


def receipt_before_commit() -> AbstractContextManager[object]:
    def then(_turns: Turns, answer: Callable[[], None]) -> None:
        answer()

    return patch.object(Turns, "then", then)


def answers_though_the_commit_failed() -> AbstractContextManager[object]:
    def end(self: Turns) -> None:
        transaction, self._open = self._open, None
        answers, self._answers = self._answers, []
        writes = self._store.rounds.take_writes()
        if transaction is None:
            self._on_committed(answers)
            return
        self._committing = True
        self._disk.do(
            lambda: turns.make_durable(writes, transaction),
            lambda _: self._on_committed(answers),
            lambda _error: self._on_committed(answers),
        )

    return patch.object(Turns, "_end", end)


def known_update_not_looked_up() -> AbstractContextManager[object]:
    """Neither that of a closed round, nor, after a start, that of the open one."""

    def decisions(_rounds: Rounds, _task: str, _plan_id: bytes) -> list[Any]:
        return []

    def decision(_rounds: Rounds, _task: str, _plan_id: bytes, _device: str) -> None:
        return None

    return patch.multiple(Rounds, decisions=decisions, decision=decision)


def key_without_plan() -> AbstractContextManager[object]:
    """What is known of a device's update goes by task and device: it may be of another round."""
    real = Rounds.decision

    def decision(self: Rounds, task: str, plan_id: bytes, device: str) -> Any:
        found = (real(self, task, plan.plan_id, device) for plan in self.plans(task))
        return next((known for known in found if known is not None), None)

    return patch.object(Rounds, "decision", decision)


def deleted_at_puback() -> AbstractContextManager[object]:
    """The MQTT broker has the update: that is no receipt."""
    real = Outbox.update

    def update(
        self: Outbox, entry: Any, meaning: str, handed: Done, acknowledged: Done, damaged: Failed
    ) -> None:
        def delete() -> None:
            with self._spool._database.transaction("a planted bug") as connection:
                connection.execute("DELETE FROM spool WHERE plan_id = ?", (entry.plan_id,))
            acknowledged()

        real(self, entry, meaning, handed, delete, damaged)

    return patch.object(Outbox, "update", update)


def nonce_not_checked() -> AbstractContextManager[object]:
    real = session.step

    def step(s: Session, event: Event, now_ms: int) -> Any:
        if isinstance(event, TicketSeen) and isinstance(s.phase, Joining):
            event = TicketSeen(replace(event.ticket, nonce=s.phase.nonce))
        return real(s, event, now_ms)

    return patch.object(session, "step", step)


def trains_against_conditions() -> AbstractContextManager[object]:
    def lease(_training: LocalTraining, grant: Callable[[float], None]) -> None:
        grant(3600.0)

    return patch.object(LocalTraining, "lease", lease)


def spool_forgotten() -> AbstractContextManager[object]:
    """A runner that is made anew knows of no update that waits for its receipt."""

    def entries(_spool: Spool, _task: str | None = None) -> list[Any]:
        return []

    return patch.object(Spool, "entries", entries)


def added_twice_after_a_start() -> AbstractContextManager[object]:
    real = RunningSum.restore

    def restore(
        self: RunningSum, clock: Any, rounds: Any, plan: Any, members: Any, *rest: Any
    ) -> None:
        real(self, clock, rounds, plan, [*members, *members], *rest)

    return patch.object(RunningSum, "restore", restore)


def former_life_believed() -> AbstractContextManager[object]:
    return patch.multiple(History, check=nothing, check_epoch=nothing)


def open_plan_of_a_copy_keeps_its_id() -> AbstractContextManager[object]:
    return patch.object(broker_store.Store, "_reopen", lambda _store, _name, _epoch: 0)


def epoch_stays_the_same() -> AbstractContextManager[object]:
    """A copy speaks as the one did that it is a copy of."""
    real = Ledger.outlive

    def outlive(self: Ledger, key: str, ahead_s: int = 0) -> int:
        return real(self, key) if key != "epoch" else max(1, self.meta("epoch"))

    return patch.object(Ledger, "outlive", outlive)


def removed_task_not_forgotten() -> AbstractContextManager[object]:
    """Neither are its models when another one has its name."""

    def remember(_store: Store, _task: str, _message: object) -> None:
        return None

    def forget(_store: Store, _task: str, _now_ms: int) -> None:
        return None

    return patch.multiple(Store, remember=remember, forget=forget)


def statistics_forget_a_device() -> AbstractContextManager[object]:
    """The last of those that were accepted."""
    real = measure.measured

    def measured(*arguments: Any) -> list[tuple[str, Sums]]:
        found = real(*arguments)
        return found[:-1] or found

    return patch.object(broker, "measured", measured)


def scale_lost_after_a_start() -> AbstractContextManager[object]:
    """What the database says of it is not read."""
    return patch.object(models, "Scale", lambda *_channel: Scale(0, 128, 7))


PLANTED: dict[str, Plant] = {
    "receipt before commit": receipt_before_commit,
    "answers though the commit failed": answers_though_the_commit_failed,
    "known update not looked up": known_update_not_looked_up,
    "known update looked up without its plan": key_without_plan,
    "update deleted when the MQTT broker has it": deleted_at_puback,
    "place not written down": without(broker.PERFORM, GrantPlace),
    "nonce not checked": nonce_not_checked,
    "sends against conditions": without(agent.PERFORM, CancelUpdate),
    "fetches against conditions": without(agent.PERFORM, CancelFetch),
    "trains against conditions": trains_against_conditions,
    "spool forgotten after a start": spool_forgotten,
    "receipt not written down": without(agent.PERFORM, PlanOver),
    "an update is in the sum twice after a start": added_twice_after_a_start,
    "a former life is believed": former_life_believed,
    "the open plan of a copy keeps its id": open_plan_of_a_copy_keeps_its_id,
    "a copy speaks in the epoch of the other": epoch_stays_the_same,
    "a removed task is not forgotten": removed_task_not_forgotten,
    "statistics forget a device": statistics_forget_a_device,
    "the scale is not that of the database": scale_lost_after_a_start,
}
FOCUS = {
    "sends against conditions": Focus.CONDITIONS,
    "fetches against conditions": Focus.CONDITIONS,
    "trains against conditions": Focus.CONDITIONS,
    "a former life is believed": Focus.HISTORY,
    "a removed task is not forgotten": Focus.HISTORY,
}
