"""What each device would know without the others: the same rounds of its own, in this process."""

import os
from concurrent.futures import ThreadPoolExecutor

from fedling_agent.training.freeze import Read
from fedling_agent.training.job import Recipe
from fedling_agent.training.local_sgd import LocalSgd
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.state import ServerState, read_vector
from fedling_broker.aggregation.sums import GroupSum
from fedling_native import Net
from fedling_protocol.wire.messages import Scale
from fedling_sim.evaluation import Exam, Examiner
from fedling_sim.record import Alone
from fedling_sim.simulation import Scenario


def learn(scenario: Scenario, first: ServerState, examiner: Examiner, rounds: int) -> list[Alone]:
    """Let each device learn from its own examples. first: the model that all begin from.

    Devices without examples are left out. Nothing comes back if nothing is tested.
    """
    if not examiner.windows:
        return []

    def one(exam: Exam) -> Alone:
        assert exam.frozen is not None
        net, scale = _learned(scenario, first, exam.frozen, exam, rounds), None
        if scenario.task.spec.normalise == "fleet":  # it knows its own samples only
            scale = tuple(Scale(*one) for one in exam.frozen.normaliser.to_tuples())
        own = exam.right(net, scale) / len(exam.classes) if exam.classes else None
        return Alone(exam.device, own, examiner.accuracy(net, scale))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(one, [exam for exam in examiner.exams if exam.frozen is not None]))


def _learned(scenario: Scenario, first: ServerState, frozen: Read, exam: Exam, rounds: int) -> Net:
    """Play rounds with a cohort of one."""
    task, state = scenario.task, first
    for number in range(rounds):
        seed = scenario.secret("alone", exam.device, number)
        update = read_vector(_update(scenario, state, frozen, seed), task.spec.layers)
        state = aggregate(state, [GroupSum(update, 1, ())], task.optimiser)
    return Net(task.spec.layers, state.exponents, state.view, task.spec.loss)


def _update(scenario: Scenario, state: ServerState, frozen: Read, seed: bytes) -> bytes:
    spec, training = scenario.task.spec, scenario.task.training
    values = spec.window * spec.channels
    recipe = Recipe(
        plan_id=bytes(16),
        layers=spec.layers,
        loss=spec.loss,
        exponents=state.exponents,
        training=training,
        seed=seed,
        count=len(frozen.data) // (2 * values + 1),
        values=values,
        normaliser=frozen.normaliser,
        frozen_hash=bytes(32),
        examples_sum=bytes(32),
        base_sum=bytes(32),
    )
    with memoryview(frozen.data) as examples:
        run = LocalSgd(recipe, state.view, examples)
        while not run.finished:
            run.step()
        update, _ = run.update()
        run.close()
    return update
