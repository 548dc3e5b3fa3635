"""What a run left on the disks of aggregator and devices: it must be the same after every crash."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from fedling_agent.store.store import Store
from fedling_broker.store.database import FILE
from tests.support.crash.fleet import DEVICES, KEPT, ROUNDS, TASK, Layout
from tests.support.crash.keeper import Keeper

DECISIONS = """
    SELECT plans.round, device, lower(hex(update_hash)), verdict, weight, tested
    FROM decisions JOIN plans USING (task, plan_id) ORDER BY plans.round, device"""
JOURNAL = """
    SELECT round, weight, version, lower(hex(sum_hash)), lower(hex(model_hash)) FROM journal
    ORDER BY round"""
MODELS = "SELECT version, lower(hex(model_hash)) FROM models ORDER BY version"

Rows = tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts without times, each table sorted."""

    models: Rows  # version, hash
    journal: Rows  # round, sum of weights, version, hash of the sum of updates, hash of the model
    decisions: Rows  # round, device, message hash, verdict, weight, test
    receipts: Rows  # device, round, message hash, verdict, as the device has written it down
    newest: Rows  # device, version, hash of the newest model there
    verify: int  # exit code of `round verify --all`

    def differences(self, other: "Evidence") -> Iterator[str]:
        """In words; none if all is the same."""
        for field in fields(self):
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if mine != its:
                yield f"{field.name}: {mine} instead of {its}"


def collect(keeper: Keeper, layout: Layout, ids: Sequence[str]) -> Evidence:
    """Read what stopped processes have left."""
    words = ("round", "verify", "--all", "--config", layout.broker_config)
    verify = keeper.run("broker", words, layout.directory / "verify.log")
    connection = sqlite3.connect(layout.broker_state / FILE)
    try:
        models, journal, decisions = (
            tuple(connection.execute(sql)) for sql in (MODELS, JOURNAL, DECISIONS)
        )
    finally:
        connection.close()
    receipts: list[tuple[object, ...]] = []
    newest: list[tuple[object, ...]] = []
    for number, owner in enumerate(ids):
        store = Store(layout.state_of(number), read_only=True)
        receipts += sorted(
            (owner, r.round, (r.update_hash or b"").hex(), str(r.verdict))
            for r in store.spool.receipts(TASK)
        )
        model = store.models.newest(TASK)
        newest.append((owner, model and model.version, model and model.hash.hex()))
        store.close()
    return Evidence(models, journal, decisions, tuple(receipts), tuple(newest), verify)


def flaws(evidence: Evidence) -> Iterator[str]:
    """What is wrong with an undisturbed run, in words."""
    if evidence.verify != 0:
        yield f"round verify --all ends with {evidence.verify}"
    if [row[0] for row in evidence.journal] != list(range(ROUNDS))[-KEPT:]:
        yield f"journal: {evidence.journal}"
    if [row[0] for row in evidence.models] != list(range(1, ROUNDS + 2))[-KEPT - 1 :]:
        yield f"models: {evidence.models}"
    accepted = {row[:3] for row in evidence.decisions if row[3] == "accepted"}
    if len(accepted) != DEVICES * ROUNDS or len(evidence.decisions) != len(accepted):
        yield f"not every update was accepted, once: {evidence.decisions}"
    if sum(bool(row[5]) for row in evidence.decisions) < DEVICES:
        yield f"hardly a device has tested the base model: {evidence.decisions}"
    received = {(row[1], row[0], row[2]) for row in evidence.receipts if row[3] == "accepted"}
    if received != accepted or len(evidence.receipts) != len(received):
        yield f"not every update was receipted: {evidence.receipts}"
    if not {row[4] for row in evidence.journal} <= {row[1] for row in evidence.models}:
        yield f"a round whose model is not there: {evidence.journal}, {evidence.models}"
    for round_, weight, *_ in evidence.journal:
        members = sorted(int(str(row[4])) for row in evidence.decisions if row[0] == round_)
        middle = members[(len(members) - 1) // 2]  # of every round: a device counts for no more
        if round_ and sum(min(member, middle) for member in members) != weight:
            yield f"round {round_}: weights {members} in a sum of {weight}"
    if {row[1:] for row in evidence.newest} != {evidence.models[-1]}:
        yield f"a device has not the last model: {evidence.newest}"
