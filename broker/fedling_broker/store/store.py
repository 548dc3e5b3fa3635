"""The aggregator's state directory: SQLite rows, and the files that they speak of."""

from pathlib import Path

from fedling_broker.aggregation import initial
from fedling_broker.aggregation.state import ServerState
from fedling_broker.store import old_files
from fedling_broker.store.database import create_database, guard, open_database
from fedling_broker.store.ledger import Ledger
from fedling_broker.store.models import FIRST_VERSION, ModelRow, Models
from fedling_broker.store.rounds import Rounds
from fedling_broker.store.tasks import TaskExists, Tasks
from fedling_broker.tasks.task_file import Task
from fedling_protocol.disk.errors import writing

FOLDERS = ("updates", "sums", "states", "models")


class Store:
    """What is written outside a transaction is on disk when the call returns.

    Raises CannotWrite, Busy when it cannot be.
    """

    def __init__(self, directory: Path, *, alone: bool = False, boot: str | None = None) -> None:
        """alone: the caller holds the lock of the directory. Raises as open_database does.

        boot: names the boot whose clock opens rounds; None: this one of the kernel
        """
        self.database = open_database(directory, alone=alone)
        self.ledger = Ledger(self.database)
        self.tasks = Tasks(self.database, self.ledger)
        self.models = Models(self.database, directory)
        self.rounds = Rounds(self.database, directory / "updates", boot)
        if self.ledger.meta(old_files.FLAG):
            with guard(directory, alone=alone)():
                old_files.convert(self.database, self.ledger, self.tasks, self.models, self.rounds)

    @staticmethod
    def create(directory: Path) -> None:
        """Make the state directory; what is there stays."""
        with writing(str(directory)):
            for kind in FOLDERS:
                (directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        create_database(directory)

    def tidy(self) -> None:
        """Erase the files that no row speaks of. Only the one process that folds may do this.

        The transaction keeps others from putting files meanwhile that their rows will speak of.
        """
        with self.database.transaction("the files of the state"):
            self.rounds.keep_only_logs()
            self.models.keep_only_files()

    def add_task(
        self, task: Task, text: str, seed: bytes, imported: ServerState | None = None
    ) -> None:
        """A task and its first model: drawn from the seed, or imported. Raises TaskExists."""
        state = imported or initial.initial_state(task.spec.layers, seed, task.spec.loss)
        with self.database.transaction("the task"):
            if self.tasks.find(task.name) is not None:
                raise TaskExists(
                    f"task {task.name} is there already; to begin anew: fedling-broker task remove"
                    f" {task.name}"
                )
            model_hash, state_hash = self.models.put_state(task.spec, state)
            self.tasks.add(task.name, text, None if imported is None else model_hash)
            first = ModelRow(FIRST_VERSION, model_hash, state.exponents)
            self.models.add_first(task.name, first, state_hash)

    def close(self) -> None:
        self.database.close()
