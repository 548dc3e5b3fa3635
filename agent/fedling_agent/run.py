"""One training, batch by batch: the same integers wherever and however often it is interrupted."""

from fedling_agent.job import Recipe
from fedling_native import Net, delta
from fedling_protocol.digest import order


class Run:
    """A net between its base and its update.

    examples: int16 windows of all examples, then one class byte each
    checkpoint: steps done and the weights after them
    """

    def __init__(
        self,
        recipe: Recipe,
        base: bytes,
        examples: memoryview,
        checkpoint: tuple[int, bytes] | None = None,
    ) -> None:
        self.done, weights = checkpoint or (0, base)
        self._recipe = recipe
        self._base = base
        self._net = Net(recipe.layers, recipe.exponents, weights)
        self._window = 2 * recipe.values  # bytes
        self._counts = examples[: recipe.count * self._window]
        self._classes = examples[recipe.count * self._window :]
        self._epoch = -1
        self._order: list[int] = []

    @property
    def finished(self) -> bool:
        """No batch is left."""
        return self.done >= self._recipe.total_steps

    def step(self) -> None:
        """Train the next batch."""
        recipe, size = self._recipe, self._window
        epoch, at = divmod(self.done, recipe.batches)
        if epoch != self._epoch:
            self._order = order(recipe.seed, epoch, recipe.count)
            self._epoch = epoch
        chosen = self._order[at * recipe.batch : (at + 1) * recipe.batch]
        counts = b"".join([self._counts[i * size : (i + 1) * size] for i in chosen])
        classes = bytes([self._classes[i] for i in chosen])
        self._net.step(recipe.normaliser.apply(counts), classes, recipe.lr_q24)
        self.done += 1

    def weights(self) -> bytes:
        """Now, as canonical bytes."""
        return self._net.weights()

    def update(self) -> tuple[bytes, int]:
        """The vector of the update, and how many of its values are saturated."""
        return delta(self._recipe.layers, self._base, self.weights())

    def close(self) -> None:
        """Let go of the examples."""
        self._counts.release()
        self._classes.release()
