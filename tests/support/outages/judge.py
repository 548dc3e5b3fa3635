"""What is left on the disks of a federation, held against what its witness has heard."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedling_agent.store.store import Store
from fedling_broker.store.database import FILE
from fedling_broker.store.rounds import LOST
from fedling_protocol.wire.messages import Verdict
from tests.support.crash.fleet import TASK
from tests.support.outages.federation import AGGREGATOR, FALLIBLE, Federation
from tests.support.outages.witness import Receipted

DECISIONS = """
    SELECT device, plan_id, update_hash FROM decisions
    WHERE task = ? AND verdict = 'accepted' AND reason != ?"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of what was said; each in words."""

    receipted: int  # updates that the wire or a device's disk has a receipt of
    rounds: int  # that were folded
    rows: int  # of examples that devices said they have stored
    lost: list[str]  # receipted, and not in what the aggregator counts
    twice: list[str]  # counted more often than once
    other: list[str]  # whatever else does not add up


def judge(federation: Federation) -> Judgement:
    """All processes have ended."""
    state = federation.machines[AGGREGATOR].disk.root / "state"
    damage, counted = "", Counter[Receipted]()
    try:
        counted.update(_decisions(state))
    except sqlite3.DatabaseError as error:
        damage = f"the aggregator's database: {error}"
    witness = federation.witness
    receipted = {*witness.receipted, *_receipts(federation)}
    verified = _verify(federation)
    faults = [check for check in verified if check["fault"]]
    sums = [check for check in faults if "add up" in str(check["fault"])]
    hashes = Counter(update_hash for _, _, update_hash in counted)
    return Judgement(
        len(receipted),
        len(verified) - 1,
        sum(feed.answered for feed in federation.feeds),
        [f"{device}, plan {plan.hex()[:8]}" for device, plan, _ in receipted - counted.keys()],
        [
            *(f"an update counted {n} times" for n in hashes.values() if n > 1),
            *(f"round {check['round']}: {check['fault']}" for check in sums),
        ],
        [
            *filter(None, [damage]),
            *(f"round {c['round']}: {c['fault']}" for c in faults if c not in sums),
            *_unheard(federation, counted),
            *(wrong for feed in federation.feeds if (wrong := feed.wrong())),
            *(f"{len(m)} models of version {v}" for v, m in witness.models.items() if len(m) > 1),
        ],
    )


def _decisions(state: Path) -> Iterator[Receipted]:
    """What the aggregator has accepted."""
    connection = sqlite3.connect(state / FILE)
    try:
        yield from connection.execute(DECISIONS, (TASK, LOST)).fetchall()
    finally:
        connection.close()


def _receipts(federation: Federation) -> Iterator[Receipted]:
    """What devices know to be accepted."""
    for number, device in enumerate(federation.fleet.ids):
        state = federation.fleet.layout.state_of(number)
        if number < FALLIBLE:
            state = federation.machines[device].disk.root / "state"
        store = Store(state, read_only=True)
        for receipt in store.spool.receipts(TASK):
            if receipt.verdict is Verdict.ACCEPTED and receipt.update_hash is not None:
                yield device, receipt.plan_id, receipt.update_hash
        store.close()


def _verify(federation: Federation) -> list[dict[str, object]]:
    """What `round verify` says of each model."""
    words = ("fedling_broker", "round", "verify", "--all", "--json", "--config")
    command = [sys.executable, "-m", *words, str(federation.fleet.layout.broker_config)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        return [{"round": "-", "fault": done.stderr.strip()}]
    models: list[dict[str, object]] = json.loads(done.stdout)["models"]
    return models


def _unheard(federation: Federation, counted: Counter[Receipted]) -> Iterator[str]:
    """Updates in a sum that nobody has sent, or that another one sent."""
    for device, plan_id, update_hash in counted:
        if federation.witness.updates.get(update_hash) != (device, plan_id):
            yield f"{device}: an update that it never sent for plan {plan_id.hex()[:8]}"
