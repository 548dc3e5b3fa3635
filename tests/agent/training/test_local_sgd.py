"""One training: what a step is given, and when weights are pulled towards the base."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.training.job import Job
from fedling_agent.training.local_sgd import LocalSgd, pull_after
from fedling_native import Net, delta
from fedling_protocol.wire.digest import order
from tests.support.device import AUTOENCODER, CNN, TRAINING, make_device

RATE = 1 << 21  # 1/8
EIGHTH = 1 << 13


@contextmanager
def running(job: Job) -> Iterator[LocalSgd]:
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples)
        yield run
        run.close()


def by_hand(job: Job, pulls: dict[int, int]) -> bytes:
    """The update of a training written from SPEC.md section 3; pulls: after which steps."""
    recipe, training = job.recipe, job.recipe.training
    net = Net(recipe.layers, recipe.exponents, job.base(), recipe.loss)
    with job.examples() as examples:
        data, size, done = bytes(examples), 2 * recipe.values, 0
    classes = data[recipe.count * size :] if recipe.loss == 0 else b""
    for epoch in range(training.epochs):
        positions = order(recipe.seed, epoch, recipe.count)
        for at in range(0, recipe.count, training.batch):
            chosen = positions[at : at + training.batch]
            x = b"".join(recipe.normaliser.apply(data[i * size : (i + 1) * size]) for i in chosen)
            targets = bytes(classes[i] for i in chosen) if classes else b""
            net.step(
                *(x, targets, training.lr_q24),
                clip_q16=training.clip_q16,
                momentum=training.momentum,
                frozen=training.frozen,
            )
            done += 1
            if done in pulls:
                net.pull(job.base(), pulls[done])
    return delta(recipe.layers, job.base(), net.weights())[0]


@pytest.mark.parametrize(
    ("changes", "pulls"),
    [
        ({}, {}),
        ({"momentum": 230}, {}),
        ({"clip_q16": 1 << 13}, {}),
        ({"frozen": 2}, {}),
        # 1/8 of 1/8 a step: every 4 of an epoch's 11, and the last 3.
        ({"lr_q24": RATE, "proximal_q16": EIGHTH}, dict.fromkeys((4, 8, 15, 19), 1 << 12)
         | dict.fromkeys((11, 22), 3 << 10)),
    ],
)  # fmt: skip
def test_step_trains_as_the_plan_says(
    tmp_path: Path, changes: dict[str, int], pulls: dict[int, int]
) -> None:
    training = replace(replace(TRAINING, epochs=2), **changes)
    job = make_device(tmp_path, spec=CNN, training=training).freeze()
    with running(job) as run:
        while not run.finished:
            run.step()
        assert run.update()[0] == by_hand(job, pulls)


def test_step_of_a_reconstruction_needs_no_labels(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=AUTOENCODER, recordings=0)
    device.ingest(["recording,x,y\n", *[f"r0,{n % 7 / 7},{n % 5 / 5}\n" for n in range(100)]])
    job = device.freeze()
    assert job.recipe.count == 19  # every window of 10, 5 apart
    with running(job) as run:
        while not run.finished:
            run.step()
        vector, _ = run.update()
    assert vector == by_hand(job, {})
    assert any(vector)


def test_pull_after_comes_when_it_is_a_sixteenth_and_at_the_end_of_an_epoch() -> None:
    training = replace(TRAINING, lr_q24=RATE, proximal_q16=EIGHTH)  # 1/64 a step
    pulls = [pull_after(step, 10, training) for step in range(1, 11)]
    assert pulls == [0, 0, 0, 1 << 12, 0, 0, 0, 1 << 12, 0, 1 << 11]
    assert [pull_after(step, 8, training) for step in (4, 8)] == [1 << 12, 1 << 12]


@pytest.mark.parametrize(
    ("lr_q24", "mu_q16", "pull"),
    [
        (1 << 24, 0, 0),
        (1 << 24, 65_535, 65_535),  # learning rate 1, mu a little below it
        (3 << 24, 21_845, 65_535),
        (1 << 24, 1, 1),
        (1 << 23, 1, 1),  # half a unit, rounded up
        (1 << 22, 1, 0),  # too small for a pull in 2^-16
    ],
)
def test_pull_after_the_only_step_of_an_epoch(lr_q24: int, mu_q16: int, pull: int) -> None:
    training = replace(TRAINING, lr_q24=lr_q24, proximal_q16=mu_q16)
    assert pull_after(1, 1, training) == pull
