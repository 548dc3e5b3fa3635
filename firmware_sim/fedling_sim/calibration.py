"""How much of a core a device may use, so that its training lasts as long as the scenario says."""

import os
import time
from dataclasses import replace

from fedling_agent.training.job import Recipe
from fedling_agent.training.local_sgd import LocalSgd
from fedling_native import Normaliser, weights_size
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import TaskSpec, Training

BATCHES, WARM_UP = 24, 4
PAUSE_S = 0.02  # between batches, as a low duty makes it: the caches are cold after it
LEAST, MOST = 0.001, 1.0  # what agent.toml allows


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a batch costs on this machine."""

    batch_s: float  # CPU

    def duty(self, examples: int, training: Training, seconds: float) -> float:
        """Find the duty with which the local training of so many examples lasts `seconds`."""
        batches = training.epochs * -(-examples // training.batch)
        if seconds <= 0:
            return MOST
        return min(MOST, max(LEAST, batches * self.batch_s / seconds))


def measure(spec: TaskSpec, training: Training) -> Calibration:
    """Measure the CPU of a batch as the training child does it."""
    recipe = _recipe(spec, training)
    examples = os.urandom(2 * recipe.count * recipe.values) + bytes(recipe.count)
    with memoryview(examples) as view:
        run = LocalSgd(recipe, bytes(weights_size(spec.layers)), view)
        costs = []
        while not run.finished:
            time.sleep(PAUSE_S)
            start = time.thread_time()
            run.step()
            costs.append(time.thread_time() - start)
        run.close()
    return Calibration(sum(costs[WARM_UP:]) / (BATCHES - WARM_UP))


def _recipe(spec: TaskSpec, training: Training) -> Recipe:
    return Recipe(
        plan_id=bytes(16),
        layers=spec.layers,
        loss=spec.loss,
        exponents=tuple(-7 if layer.weight_count else 0 for layer in spec.layers),
        training=replace(training, epochs=1),
        seed=bytes(32),
        count=BATCHES * training.batch,
        values=spec.window * spec.channels,
        normaliser=Normaliser.fit([os.urandom(2 * spec.channels)], spec.channels),
        frozen_hash=bytes(32),
        examples_sum=bytes(32),
        base_sum=bytes(32),
    )
