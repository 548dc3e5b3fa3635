"""`fedling-agent replay`: the past, computed again."""

import argparse

from fedling_agent.commands import installation, stored
from fedling_agent.store.identity import Identity
from fedling_agent.store.plans import PlanRecord
from fedling_agent.store.store import Store
from fedling_agent.training import replay
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.exits import Exit


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    me = stored.device(where)
    store = Store(where.state, read_only=True)
    try:
        if args.plan is None:
            return _list(store, args.json)
        record = find(store, args.plan)
        fleet = where.needed_config().fleet
        if args.order:
            return _order(store, fleet, me, record, args.json)
        return _replay(store, fleet, me, record, args.json)
    finally:
        store.close()


def find(store: Store, text: str) -> PlanRecord:
    """The plan whose id begins so. Raises Missing, BadInput."""
    start = text.lower()
    found = [r for r in store.plans.recent() if r.plan.plan_id.hex().startswith(start)]
    if not found:
        raise Missing(f"no plan {text} among the last 100; see: fedling-agent replay")
    if len(found) > 1:
        raise BadInput(f"{len(found)} plans begin with {text}; type more of it")
    return found[0]


def _list(store: Store, as_json: bool) -> Exit:
    records = store.plans.recent()
    if as_json:
        output.print_json([_facts(record) for record in records])
    else:
        rows = [_row(record) for record in records]
        output.print_rows(rows, empty="this device has taken part in no plan yet")
    return Exit.OK


def _facts(record: PlanRecord) -> dict[str, object]:
    plan = record.plan
    return {
        "plan": plan.plan_id.hex(),
        "task": plan.spec.task,
        "round": plan.round,
        "base_version": plan.base_version,
        "examples": record.examples,
        "state": str(record.state),
        "frozen": record.frozen_hash.hex(),
        "vector": None if record.vector_hash is None else record.vector_hash.hex(),
        "update": None if record.update_hash is None else record.update_hash.hex(),
    }


def _row(record: PlanRecord) -> dict[str, object]:
    """Make a row, with as much of a hash as a person types."""
    facts = _facts(record)
    return {
        "plan": str(facts["plan"])[:8],
        "task": facts["task"],
        "round": facts["round"],
        "base": facts["base_version"],
        "examples": facts["examples"],
        "state": facts["state"],
        "frozen": str(facts["frozen"])[:8],
        "update": str(facts["update"] or "")[:8],
    }


def _order(store: Store, fleet: str, me: Identity, record: PlanRecord, as_json: bool) -> Exit:
    if as_json:
        output.print_json(replay.export(store, fleet, me.secret, record.plan.plan_id))
        return Exit.OK
    epochs = replay.batch_order(store, fleet, me.secret, record.plan.plan_id)
    for number, batches in enumerate(epochs):
        for position, batch in enumerate(batches):
            words = " ".join(f"{recording}:{first}" for recording, first in batch)
            print(f"epoch {number} batch {position}: {words}")
    return Exit.OK


def _replay(store: Store, fleet: str, me: Identity, record: PlanRecord, as_json: bool) -> Exit:
    result = replay.replay(store, fleet, me.secret, record.plan.plan_id)
    if as_json:
        output.print_json(_facts(record) | {"computed": result.computed.hex(), "same": result.same})
    elif result.same:
        print(output.paint(f"the same, bit for bit: {result.computed.hex()}", output.GREEN))
    else:
        print(f"sent      {result.expected.hex()}\ncomputed  {result.computed.hex()}")
    return Exit.OK if result.same else Exit.FAILED
