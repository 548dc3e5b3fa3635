"""The cohort against plain dicts, and how much work a large round is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.rounds import cohort as cohort_module
from fedling_broker.rounds.cohort import Cohort
from fedling_broker.rounds.events import Decision, Event, JoinSeen, Opened, Tick, UpdateSeen
from fedling_broker.rounds.machine import step
from fedling_broker.rounds.state import Folding, Open, Rules, restore
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.rounds.terms import Terms
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Join, Update, Verdict

DEVICES = [f"device{i}" for i in range(8)]
ACCEPTED = Decision(b"a", Verdict.ACCEPTED, "")
REFUSED = Decision(b"r", Verdict.REFUSED, "shape")


@dataclass
class Naive:
    """The same, by looking at everything every time."""

    places: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    def accepted(self) -> int:
        return sum(d.verdict is Verdict.ACCEPTED for d in self.decisions.values())


def assert_alike(cohort: Cohort, naive: Naive) -> None:
    assert {d: cohort.until(d) for d in DEVICES if cohort.until(d) is not None} == naive.places
    assert {d: cohort.decision(d) for d in DEVICES if cohort.decision(d)} == naive.decisions
    assert cohort.accepted == naive.accepted()
    assert cohort.taken == len(naive.places) + naive.accepted()
    oldest = cohort.oldest()
    if oldest is None:
        assert not naive.places
    else:
        device, until = oldest
        assert until == naive.places[device] == min(naive.places.values())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["grant", "give away", "accept", "refuse", "restore"]),
            st.sampled_from(DEVICES),
            st.integers(0, 20),
        ),
        max_size=60,
    )
)
def test_cohort_is_two_dicts(course: list[tuple[str, str, int]]) -> None:
    cohort, naive = Cohort(), Naive()
    for what, device, until in course:
        if what == "restore":
            cohort = Cohort(naive.places, naive.decisions)
        elif device in naive.decisions:
            continue
        elif what in ("accept", "refuse"):
            decision = ACCEPTED if what == "accept" else REFUSED
            cohort.decide(device, decision)
            naive.places.pop(device, None)
            naive.decisions[device] = decision
        else:
            oldest = cohort.oldest() if what == "give away" else None
            loser = oldest[0] if oldest and oldest[0] != device else None
            cohort.grant(device, until, loser)
            naive.places.pop(loser or "", None)
            naive.places[device] = until
        assert_alike(cohort, naive)


def test_restore_leaves_out_places_of_the_decided() -> None:
    cohort = Cohort({"one": 5, "two": 3}, {"two": ACCEPTED})
    assert cohort.oldest() == ("one", 5)
    assert (cohort.until("two"), cohort.taken) == (None, 2)


def test_prolonging_does_not_make_it_grow() -> None:
    cohort = Cohort()
    for until in range(10_000):
        cohort.grant("one", until, None)
    assert len(cohort._ends) <= 2 + cohort_module.SLACK
    assert cohort.oldest() == ("one", 9_999)


# --- a large round: work is counted in byte codes of the rounds' own files -----------------------

RAW = Update(b"plan", 1, b"model", 1, Codec.RAW_INT16, b"12", 0, 1)
SAMPLE = 100  # devices at the end of each part of a round, of whom it is counted


def work_at_the_end_of(count: int) -> int:
    """Byte codes of the last devices that get a place, are turned away, and are accepted."""
    policy = Synchronous(goal=count, minimum=1, deadline_ms=3_600_000)
    s = restore(Rules(policy, 1), 0, None, 0)
    s, _ = step(s, Tick(), 0)
    s, _ = step(s, Opened(b"plan", Terms(1, b"model", Codec.RAW_INT16, 1, 2)), 0)
    assert isinstance(s.phase, Open)
    cohort, until = s.phase.cohort, s.phase.cohort._until
    names = [f"device{i}" for i in range(policy.capacity + SAMPLE)]
    joins: list[Event] = [
        JoinSeen(name, Join(b"plan", b"nonce", None, None), True) for name in names
    ]
    updates: list[Event] = [UpdateSeen(name, RAW, b"message", b"hash") for name in names[:count]]
    work = 0
    for part in (joins[:-SAMPLE], joins[-SAMPLE:], updates):
        for event in part[:-SAMPLE]:
            s, _ = step(s, event, 0)
        with counted() as byte_codes:
            for event in part[-SAMPLE:]:
                s, _ = step(s, event, 0)
        work += byte_codes[0]
    assert isinstance(s.phase, Folding)
    assert cohort.accepted == count
    assert cohort._until is until  # it was never copied
    return work


@contextmanager
def counted() -> Iterator[list[int]]:
    count = [0]

    def trace(frame: FrameType, what: str, _: object) -> object:
        if "/rounds/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        count[0] += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        yield count
    finally:
        sys.settrace(before)


def test_a_device_costs_the_same_in_a_round_of_10_000() -> None:
    assert work_at_the_end_of(10_000) <= 1.05 * work_at_the_end_of(200)
