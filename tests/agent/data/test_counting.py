"""Counting: exact, and only what is new."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data.counting import Counter, Found
from fedling_agent.data.recording import Changes, Known
from fedling_agent.data.windows import Example
from fedling_protocol.runtime.slices import Slices, finish
from tests.support import naive_windows
from tests.support.device import AUTOENCODER, SECRET, SPEC, TRAINING
from tests.support.recordings import LABELS, PIECES, Shelf, shelf

MANY = replace(TRAINING, min_examples=60_000)


def test_until_there_are_enough() -> None:
    source = shelf([[(1000, "up")], [(30, "up")], [(24, "down")]])
    for wanted, enough in [(0, True), (1, True), (206, True), (207, True), (208, False)]:
        counter = Counter(source, SPEC, replace(TRAINING, min_examples=wanted))
        assert counter.enough is None
        assert finish(counter.count()) == enough
        assert counter.enough == enough
    assert counter.windows == 199 + 5 + 3


def test_none_is_not_enough_even_if_none_is_wanted() -> None:
    counter = Counter(Shelf(), SPEC, replace(TRAINING, min_examples=0))
    assert not finish(counter.count())


def test_more_than_a_training_set_holds_is_never_enough() -> None:
    source = shelf([[(10**8, "up")]])
    spec = replace(SPEC, stride=1)
    assert finish(Counter(source, spec, replace(TRAINING, min_examples=65_536)).count())
    never = Counter(source, spec, replace(TRAINING, min_examples=65_537))
    assert never.enough is False
    assert not finish(never.count())


def test_a_long_stream_is_counted_by_arithmetic() -> None:
    source = shelf([[(10**12, "up")]])
    counter = Counter(source, replace(SPEC, stride=1), MANY)
    assert sum(1 for _ in counter.count()) < 5


def test_only_new_samples_are_looked_at() -> None:
    source = shelf([[(1, label) for label in LABELS[:2] * 2500]])
    counter = Counter(source, SPEC, MANY)
    finish(counter.count())
    reads = source.reads
    source.grow(1, [(40, "up")])
    counter.changed(Changes("wrist", 40, (1,)))
    assert not finish(counter.count())
    assert counter.windows == 7
    assert source.reads - reads <= 10


def test_nothing_is_looked_at_while_there_are_enough() -> None:
    source = shelf([[(40, "up")]])
    counter = Counter(source, SPEC, replace(TRAINING, min_examples=5))
    finish(counter.count())
    reads = source.reads
    source.grow(1, [(40, "up")])
    counter.changed(Changes("wrist", 40, (1,)))
    assert counter.enough
    assert finish(counter.count())
    assert source.reads == reads


def test_evicted_windows_are_missed_and_made_up_for() -> None:
    source = shelf([[(40, "up")], [(40, "up")]])
    counter = Counter(source, SPEC, replace(TRAINING, min_examples=5))
    finish(counter.count())
    source.evict(2)
    counter.changed(Changes("other", 1, evicted=(2,)))
    assert finish(counter.count())
    source.evict(1)
    counter.changed(Changes("wrist", evicted=(1,)))
    assert not finish(counter.count())
    source.grow(3, [(40, "up")])
    counter.changed(Changes("wrist", 40, (3,)))
    assert finish(counter.count())


def test_what_another_stream_gets_does_not_matter() -> None:
    source = shelf([[(40, "up")]])
    counter = Counter(source, SPEC, MANY)
    finish(counter.count())
    counter.changed(Changes("other", 40, (1,)))
    assert counter.enough is False


def test_short_recordings_without_a_window_are_not_remembered() -> None:
    source = shelf([[(9, "up")], [(5000, "other")]])
    counter = Counter(source, SPEC, MANY)
    finish(counter.count())
    assert list(counter._counted) == [2]
    source.grow(1, [(1, "up")])
    counter.changed(Changes("wrist", 1, (1,)))
    finish(counter.count())
    assert counter.windows == 1


def test_a_count_that_is_broken_off_loses_nothing() -> None:
    source = shelf([[(40, "up")], [(50, "up")], [(60, "up")]])
    for slices in range(12):
        counter = Counter(source, SPEC, MANY)
        counter.changed(Changes("wrist", 40, (1, 3)))
        count = counter.count()
        for _ in range(slices):
            next(count, None)
        count.close()
        finish(counter.count())
        assert counter.windows == 7 + 9 + 11


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 8), PIECES),
        st.tuples(st.just("relabel"), st.integers(1, 8), st.sampled_from(LABELS)),
        st.tuples(st.just("hole"), st.integers(1, 8), PIECES),
        st.tuples(st.just("trim"), st.integers(1, 8), st.none()),
        st.tuples(st.just("evict"), st.integers(1, 8), st.none()),
        st.tuples(st.just("count"), st.integers(1, 4), st.none()),
    ),
    max_size=25,
)


class Hands:
    """Does to a shelf what steps say; numbers of ours stand for keys."""

    def __init__(self, source: Shelf) -> None:
        self._source = source
        self._newest = 0
        self._begun: dict[int, int] = {}  # a number of ours: the key that it has now

    def do(self, what: str, number: int, more: object) -> Changes | None:
        """What has changed; None: nothing."""
        source, key = self._source, self._begun.get(number)
        if what in ("grow", "hole"):
            if key is None:
                self._newest += 1
                key = self._begun[number] = self._newest
            source.grow(key, more, hole=what == "hole")  # type: ignore[arg-type]
            return Changes("wrist", 1, (key,))
        if key is None:
            return None
        if what == "relabel":
            source.relabel(key, str(more))
            return Changes("wrist", relabelled=(key,))
        if what == "trim":
            source.trim(key)
            return Changes("other", trimmed=(key,))
        source.evict(self._begun.pop(number))
        return Changes("wrist", evicted=(key,))


@given(
    STEPS,
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 40),
    st.booleans(),
)
def test_it_counts_what_is_there_whatever_happens_between_two_slices(
    steps: list[tuple[str, int, object]],
    window: int,
    stride: int,
    wanted: int,
    labels: bool,
) -> None:
    spec = replace(SPEC, window=window, stride=stride, labels=SPEC.labels if labels else ())
    training = replace(TRAINING, min_examples=wanted)
    source = Shelf()
    counter = Counter(source, spec, training)
    count: Slices[bool] = counter.count()
    hands = Hands(source)
    for what, number, more in steps:
        if what == "count":
            for _ in range(number):
                if next(count, True):
                    count = counter.count()
        elif changes := hands.do(what, number, more):
            counter.changed(changes)
    count.close()
    every = naive_windows.choose(spec, training, SECRET, source.stored, 10**9, source.holes)
    assert finish(counter.count()) == (len(every) >= wanted)
    if not counter.enough:
        assert counter.windows == len(every)
    if every:
        assert counter.found.longest >= window


@given(STEPS, STEPS, st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_of_what_is_known_only_what_is_new_counts(
    before: list[tuple[str, int, object]],
    steps: list[tuple[str, int, object]],
    window: int,
    stride: int,
    labels: bool,
) -> None:
    spec = replace(SPEC, window=window, stride=stride, labels=SPEC.labels if labels else ())
    source = Shelf()
    hands = Hands(source)
    for step in before:
        if step[0] != "count":
            hands.do(*step)
    known = {r.key: Known(r.samples, r.revision) for r, _ in source.stored}
    counter = Counter(source, spec, MANY, known.get)
    for what, number, more in steps:
        if what == "count":
            finish(counter.count())
        elif changes := hands.do(what, number, more):
            counter.changed(changes)
    assert not finish(counter.count())
    now = {r.id: r for r, _ in source.stored}

    def is_new(one: Example) -> bool:
        recording = now[one.recording]
        was = known.get(recording.key, Known(0, 0))
        return one.first + window > was.samples or recording.revision != was.revision

    every = naive_windows.choose(spec, MANY, SECRET, source.stored, 10**9, source.holes)
    assert counter.windows == sum(map(is_new, every))


def test_what_may_be_held_out_counts() -> None:
    """A device that would have too few without it holds nothing out."""
    source = shelf([[(9, "up"), (25, "down")]])
    training = replace(TRAINING, holdout=900, holdout_block=5, min_examples=3)
    assert not naive_windows.choose(SPEC, training, SECRET, source.stored, 10**9)
    assert finish(Counter(source, SPEC, training).count())


def test_found_tells_the_longest_span() -> None:
    source = shelf([[(9, "up"), (4, "down")], [(3, "other"), (6, "down")], [(500, "other")]])
    counter = Counter(source, SPEC, MANY)
    finish(counter.count())
    assert counter.found == Found(0, 9)
    source.grow(1, [(7, "down")])
    counter.changed(Changes("wrist", 7, (1,)))
    finish(counter.count())
    assert counter.found == Found(1, 11)
    bare = Counter(source, AUTOENCODER, MANY)
    finish(bare.count())
    assert bare.found.longest == 500


def test_a_count_in_a_recording_that_is_evicted_goes_on_with_the_others() -> None:
    source = shelf([[(300, "up")], [(5, "up"), (5, "down")] * 200])
    spec = replace(SPEC, window=2, stride=1)
    counter = Counter(source, spec, MANY)
    count = counter.count()
    next(count)
    source.evict(2)
    counter.changed(Changes("wrist", evicted=(2,)))
    assert not finish(count)
    every = naive_windows.choose(spec, MANY, SECRET, source.stored, 10**9)
    assert counter.windows == len(every)
