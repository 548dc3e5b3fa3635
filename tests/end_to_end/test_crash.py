"""Six devices, a round of statistics and three of training: killed wherever, the same models.

Killed is the aggregator, or one agent with its training child, at every fifth point where a crash
could hurt; which fifth depends on the commit, and bench/crash_points.py takes them all. A share of
each fifth is quick.
"""

import inspect
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fedling_broker.mosquitto.process import free_port
from fedling_protocol.disk import durable
from tests.support.crash import scratch
from tests.support.crash.federation import Subject
from tests.support.crash.keeper import ROOT, Keeper
from tests.support.crash.series import Reference, Series
from tests.support.crash.sitecustomize import wrap_durable
from tests.support.tools import need

EVERY = 5
SHARES = {Subject.AGGREGATOR: 4, Subject.AGENT: 2}  # pytest items that share the points
LEAST_POINTS = 200  # of all series


@pytest.fixture(scope="session")
def series() -> Iterator[Series]:
    """One fleet for all items that run in this process."""
    need("mosquitto")
    with scratch.directory() as directory, Keeper() as keeper:
        yield Series(keeper, directory, free_port())


@pytest.fixture(scope="session")
def reference(series: Series) -> Reference:
    return series.undisturbed()


def offset() -> int:
    """Which of EVERY points: another one with each commit."""
    git = shutil.which("git")
    if git is None:
        return 0
    head = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return int(head.stdout[:8], 16) % EVERY if head.returncode == 0 else 0


def test_undisturbed_every_update_is_accepted_and_receipted(
    reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    of_each = ", ".join(f"{number} of the {name}" for name, number in reference.points.items())
    record_property("counted", f"crash points: {of_each}; every {EVERY}th is tried")
    assert sum(reference.points.values()) >= LEAST_POINTS


@pytest.mark.parametrize(
    ("subject", "share"),
    [
        pytest.param(subject, share, marks=pytest.mark.long if share > 0 else ())
        for subject in Subject
        for share in range(SHARES[subject])
    ],
)
def test_killed_at_a_point_the_models_and_receipts_are_the_same(
    series: Series,
    reference: Reference,
    subject: Subject,
    share: int,
    record_property: Callable[[str, object], None],
) -> None:
    first, step = 1 + offset() + EVERY * share, EVERY * SHARES[subject]
    hits = list(series.hits(reference, subject, first, step))
    words = f"{subject} killed at {len(hits)} points: {first}, {first + step}, ..."
    record_property("counted", words)
    assert hits
    wrong = [hit for hit in hits if hit.mismatch]
    assert not wrong, "\n".join(f"point {hit.at} ({hit.name}): {hit.mismatch}" for hit in wrong)


def every_call(function: Callable[..., object]) -> Iterator[tuple[list[Path], dict[str, Path]]]:
    """Words for each parameter of a function: as many by place as may be; then two, for points are
    called by them, and the others by name."""
    taken = inspect.signature(function).parameters.values()
    may_be = sum(p.kind is not p.KEYWORD_ONLY for p in taken)
    for by_place in (may_be, min(may_be, 2)):
        by_name = [p.name for p in taken][by_place:]
        yield [Path("file")] * by_place, dict.fromkeys(by_name, Path("file"))


def test_a_point_takes_every_word_that_its_durable_write_takes() -> None:
    real = {name: f for name, f in vars(durable).items() if inspect.isfunction(f)}
    idle = ModuleType("idle")
    vars(idle).update((name, lambda *_, **__: None) for name in real)
    unwrapped = dict(vars(idle))
    wrap_durable(idle)
    wrapped = [name for name in real if vars(idle)[name] is not unwrapped[name]]
    for name in wrapped:
        for by_place, by_name in every_call(real[name]):
            vars(idle)[name](*by_place, **by_name)
    assert {"write_file", "append", "commit"} <= {*wrapped}
