"""The aggregator's state directory: SQLite rows, and the files that they speak of."""

import time
from collections.abc import Callable
from pathlib import Path

from fedling_broker.aggregation import fixed, initial
from fedling_broker.aggregation.state import ServerState
from fedling_broker.store import old_files, place
from fedling_broker.store.chunks import Chunks
from fedling_broker.store.database import create_database, guard, open_database
from fedling_broker.store.horizon import FIRST_VERSION
from fedling_broker.store.invitations import Invitations
from fedling_broker.store.ledger import Ledger
from fedling_broker.store.models import ModelRow, Models
from fedling_broker.store.rounds import PlanRow, Rounds
from fedling_broker.store.tasks import TaskExists, TaskRow, Tasks
from fedling_broker.store.tls_certificates import TlsCertificates
from fedling_broker.store.withdrawn import Withdrawn
from fedling_broker.tasks.task_file import Task
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, Missing, writing
from fedling_protocol.wire.messages import TaskSpec

FOLDERS = ("updates", "sums", "states", "models")

NamePlan = Callable[[TaskRow, PlanRow, int], bytes]
"""Names a plan once more, of an epoch."""

COPY_AHEAD_S = 60  # the life that it replaces may have begun in this very second, or started again


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of the aggregator on a state."""

    number: int
    copied: bool  # the state is a copy: another aggregator may have gone on from it
    reopened: int  # open rounds that got another id, therefore


class Store:
    """What is written outside a transaction is on disk when the call returns.

    Raises CannotWrite, Busy when it cannot be.
    """

    def __init__(
        self,
        directory: Path,
        *,
        alone: bool = False,
        boot: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """alone: the caller holds the lock of the directory. Raises as open_database does.

        boot: names the boot whose clock opens rounds; None: this one of the kernel
        wall: Unix time
        """
        self.directory = directory
        self.database = open_database(directory, alone=alone)
        place.mark(directory)
        self.ledger = Ledger(self.database, wall)
        self.tasks = Tasks(self.database, self.ledger)
        self.models = Models(self.database, directory)
        self.chunks = Chunks(self.database)
        self.rounds = Rounds(self.database, directory / "updates", boot)
        self.withdrawn = Withdrawn(self.database)
        self.invitations = Invitations(self.database)
        self.tls_certificates = TlsCertificates(self.database)
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

    def begin_epoch(self, name: NamePlan) -> Epoch:
        """Begin an epoch that is later than every other of this fleet, also than lost ones.

        Who runs on a copy cannot know what devices did for the plan that was open when it was made:
        such a plan gets another id. Updates that were accepted stay in it.
        """
        with self.database.transaction("the epoch"):
            here = place.find(self.directory)
            copied = self.ledger.meta("place") not in (place.NOWHERE, here)
            self.ledger.set_meta("place", here)
            number = self.ledger.outlive("epoch", COPY_AHEAD_S if copied else 0)
            return Epoch(number, copied, self._reopen(name, number) if copied else 0)

    def _reopen(self, name: NamePlan, epoch: int) -> int:
        """Give all open plans other ids; how many there were."""
        tasks = {row: self.rounds.unfolded(row.name) for row in self.tasks.rows()}
        plans = [(row, plan) for row, plan in tasks.items() if plan and not plan.closed]
        for row, plan in plans:
            self.rounds.rename(row.name, plan.plan_id, name(row, plan, epoch))
        return len(plans)

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
        spec = task.spec
        grid = fixed.on_first_grid if task.optimiser.on_grid else initial.exactly
        state = imported or initial.initial_state(spec.layers, seed, spec.loss, grid)
        with self.database.transaction("the task"):
            if self.tasks.find(task.name) is not None:
                raise TaskExists(
                    f"task {task.name} is there already; to change it: fedling-broker task update"
                    f" {task.name} FILE; to begin anew: fedling-broker task remove {task.name}"
                )
            model_hash, state_hash = self.models.put_state(task.spec, state)
            self.tasks.add(task.name, text, None if imported is None else model_hash)
            drawn = imported is None
            first = ModelRow(FIRST_VERSION, model_hash, state.exponents, drawn=drawn)
            self.models.add_first(task.name, first, state_hash)

    def roll_back(self, spec: TaskSpec, version: int) -> tuple[ModelRow, int]:
        """A new version with an old one's weights, and how many updates are in no model now.

        A round that is open is ended: what it learned from the newest model is not wanted. Raises
        Missing, Damaged; BadInput before the fleet was measured, when there is one model only.
        """
        name = spec.task
        with self.database.transaction("the rollback"):
            if spec.normalise == "fleet" and self.models.newest(name).scale is None:
                raise BadInput(
                    f"task {name} has learned nothing yet: its round of statistics comes first"
                )
            to = self.models.find(name, version)
            if to is None:
                raise Missing(f"task {name} has no model {version}")
            plan, dropped = self.rounds.unfolded(name), 0
            if plan is not None:
                dropped = len(self.rounds.members(name, plan.plan_id))
                self.rounds.end(name, plan.plan_id, keep=False)
            made = self.models.roll_back(name, spec, to)
            row = self.tasks.find(name)
            assert row is not None  # its models are here
            self.tasks.change(name, row.text, None)
            return made, dropped

    def close(self) -> None:
        self.database.close()
