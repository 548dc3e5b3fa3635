"""Links that fail in every phase of a round, between real processes and a real mosquitto.

Six devices, a round of statistics and three of training: whatever the links do, each update is
counted once, the models are those of an undisturbed run, and each log says what its link did.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fedling_sim.chaos.fault import Fault
from fedling_sim.chaos.messages import Habits
from tests.support.crash import scratch
from tests.support.crash.evidence import Evidence, flaws
from tests.support.crash.fleet import DEVICES, ROUNDS
from tests.support.crash.keeper import Keeper
from tests.support.links import AGGREGATOR, NAMES, PHASES, TROUBLES, Links, Plan, Result, moment
from tests.support.quick import quick
from tests.support.tools import need


@pytest.fixture(scope="session")
def links() -> Iterator[Links]:
    """One fleet for all items that run in this process."""
    need("mosquitto")
    with scratch.directory() as directory, Keeper() as keeper:
        yield Links(keeper, directory)


@pytest.fixture(scope="session")
def undisturbed(links: Links) -> Evidence:
    result = links.run(Plan())
    assert list(flaws(result.evidence)) == []
    return result.evidence


@pytest.fixture(scope="session")
def two_tasks() -> Iterator[Links]:
    need("mosquitto")
    with scratch.directory() as directory, Keeper() as keeper:
        yield Links(keeper, directory, ("other",))


def unlike(result: Result, undisturbed: Evidence) -> list[str]:
    """What is wrong, in words."""
    return [*flaws(result.evidence), *result.evidence.differences(undisturbed)]


SILENT = ("half-open", "client-holds", "mute for long")  # seconds go by before they are noticed
QUICK = quick([name for name in TROUBLES if name not in SILENT], TROUBLES)


@pytest.mark.parametrize("name", QUICK)
def test_trouble_in_any_phase_on_links_of_devices(
    links: Links, undisturbed: Evidence, name: str
) -> None:
    """A device has two or so of them in a run, so that each phase is some device's."""
    trouble, phases = TROUBLES[name], list(PHASES)
    moments = {
        str(n): [moment(phase, trouble, str(n)) for phase in phases[n::DEVICES]]
        for n in range(DEVICES)
    }
    result = links.run(Plan(moments))
    assert unlike(result, undisturbed) == []
    assert result.missed == {}
    for device in moments:
        assert is_said(name, result.logs[device]), result.logs[device]


def is_said(name: str, log: str) -> bool:
    words = TROUBLES[name].words
    return not words or any(word in log for word in words)


@pytest.mark.parametrize("name", quick(("late", "refused"), TROUBLES))
def test_trouble_in_any_phase_on_the_link_of_the_aggregator(
    links: Links, undisturbed: Evidence, name: str
) -> None:
    """One after the other, as the messages of six devices come."""
    trouble = TROUBLES[name]
    moments = {AGGREGATOR: [moment(phase, trouble, AGGREGATOR) for phase in PHASES]}
    result = links.run(Plan(moments))
    assert unlike(result, undisturbed) == []
    assert result.missed == {}
    assert is_said(name, result.logs[AGGREGATOR])


# What is asked for again. What is retained comes with the next connection of who says it.
ASKED_FOR = ("/join/", "/ticket/", "/up/", "/receipt/")


@pytest.mark.parametrize(
    "habits",
    [
        pytest.param(Habits(lost=0.15, words=ASKED_FOR), marks=pytest.mark.long),
        pytest.param(Habits(doubled=0.5), marks=pytest.mark.long),
        pytest.param(Habits(late=0.3), marks=pytest.mark.long),
        Habits(0.1, 0.2, 0.2, 1.0, ASKED_FOR),
    ],
    ids=["lost", "doubled", "late", "all"],
)
def test_messages_lost_doubled_late_and_in_another_order(
    links: Links, undisturbed: Evidence, habits: Habits
) -> None:
    of_devices = replace(habits, words=(*habits.words, "/model/")) if habits.words else habits
    all_habits = {name: habits if name == AGGREGATOR else of_devices for name in NAMES}
    result = links.run(Plan(habits=all_habits))
    assert unlike(result, undisturbed) == []


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_cut_after_any_number_of_bytes(links: Links, undisturbed: Evidence, up: bool) -> None:
    """Each device's first connections end after other numbers of bytes, of 1 to a whole round's.

    The last one is as long as it takes, since a message that does not fit never comes.
    """
    faults = {}
    for number, name in enumerate(NAMES):
        count = round(9000 ** ((number + 1) / len(NAMES)))
        faults[name] = Fault(
            up_bytes=count if up else None, down_bytes=None if up else count, times=5
        )
    result = links.run(Plan(faults=faults))
    assert unlike(result, undisturbed) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))]
)
def test_two_plans_in_flight_over_links_that_come_and_go(two_tasks: Links, seed: int) -> None:
    """Each update of each task is counted once; what fails has its seed in its name."""
    result = two_tasks.run(Plan(flapping=seed))
    assert result.evidence.verify == 0
    assert result.counted == {
        (task, number, device, "accepted"): 1
        for task in two_tasks.tasks
        for number in range(ROUNDS)
        for device in two_tasks.ids
    }
