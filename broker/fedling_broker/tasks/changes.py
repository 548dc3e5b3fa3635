"""What of a task may be changed while it is at work: all that needs no new model."""

import tomllib
from collections.abc import Iterator
from typing import Any

from fedling_broker.store.store import Store
from fedling_broker.store.tasks import TaskRow
from fedling_broker.tasks.task_file import SIMULATION, Task, parse_task
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.wire.limits import MAX_WEIGHT

MODEL_TABLES = ("model",)
TASK_KEYS = ("rounds",)  # of [task]: the only one that says nothing about the model


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a change."""

    keys: list[str]  # of the task file, with the old value and the new one
    from_round: int  # the first in which devices train as the new text says
    model: int  # the version that is kept


def apply(store: Store, name: str, task: Task, text: str) -> Changed:
    """Put the text in the place of the task's. Raises Missing, BadInput: nothing is changed."""
    with store.database.transaction("the change of a task"):
        row = store.tasks.find(name)
        if row is None:
            raise Missing(f"no task {name}; to add it: fedling-broker task add")
        old = parse_task(row.text, f"task {name}")
        keys = list(_differences(row.text, text))
        _check(name, old, task, keys)
        plan = store.rounds.unfolded(name)
        asked = row.asked or row.text if plan is not None else None
        if plan is not None and not plan.closed:
            _check_open_round(row, task)
        if keys:
            store.tasks.change(name, text, asked)
        folded = store.models.folded(name)
        first = folded + (1 if plan is None else 2)
        return Changed(keys, first, store.models.newest(name).version)


def _check(name: str, old: Task, new: Task, keys: list[str]) -> None:
    """Check that the model fits both. Raises BadInput."""
    if old.spec != new.spec:
        named = ", ".join(key for key in keys if _of_model(key)) or "task.name"
        raise BadInput(
            f"task {name} cannot be changed in what its model is made for: {named}; add it under"
            f" another name, or begin anew: fedling-broker task remove {name}, then task add (to"
            " keep the weights: export --float first, and task add --start)"
        )


def _check_open_round(row: TaskRow, new: Task) -> None:
    """Check that the sum of the open round still fits. Raises BadInput."""
    cap = parse_task(row.asked or row.text, f"task {row.name}").training.weight_cap
    goal = new.rules.policy.goal
    if cap * goal > MAX_WEIGHT:
        raise BadInput(
            f"cohort.goal = {goal}: in the round that is open a device may count for {cap}: allowed"
            f" is at most {MAX_WEIGHT // cap}, until its end: fedling-broker task pause {row.name}"
        )


def _of_model(key: str) -> bool:
    table, _, rest = key.partition(".")
    return table in MODEL_TABLES or (table == "task" and rest.split(" ")[0] not in TASK_KEYS)


def _differences(old: str, new: str) -> Iterator[str]:
    """Name the keys whose values differ, as they stand in the files."""
    before, after = tomllib.loads(old), tomllib.loads(new)
    for table in sorted({*before, *after} - {SIMULATION}):
        for key in sorted({*before.get(table, {}), *after.get(table, {})}):
            values = [_value(tables, table, key) for tables in (before, after)]
            if values[0] != values[1]:
                yield f"{table}.{key} {values[0]} -> {values[1]}"


def _value(tables: dict[str, Any], table: str, key: str) -> str:
    value = tables.get(table, {}).get(key)
    return "default" if value is None else repr(value) if isinstance(value, str) else str(value)
