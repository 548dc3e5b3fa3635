"""What is written down of training: each change that lasts, and an entry in 300 s at most."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.conditions.condition import Code, Reason
from fedling_agent.conditions.table import TABLE
from fedling_agent.service.diary import LASTS_S, MEANINGS, MOST_WHY, REST_S, Diary, Now, course_of
from fedling_agent.service.writer import Writer
from fedling_agent.session import state
from fedling_agent.store.spells import Course, Spell
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import CannotWrite
from fedling_sim.world import Weather
from tests.agent.service.test_report import LOW as REASON
from tests.agent.service.test_report import NO, PLAN, SPOOLED, FakeLive, session
from tests.support.ports import HandClock, HandWorker
from tests.support.service import GOOD, HandService

LOW = Weather(mains=False, battery=20, temperature=40, network=True)
DAY_S = 86_400


class Told:
    """A diary of what a test says."""

    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.store = Store(directory)
        self.now: Now = (Course.NOTHING, ())
        self.disk = HandWorker(self.clock)
        writer = Writer(self.disk, lambda _error: None)
        self.diary = Diary(self.clock, self.store.spells, writer, lambda: self.now)
        self.diary.load()
        self.clock.move(LASTS_S)

    def tell(self, course: Course, *codes: str) -> None:
        self.now = (course, tuple(Reason(TABLE[0], code) for code in codes))
        self.diary.changed()
        self.clock.settle()

    @property
    def spells(self) -> list[Spell]:
        return list(self.store.spells.within(10**12, int(self.clock.now() * 1000)).spells)

    @property
    def courses(self) -> list[Course]:
        return [spell.course for spell in self.spells]


def test_a_change_is_written_soon_and_the_next_one_later(tmp_path: Path) -> None:
    told = Told(tmp_path)
    assert told.courses == [Course.NOTHING]
    told.clock.move(REST_S)
    told.tell(Course.TRAINS)
    told.clock.move(LASTS_S)
    assert told.courses == [Course.NOTHING, Course.TRAINS]
    told.clock.move(5)
    told.tell(Course.NOTHING)
    assert told.courses == [Course.NOTHING, Course.TRAINS]
    (pending,) = told.diary.pending(int(told.clock.now() * 1000))
    told.clock.move(REST_S)
    assert told.courses == [Course.NOTHING, Course.TRAINS, Course.NOTHING]
    assert told.spells[-1].lived_ms - told.spells[-2].lived_ms == 10_000  # when it began
    assert told.spells[-1] == pending
    assert told.diary.pending(0) == []


def test_numbers_that_change_are_no_news(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.clock.move(REST_S)
    for percent in (34, 33, 32):
        told.now = (Course.FORBIDDEN, (Reason(TABLE[0], "battery-low", percent),))
        told.diary.changed()
        told.clock.move(REST_S)
    (spell,) = told.spells[1:]
    assert [(why["code"], why["value"]) for why in spell.why] == [("battery-low", 34)]


def test_what_keeps_two_tasks_is_told_once_and_of_many_only_the_first(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.clock.move(REST_S)
    told.tell(Course.FORBIDDEN, "too-hot", "too-hot", *map(str, range(MOST_WHY)))
    told.clock.move(REST_S)
    told.tell(Course.FORBIDDEN, "too-hot", *map(str, range(MOST_WHY + 1)))
    told.clock.move(REST_S)
    (spell,) = told.spells[1:]
    assert [why["code"] for why in spell.why] == ["too-hot", "0", "1", "2"]


def test_conditions_that_must_hold_are_what_they_were_before(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.clock.move(REST_S)
    told.tell(Course.FORBIDDEN, "too-hot")
    for _ in range(20):
        told.clock.move(60)
        told.tell(Course.FORBIDDEN, Code.TOO_SOON)
        told.clock.move(60)
        told.tell(Course.FORBIDDEN, "too-hot")
    assert told.courses == [Course.NOTHING, Course.FORBIDDEN]


def test_clean_end_is_written_with_what_was_not(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.tell(Course.TRAINS)
    told.clock.move(5)
    told.diary.close()
    told.clock.settle()
    assert told.courses == [Course.NOTHING, Course.TRAINS, Course.OFF]
    told.clock.move(2 * REST_S)
    told.tell(Course.WAITS)
    assert len(told.courses) == 3


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 1.0, 60.0, 299.0, 301.0, 5000.0]),
            st.sampled_from([Course.TRAINS, Course.FORBIDDEN, Course.WAITS, Course.NOTHING]),
            st.sampled_from(["too-hot", "battery-low", Code.TOO_SOON]),
        ),
        max_size=60,
    )
)
def test_writes_are_bounded_and_what_lasts_is_there(
    changes: list[tuple[float, Course, str]],
) -> None:
    with TemporaryDirectory() as folder:
        told = Told(Path(folder))
        began = told.clock.now()
        for passes_s, course, code in changes:
            told.tell(course, code)
            told.clock.move(passes_s)
        told.clock.move(REST_S)
        ran_s = told.clock.now() - began
        assert len(told.spells) <= 1 + ran_s / REST_S + 1
        pairs = list(zip(told.spells, told.spells[1:], strict=False))
        assert all(before.lived_ms <= after.lived_ms for before, after in pairs)
        assert all((a.course, a.why) != (b.course, b.why) for a, b in pairs)
        if changes:
            assert told.spells[-1].course is changes[-1][1]
        told.store.close()


def test_flapping_plug_writes_no_more_than_an_entry_in_300_s(tmp_path: Path) -> None:
    device = HandService(tmp_path)
    device.connect()
    device.offer()
    before = len(rows(device))
    for turn in range(600):
        device.world.show(LOW if turn % 2 else GOOD)
        device.clock.move(2)
        device.runner.look()
        device.clock.settle()
    assert len(rows(device)) - before <= 1200 / REST_S + 1
    device.close()


def rows(device: HandService) -> list[tuple[str, list[object]]]:
    spells = device.store.spells.within(10**12, int(device.clock.now() * 1000)).spells
    return [(spell.course.value, [one["code"] for one in spell.why]) for spell in spells]


def test_diary_of_a_round(tmp_path: Path) -> None:
    """Each step lasts for longer than the least time between two entries."""
    device = HandService(tmp_path)
    device.clock.move(REST_S)
    device.connect()
    device.clock.move(REST_S)
    plan = device.offer()
    device.clock.move(REST_S)
    device.go_to(plan, epoch=0)
    device.settle(lambda: device.children)
    device.clock.move(REST_S + 10)
    device.world.show(LOW)
    device.runner.look()
    device.settle(lambda: "stop" in device.children[-1].did)
    device.children[-1].exit()
    device.clock.move(REST_S)
    assert rows(device) == [
        ("nothing to do", ["not-a-member"]),
        ("nothing to do", ["no-open-round"]),
        ("waits", ["waits-for-the-aggregator"]),
        ("trains", []),
        ("forbidden", ["battery-low"]),
    ]
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    device.settle(lambda: ended)
    device.crash()
    device.clock.move(LASTS_S)
    assert [course for course, _ in rows(device)][-2:] == ["off", "forbidden"]
    device.close()


def test_member_without_a_connection_says_so(tmp_path: Path) -> None:
    device = HandService(tmp_path)
    device.connect()
    device.clock.move(REST_S)
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    device.clock.move(REST_S)
    device.connect()
    device.clock.move(REST_S)
    assert [why for _, why in rows(device)] == [
        ["no-open-round"],
        ["not-connected"],
        ["no-open-round"],
    ]
    device.close()


def test_idle_device_writes_nothing(tmp_path: Path) -> None:
    device = HandService(tmp_path)
    device.connect()
    device.clock.move(2 * REST_S)
    before = rows(device)
    device.clock.move(DAY_S / 2)
    assert rows(device) == before
    device.close()


def test_codes_are_no_conditions() -> None:
    assert not {row.code for row in TABLE} & set(MEANINGS)


def test_spell_that_the_disk_refused_is_written_later(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.clock.move(REST_S)
    told.disk.broken = CannotWrite("what is done about training", "the disk is full")
    told.tell(Course.TRAINS)
    told.clock.move(LASTS_S)
    told.disk.broken = None
    assert told.courses == [Course.NOTHING]
    assert [spell.course for spell in told.diary.pending(0)] == [Course.TRAINS]
    told.clock.move(REST_S)
    assert told.courses == [Course.NOTHING, Course.TRAINS]


def test_before_it_is_loaded_nothing_is_written_or_told(tmp_path: Path) -> None:
    """The number of this run is not known yet."""
    clock = HandClock()
    store = Store(tmp_path)
    writer = Writer(HandWorker(clock), lambda _error: None)
    diary = Diary(clock, store.spells, writer, lambda: (Course.NOTHING, ()))
    diary.changed()
    diary.close()
    clock.move(2 * REST_S)
    assert (diary.pending(0), clock.waiting) == ([], 0)
    assert store.spells.within(10**12, 10**12).spells == []
    store.close()


def test_closed_it_waits_for_nothing(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.tell(Course.TRAINS)
    for _ in range(2):
        told.diary.close()
        told.clock.settle()
        assert told.clock.waiting == 0
    assert told.courses[-2:] == [Course.TRAINS, Course.OFF]


# --- what the course is, by what the tasks do ----------------------------------------------------

COURSES: list[tuple[list[FakeLive], Now]] = [
    ([], (Course.NOTHING, ("no-open-round",))),
    ([FakeLive(session())], (Course.NOTHING, ("no-open-round",))),
    ([FakeLive(session(phase=state.Training(), begun=PLAN), NO)], (Course.TRAINS, ())),
    ([FakeLive(session(offer=PLAN), NO)], (Course.FORBIDDEN, (REASON,))),
    (
        [FakeLive(session(offer=PLAN, spool=(SPOOLED,)), NO)],
        (Course.WAITS, ("waits-for-the-aggregator",)),
    ),
    (
        [FakeLive(session(offer=PLAN, enough=True), None)],
        (Course.WAITS, ("waits-for-the-aggregator",)),
    ),
    (
        [FakeLive(session(begun=PLAN, enough=False))],
        (Course.WAITS, ("waits-for-the-aggregator",)),
    ),
    ([FakeLive(session(offer=PLAN, enough=False))], (Course.WAITS, ("too-few-examples",))),
    (
        [FakeLive(session(offer=PLAN, enough=False), new_found=0)],
        (Course.WAITS, ("too-few-new-examples",)),
    ),
    (
        [FakeLive(session(offer=PLAN)), FakeLive(session(offer=PLAN), NO)],
        (Course.FORBIDDEN, (REASON,)),
    ),
]


@pytest.mark.parametrize(("tasks", "course"), COURSES)
def test_course_is_that_of_the_task_that_is_the_furthest(
    tasks: list[FakeLive], course: Now
) -> None:
    """A pause beats all but a training that ends with its batch; else only nothing is hindered."""
    assert course_of(tasks, None, "") == course
    paused = course if course[0] is Course.TRAINS else (Course.FORBIDDEN, (REASON,))
    assert course_of(tasks, REASON, "not-connected") == paused
    hindered = (Course.NOTHING, ("not-connected",))
    assert course_of(tasks, None, "not-connected") == (
        hindered if course[0] is Course.NOTHING else course
    )
