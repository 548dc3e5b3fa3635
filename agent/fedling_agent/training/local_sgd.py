"""One training, batch by batch: the same integers wherever and however often it is interrupted."""

from fedling_agent.training.job import Checkpoint, Recipe
from fedling_native import Loss, Net, delta
from fedling_protocol.wire.digest import order
from fedling_protocol.wire.limits import PULL_ONE
from fedling_protocol.wire.messages import Training

LEAST_PULL = PULL_ONE // 16  # of the difference; less would round small differences to nothing
MOST_PULL_Q16 = 65_535


class LocalSgd:
    """A net between its base and its update.

    examples: int16 windows of all examples, then one class byte each
    """

    def __init__(
        self,
        recipe: Recipe,
        base: bytes,
        examples: memoryview,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        begin = checkpoint or Checkpoint(0, base, b"")
        self.done = begin.steps
        self._recipe = recipe
        self._base = base
        self._net = Net(
            *(recipe.layers, recipe.exponents, begin.weights, recipe.loss), velocity=begin.velocity
        )
        self._window = 2 * recipe.values  # bytes
        self._counts = examples[: recipe.count * self._window]
        self._classes = examples[recipe.count * self._window :]
        self._epoch = -1
        self._order: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether no batch is left."""
        return self.done >= self._recipe.total_steps

    def step(self) -> None:
        """Train the next batch; where it is due, pull the weights towards the base."""
        recipe, training = self._recipe, self._recipe.training
        epoch, at = divmod(self.done, recipe.batches)
        if epoch != self._epoch:
            self._order = order(recipe.seed, epoch, recipe.count)
            self._epoch = epoch
        x, targets = self._batch(self._order[at * training.batch : (at + 1) * training.batch])
        self._net.step(
            x,
            targets,
            training.lr_q24,
            clip_q16=training.clip_q16,
            momentum=training.momentum,
            frozen=training.frozen,
        )
        self.done += 1
        if pull_q16 := pull_after(at + 1, recipe.batches, training):
            self._net.pull(self._base, pull_q16)

    def checkpoint(self) -> Checkpoint:
        """Make a checkpoint from which another LocalSgd goes on."""
        return Checkpoint(self.done, self.weights(), self._net.velocity())

    def update(self) -> tuple[bytes, int]:
        """Make the vector of the update, and count how many of its values are saturated."""
        return delta(self._recipe.layers, self._base, self._net.weights())

    def weights(self) -> bytes:
        """Tell the weights as they are now."""
        return self._net.weights()

    def result(self) -> tuple[bytes, int]:
        """Make what the job is for, an update or a personal model; count saturated values."""
        return (self.weights(), 0) if self._recipe.personal else self.update()

    def close(self) -> None:
        """Let go of the examples."""
        self._counts.release()
        self._classes.release()

    def _batch(self, chosen: list[int]) -> tuple[bytes, bytes]:
        """Gather inputs and targets of these examples."""
        size = self._window
        counts = b"".join([self._counts[i * size : (i + 1) * size] for i in chosen])
        x = self._recipe.normaliser.apply(counts)
        if self._recipe.loss is Loss.RECONSTRUCTION:
            return x, b""
        return x, bytes([self._classes[i] for i in chosen])


def pull_after(step: int, batches: int, training: Training) -> int:
    """Tell the pull in 2^-16 that follows a step of an epoch (SPEC.md section 3); 0: none.

    step: from 1 to `batches`. The proximal term of FedProx (Li 2020) asks for learning rate * mu
    of the difference after each step; it comes every few steps, and at the end of an epoch.
    """
    each = training.lr_q24 * training.proximal_q16
    if each == 0:
        return 0
    period = -(-LEAST_PULL // each)
    steps = step % period or period
    if steps < period and step < batches:
        return 0
    return min(MOST_PULL_Q16, (steps * each + (1 << 23)) >> 24)
