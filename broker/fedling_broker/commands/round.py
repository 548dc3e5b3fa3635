"""`fedling-broker round`: what happened, and whether it adds up."""

import argparse
import json
import sys
from collections.abc import Sequence

from fedling_broker import verify as verification
from fedling_broker.aggregation.accuracy import total
from fedling_broker.aggregation.limits import WHOLE, Shares
from fedling_broker.commands import accuracy, installation
from fedling_broker.commands.accuracy import Accuracy
from fedling_broker.commands.hindrances import hindrances, print_with_hindrances
from fedling_broker.config import Config
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.store import Store
from fedling_broker.verify import Check
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import Hits, Verdict


def list_(args: argparse.Namespace) -> Exit:
    limit = output.most(args)
    with installation.opened(args) as (found, store):
        why = hindrances(found, store)
        plans = {name: store.rounds.plans(name) for name in _names(store, args.task)}
        more = any(limit is not None and len(of_task) > limit for of_task in plans.values())
        rows = [
            {
                **_summary(store, name, plan),
                "accuracy": accuracy.cell(accuracy.of_round(store, name, plan), as_json=args.json),
                "hindrance": None if plan.closed else why.get(name),
            }
            for name, of_task in plans.items()
            for plan in (of_task if limit is None else of_task[-limit:])
        ]
    if not args.json:  # for people; `round show` has all of it
        rows = accuracy.for_people([_short(row) for row in rows])
    print_with_hindrances(rows, as_json=args.json, empty="no rounds yet")
    output.print_more(args, "of each task the newest", more=more)
    return Exit.OK


def _short(row: dict[str, object]) -> dict[str, object]:
    """Make a row that has room on a line."""
    shown = {
        "task": row["task"],
        "round": row["round"],
        "plan": str(row["plan"])[:8],
        "state": row["state"],
        "base": row["base_version"],
        "accuracy": row["accuracy"],
    }
    last = ("accepted", "late", "refused", "bytes", "hindrance")
    return shown | {name: row[name] for name in last}


def show(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (_, store):
        labels = installation.task(store, args.task).spec.labels
        plan = next((p for p in store.rounds.plans(args.task) if p.round == args.round), None)
        if plan is None:
            raise Missing(f"task {args.task} has no round {args.round}")
        tested = accuracy.of_round(store, args.task, plan)
        value = _whole(store, args.task, plan, labels)
        value["accuracy"] = None if tested is None else _accuracy(tested, labels)
    if args.json:
        output.print_json(value)
        return Exit.OK
    facts = ("task", "round", "plan", "state", "base_version", "version", "weight", "shortened")
    pairs = [(name, str(value[name])) for name in facts]
    output.print_pairs([*pairs, ("updates", _updates(value))])
    decisions = value["decisions"]
    assert isinstance(decisions, list)
    assert isinstance(value["far_again"], list)
    shown = decisions[: output.most(args)]
    output.print_rows([_row(one) for one in shown], empty="no verdicts")
    output.print_more(args, "the first", more=len(decisions) > len(shown))
    if tested is not None:
        print(tested.sentence(labels))
    measured_far = value["measured_far"] or []
    assert isinstance(measured_far, list)
    for device in measured_far:
        print(f"{device}: its samples lie far further off than others', and counted as nearer")
    for device in value["far_again"]:
        print(f"{device}: its last updates were all far longer than others'; to end its part: "
              f"fedling-broker device revoke {device}")  # fmt: skip
    return Exit.OK


def _updates(value: dict[str, object]) -> str:
    """Say how many bytes the updates have, and how they are made."""
    target, size = value["target"], value["bytes"]
    assert isinstance(size, int)
    made = "as they are" if target is None else f"each coded in about {target} bytes"
    return f"{output.size(size)} in all, {made}"


def _accuracy(tested: Accuracy, labels: Sequence[str]) -> dict[str, object]:
    return tested.json | {"labels": accuracy.of_labels(tested.tested, labels)}


def _row(decision: dict[str, object]) -> dict[str, object]:
    """Make the row of a verdict for a person: of its test how much was right."""
    tested = decision["tested"]
    assert tested is None or isinstance(tested, dict)
    own = None if tested is None else accuracy.share(Hits(tested["windows"], tested["right"]))
    return {**decision, "tested": own}


def verify(args: argparse.Namespace) -> Exit:
    """Make every model again from the journal's sums; sums too, where updates are kept."""
    with installation.opened(args) as (found, store):
        names = _names(store, None if args.all else args.task)
        rows = [
            {
                "task": name,
                "round": check.round,
                "version": check.version,
                "model_hash": check.model_hash.hex(),
                "from": check.source,
                "fault": check.fault,
            }
            for name in names
            for check in _verified(found, store, name)
        ]
    faults = [row for row in rows if row["fault"]]
    if args.json:
        output.print_json({"models": rows, "faults": len(faults)})
    else:
        for row in faults:
            print(f"{row['task']} round {row['round']}: {row['fault']}", file=sys.stderr)
        audited = sum(row["from"] == "updates" for row in rows)
        whole = sum(row["from"] != "file" for row in rows)
        print(f"{whole} models recomputed, {audited} of them from updates; {len(faults)} faults")
        for name in sorted({str(row["task"]) for row in rows if row["from"] == "state"}):
            print(f"{name}: rounds before these were erased (keep_rounds of broker.toml)")
    return Exit.FAILED if faults else Exit.OK


def _verified(found: Config, store: Store, name: str) -> list[Check]:
    """Verify a task; again if a running aggregator has erased old rounds meanwhile."""
    task, seed = installation.task(store, name), installation.first_model_seed(found, name)
    while True:
        begins = store.models.horizon.beginning(name)
        checks = list(verification.verify(store, task, seed))
        if store.models.horizon.beginning(name) == begins:
            return checks


def _names(store: Store, task: str | None) -> list[str]:
    """List one task's name, or all. Raises Missing."""
    if task is None:
        return [row.name for row in store.tasks.rows()]
    installation.task(store, task)
    return [task]


def _summary(store: Store, task: str, plan: PlanRow) -> dict[str, object]:
    decisions = store.rounds.decisions(task, plan.plan_id)
    return {
        "task": task,
        "round": plan.round,
        "plan": plan.plan_id.hex(),
        "state": "folded" if plan.folded else "closed" if plan.closed else "open",
        "base_version": plan.base_version,
        "accepted": sum(d.verdict == "accepted" for d in decisions),
        "late": sum(d.verdict == "late" for d in decisions),
        "refused": sum(d.verdict == "refused" for d in decisions),
        "bytes": sum(d.size for d in decisions),
    }


def _parts(counted: Shares) -> dict[str, object]:
    """As parts of 1: how much of an update is in the sum."""
    weights, biases = counted
    return {
        "weights_counted": round(weights / WHOLE.weights, 4),
        "biases_counted": round(biases / WHOLE.biases, 4),
    }


def _counted(decision: DecisionRow, plan: PlanRow) -> Shares:
    """What counts of an update's weights and biases."""
    if decision.verdict != Verdict.ACCEPTED or plan.limits is None:
        return WHOLE
    return plan.limits.shares(decision.sizes)


def _tested(decision: DecisionRow, labels: Sequence[str]) -> dict[str, object] | None:
    """Tell what a device says of its test, all of it, whatever counts of it."""
    if decision.tested is None:
        return None
    each = accuracy.of_labels(decision.tested, labels)
    return {**total(decision.tested)._asdict(), "labels": each}


def _whole(store: Store, task: str, plan: PlanRow, labels: Sequence[str]) -> dict[str, object]:
    """Make JSON of all that accounting needs of a round."""
    decisions = store.rounds.decisions(task, plan.plan_id)
    made = next((f for f in store.models.folds(task) if f.round == plan.round), None)
    return {
        **_summary(store, task, plan),
        "target": plan.target,
        "shortened": sum(_counted(d, plan) != WHOLE for d in decisions),
        "base_hash": plan.base_hash.hex(),
        "version": plan.base_version + 1 if plan.folded else None,
        "model_hash": None if made is None else made.model_hash.hex(),
        "sum_hash": None if made is None else made.sum_hash.hex(),
        "weight": None if made is None else made.weight,
        "optimiser": None if made is None else made.optimiser,
        "parameters": None if made is None else json.loads(made.parameters),
        "places": dict(store.rounds.places(task, plan.plan_id)),
        "decisions": [
            {
                "device": d.device,
                "verdict": d.verdict,
                "reason": d.reason,
                "update_hash": d.update_hash.hex(),
                "bytes": d.size,
                "weight": d.weight,
                "saturated": d.saturated,
                "tested": _tested(d, labels),
                **_parts(_counted(d, plan)),
            }
            for d in decisions
        ],
        "measured_far": None if made is None else made.far,
        "far_again": store.rounds.far_again(task, plan),
    }
