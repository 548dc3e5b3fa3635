"""How much of a core a device may use, so that its training lasts as long as the scenario says."""

import os
import time
from dataclasses import dataclass

from fedling_agent.job import Recipe
from fedling_agent.run import Run
from fedling_native import Normaliser, weights_size
from fedling_protocol.messages import TaskSpec, Training

BATCHES, WARM_UP = 20, 4
REPEATS = 3
LEAST, MOST = 0.001, 1.0  # what agent.toml allows
REPORT_S = 40e-6  # CPU of a line to the parent and of a look at the lease


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a batch costs on this machine."""

    batch_s: float  # CPU

    def duty(self, examples: int, training: Training, seconds: float) -> float:
        """So that the local training of so many examples lasts `seconds`."""
        batches = training.epochs * -(-examples // training.batch)
        if seconds <= 0:
            return MOST
        return min(MOST, max(LEAST, batches * self.batch_s / seconds))


def measure(spec: TaskSpec, training: Training) -> Calibration:
    """The CPU of a batch as the training child does it, the best of a few runs of an epoch."""
    recipe = _recipe(spec, training)
    base = bytes(weights_size(spec.layers))
    examples = os.urandom(2 * recipe.count * recipe.values) + bytes(recipe.count)
    return Calibration(min(_epoch(recipe, base, examples) for _ in range(REPEATS)) + REPORT_S)


def _epoch(recipe: Recipe, base: bytes, examples: bytes) -> float:
    """CPU seconds of a batch."""
    with memoryview(examples) as view:
        run = Run(recipe, base, view)
        for _ in range(WARM_UP):
            run.step()
        start, done = time.thread_time(), run.done
        while not run.finished:
            run.step()
        seconds = (time.thread_time() - start) / max(1, run.done - done)
        run.close()
    return seconds


def _recipe(spec: TaskSpec, training: Training) -> Recipe:
    return Recipe(
        plan_id=bytes(16),
        layers=spec.layers,
        exponents=(-7,) * len(spec.layers),
        epochs=1,
        batch=training.batch,
        lr_q24=training.lr_q24,
        seed=bytes(32),
        count=BATCHES * training.batch,
        values=spec.window * spec.channels,
        normaliser=Normaliser.fit(lambda: [os.urandom(2 * spec.channels)], spec.channels),
        frozen_hash=bytes(32),
        examples_sum=bytes(32),
        base_sum=bytes(32),
    )
