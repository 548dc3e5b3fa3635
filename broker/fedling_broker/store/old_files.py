"""The files of a state directory that tables 2 spoke of, made into those of tables 3.

The tables are converted by SQL; here follow the files, whenever the store is opened and the tables
say that it was not done. Each step may be done again after a crash. What is left over is erased by
Store.tidy: it is no longer spoken of.
"""

from collections.abc import Iterator

from fedling_broker.aggregation.state import from_values_and_velocity, state_to_bytes
from fedling_broker.store.ledger import Ledger
from fedling_broker.store.models import Models
from fedling_broker.store.rounds import DecisionRow, Rounds
from fedling_broker.store.shelf import Damaged, Shelf
from fedling_broker.store.tasks import TaskRow, Tasks
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import writing

FLAG = "old_files"


def convert(
    database: Database, ledger: Ledger, tasks: Tasks, models: Models, rounds: Rounds
) -> None:
    """Logs and states first, then the rows that name them. Raises CannotWrite."""
    with database.transaction("the files of the state"):
        for row in tasks.rows():
            _write_logs(rounds, row.name)
            _convert_state(models, row)
        ledger.set_meta(FLAG, 0)


def _write_logs(rounds: Rounds, task: str) -> None:
    """Of the updates that were a file each; the tables say already where each lies."""
    files = Shelf(rounds.directory)
    for plan in rounds.plans(task):
        members = rounds.members(task, plan.plan_id)
        log = rounds.log(plan.plan_id)
        if not plan.kept or not members or log.exists():
            continue
        with writing(str(log)), durable.draft(log.parent, log.name) as file:
            for data in _updates(files, members):
                file.write(data)
            durable.keep_draft(file, log.name, log)


def _updates(files: Shelf, members: list[DecisionRow]) -> Iterator[bytes]:
    """A file that is missing leaves a hole, which shows when the update is wanted."""
    for member in members:
        try:
            yield files.get(member.update_hash)
        except Damaged:
            yield bytes(member.size)


def _convert_state(models: Models, row: TaskRow) -> None:
    """The next mean is added to it. One that is damaged stays so: the next fold tells."""
    task = parse_task(row.text, f"task {row.name}")
    try:
        old = models.states.get(models.newest_state(row.name))
        arrays = tuple(task.optimiser.units) if models.folded(row.name) else ()
        exponents = models.newest(row.name).exponents
        state = from_values_and_velocity(task.spec.layers, exponents, old, arrays)
    except (Damaged, ValueError):
        return
    models.set_newest_state(row.name, models.states.put(state_to_bytes(state)))
