"""A test of the base model on what was held out: the same counts however it is interrupted."""

from fedling_agent.training.job import Recipe, Tally
from fedling_native import Net
from fedling_protocol.wire.messages import Hits


class BaseTest:
    """Some windows at a time: as many as a batch has, which takes a third of a batch's work."""

    def __init__(self, recipe: Recipe, base: bytes, tests: bytes, tally: Tally | None) -> None:
        """tests: int16 windows, then one class byte each. tally: where to go on; None: begin."""
        self._recipe = recipe
        self._tests = memoryview(tests)
        self._net = Net(recipe.layers, recipe.exponents, base, recipe.loss)
        begin = tally or Tally(0, (Hits(0, 0),) * recipe.layers[-1].outputs)
        self.done = begin.done
        self._tested = list(begin.tested)

    @property
    def finished(self) -> bool:
        """Whether no window is left."""
        return self.done >= self._recipe.tests

    @property
    def tally(self) -> Tally:
        """Make what another BaseTest goes on from; at the end it has the counts of all."""
        return Tally(self.done, tuple(self._tested))

    def step(self) -> None:
        """Test the next windows."""
        for at in range(
            self.done, min(self.done + self._recipe.training.batch, self._recipe.tests)
        ):
            label = self._tests[self._recipe.tests * 2 * self._recipe.values + at]
            windows, right = self._tested[label]
            self._tested[label] = Hits(windows + 1, right + (self._said(at) == label))
            self.done = at + 1

    def _said(self, at: int) -> int:
        """Ask the model for the class of a window."""
        size = 2 * self._recipe.values
        x = self._recipe.normaliser.apply(self._tests[at * size : (at + 1) * size])
        return self._net.predict(x).label
