"""From the sum of a closed round to the files of the next model. It touches no database."""

from fedling_broker.aggregation import aggregate, tagged
from fedling_broker.aggregation.state import StateFile, StateWriter, finish
from fedling_broker.aggregation.sums import GroupSum
from fedling_broker.store.models import Fold, ModelRow, Models
from fedling_broker.store.shelf import Damaged, Draft
from fedling_broker.tasks.task_file import Task
from fedling_protocol.classes import dataclass
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import TaskSpec

PIECE = 1 << 20  # bytes hashed at once


@dataclass(frozen=True, slots=True)
class Made:
    """A model whose files are on disk, and how it came about, for the journal."""

    model: ModelRow
    weight: int
    sum_hash: bytes
    state_hash: bytes
    optimiser: str
    parameters: str

    def entry(self, number: int) -> Fold:
        """The row of the journal, for the round of this number."""
        return Fold(
            number,
            self.sum_hash,
            self.weight,
            self.optimiser,
            self.parameters,
            self.model.version,
            self.model.model_hash,
            self.state_hash,
        )


def fold(
    models: Models,
    task: Task,
    base: ModelRow,
    state: bytes,
    total: GroupSum,
    steps: int | None = None,
) -> Made:
    """Make the next model; the same files again if a crash came between.

    state: the name of the server's state before; steps: as in aggregate.make(). Runs beside the
    loop, in a little more memory than the sum's. Raises Damaged, CannotWrite.
    """
    layers, setup = task.spec.layers, task.optimiser
    with (
        models.states.open(state) as before,
        models.states.draft(task.name) as after,
        models.weights.draft(task.name) as view,
    ):
        if finish(tagged.sha256(before)) != state:
            raise models.states.another_hash(state)
        try:
            source = StateFile(layers, before)
        except ValueError as error:
            raise Damaged(f"{models.states.path(state)}: {error}") from error
        sink = StateWriter(layers, after.file, view.file)
        exponents = finish(aggregate.fold(source, [total], setup, sink, steps=steps))
        state_hash = finish(tagged.sha256(after.file))
        model_hash = _model_hash(base.spec(task.spec), exponents, view)
        after.keep(state_hash)
        view.keep(model_hash)
    sum_hash = models.sums.put(total.vector.astype("<i8", copy=False).data.cast("B"))
    made = ModelRow(base.version + 1, model_hash, exponents, base.scale)
    return Made(made, total.weight, sum_hash, state_hash, setup.name, setup.text)


def _model_hash(spec: TaskSpec, exponents: tuple[int, ...], view: Draft) -> bytes:
    hashed = digest.start_model_hash(spec, exponents)
    view.file.seek(0)
    while piece := view.file.read(PIECE):
        hashed.update(piece)
    return hashed.digest()
