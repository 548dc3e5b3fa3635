"""A test of models on what was held out: the same counts however it is interrupted."""

from collections.abc import Sequence

from fedling_agent.training.job import Recipe, Tally
from fedling_native import Net
from fedling_protocol.wire.messages import Hits


class HeldOutTest:
    """Some windows at a time: as many as a batch has, which takes a third of a batch's work."""

    def __init__(
        self, recipe: Recipe, models: Sequence[bytes], tests: bytes, tally: Tally | None
    ) -> None:
        """models: weights of each, tested one after another
        tests: int16 windows, then one class byte each. tally: where to go on; None: begin.
        """
        self._recipe = recipe
        self._tests = memoryview(tests)
        self._nets = [
            Net(recipe.layers, recipe.exponents, weights, recipe.loss) for weights in models
        ]
        self._classes = recipe.layers[-1].outputs
        begin = tally or Tally(0, (Hits(0, 0),) * (self._classes * len(models)))
        self.done = begin.done
        self._tested = list(begin.tested)

    @property
    def finished(self) -> bool:
        """Whether no window is left."""
        return self.done >= self._recipe.tests * len(self._nets)

    @property
    def tally(self) -> Tally:
        """Make what another HeldOutTest goes on from; at the end it has the counts of all."""
        return Tally(self.done, tuple(self._tested))

    def step(self) -> None:
        """Test the next windows, of one model."""
        model, at = divmod(self.done, self._recipe.tests)
        stop = min(at + self._recipe.training.batch, self._recipe.tests)
        for window in range(at, stop):
            label = self._tests[self._recipe.tests * 2 * self._recipe.values + window]
            cell = model * self._classes + label
            windows, right = self._tested[cell]
            said = self._said(self._nets[model], window)
            self._tested[cell] = Hits(windows + 1, right + (said == label))
        self.done += stop - at

    def _said(self, net: Net, at: int) -> int:
        """Ask a model for the class of a window."""
        size = 2 * self._recipe.values
        x = self._recipe.normaliser.apply(self._tests[at * size : (at + 1) * size])
        return net.predict(x).label
