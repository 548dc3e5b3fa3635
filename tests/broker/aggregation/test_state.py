from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pytest

from fedling_broker.aggregation import tagged
from fedling_broker.aggregation.aggregate import aggregate, fold
from fedling_broker.aggregation.initial import draw, initial_state
from fedling_broker.aggregation.optimisers import of_momentum
from fedling_broker.aggregation.state import (
    FORMAT,
    Block,
    ServerState,
    Span,
    StateFile,
    StateWriter,
    finish,
    from_values_and_velocity,
    spans,
    state_from_bytes,
    state_of_weights,
    state_to_bytes,
    to_values_and_velocity,
)
from fedling_broker.aggregation.sums import GroupSum
from fedling_native import Loss, average_pool, conv, dense, weights_size

LAYERS = (conv((1, 8, 2), 3, (1, 3), relu=True), average_pool((1, 6, 3)), dense(3, 2))
COUNT = 3 * 3 * 2 + 3 * 2 + 3 + 2
SEED = bytes(32)


def group(number: int) -> GroupSum:
    values = np.random.default_rng(number).integers(-(10**7), 10**7, COUNT)
    return GroupSum(values, 1000 + number, ())


def rounds(count: int, momentum: int) -> ServerState:
    state = initial_state(LAYERS, SEED)
    for number in range(count):
        state = aggregate(state, [group(number)], of_momentum(momentum))
    return state


def assert_same(one: ServerState, other: ServerState) -> None:
    assert (one.layers, one.exponents, one.view) == (other.layers, other.exponents, other.view)
    assert one.master.tolist() == other.master.tolist()
    assert {n: v.tolist() for n, v in one.optimiser.items()} == (
        {n: v.tolist() for n, v in other.optimiser.items()}
    )


@pytest.mark.parametrize("size", [1, 2, 5, 6, 1000])
def test_spans_cover_every_value_once_and_stay_within_a_layer(size: int) -> None:
    found = list(spans(LAYERS, size))
    assert [v for span in found for v in range(span.start, span.stop)] == list(range(COUNT))
    for span in found:
        assert 0 < span.count <= size
        low, high = {0: (0, 18), 2: (18, 24), None: (24, COUNT)}[span.layer]
        assert low <= span.start < span.stop <= high


@pytest.mark.parametrize("momentum", [0, 200])
def test_bytes_of_a_state_give_it_back(momentum: int) -> None:
    for count in (0, 1, 3):
        state = rounds(count, momentum)
        assert_same(state_from_bytes(LAYERS, state_to_bytes(state)), state)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("momentum", [0, 200])
def test_rounds_through_files_equal_rounds_in_memory(size: int, momentum: int) -> None:
    """Exponents move meanwhile."""
    state, view = BytesIO(), BytesIO()
    finish(draw(LAYERS, SEED, Loss.SOFTMAX, StateWriter(LAYERS, state, view), size))
    for number in range(4):
        after, view = BytesIO(), BytesIO()
        writer = StateWriter(LAYERS, after, view)
        source = StateFile(LAYERS, state)
        finish(fold(source, [group(number)], of_momentum(momentum), writer, size))
        state = after
    expected = rounds(4, momentum)
    assert expected.exponents != initial_state(LAYERS, SEED).exponents
    assert view.getvalue() == expected.view
    assert state.getvalue() == state_to_bytes(expected)


def test_state_of_weights_gives_the_same_bytes_back() -> None:
    weights = initial_state(LAYERS, SEED).view
    state = state_of_weights(LAYERS, (-3, 0, -4), weights)
    assert state.view == weights
    memory = state_from_bytes(LAYERS, state_to_bytes(state))
    assert memory.view == weights


@pytest.mark.parametrize("extra", [-1, 1, 2])
def test_weights_of_another_length_are_refused(extra: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        state_of_weights(LAYERS, (0, 0, 0), bytes(weights_size(LAYERS) + extra))


def file_of(counts: dict[str, int], metadata: dict[str, str]) -> BytesIO:
    file = BytesIO()
    writer = tagged.Writer(file, counts, metadata)
    for name, count in counts.items():
        writer.write(name, 0, np.zeros(count, np.int64))
    return file


@pytest.mark.parametrize(
    ("counts", "metadata", "words"),
    [
        ({"master": COUNT}, {"exponents": "0 0 0"}, "not a fedling server state"),
        ({"master": COUNT}, {"format": "fedling server state 2"}, "not a fedling server state"),
        ({"master": COUNT}, {"format": FORMAT}, "exponents"),
        ({"master": COUNT}, {"format": FORMAT, "exponents": "0 0"}, "exponents"),
        ({"master": COUNT}, {"format": FORMAT, "exponents": "0 0 8"}, "exponents"),
        ({"master": COUNT}, {"format": FORMAT, "exponents": "0 0 x"}, "invalid literal"),
        ({"master": COUNT - 1}, {"format": FORMAT, "exponents": "0 0 0"}, "arrays"),
        ({}, {"format": FORMAT, "exponents": "0 0 0"}, "arrays"),
        ({"optimiser.x": COUNT}, {"format": FORMAT, "exponents": "0 0 0"}, "arrays"),
        (
            {"master": COUNT, "optimiser.x": 1},
            {"format": FORMAT, "exponents": "0 0 0"},
            "arrays",
        ),
    ],
)
def test_a_file_that_is_no_state_of_this_model_is_refused(
    counts: dict[str, int], metadata: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        StateFile(LAYERS, file_of(counts, metadata))


class Counting:
    """A source that notes how much is asked for at once."""

    def __init__(self, state: ServerState) -> None:
        self.layers, self.exponents, self._state = state.layers, state.exponents, state
        self.largest = 0

    def read(self, span: Span) -> Block:
        self.largest = max(self.largest, span.count)
        return self._state.read(span)


class Nothing:
    """A sink that keeps nothing."""

    def begin(self, exponents: tuple[int, ...], optimiser: Sequence[str]) -> None: ...

    def write(self, span: Span, block: Block) -> None: ...


def test_a_step_of_a_fold_is_one_span() -> None:
    source = Counting(initial_state(LAYERS, SEED))
    steps = fold(source, [group(1)], of_momentum(0), Nothing(), 7)
    looked = sum(span.layer is not None for span in spans(LAYERS, 7))
    assert sum(1 for _ in steps) == looked + len(list(spans(LAYERS, 7)))
    assert source.largest == 7


@pytest.mark.parametrize("momentum", [0, 200])
def test_a_state_of_schema_2_goes_on_as_if_nothing_had_been(momentum: int) -> None:
    state = rounds(3, momentum)
    old = to_values_and_velocity(state)
    assert len(old) == 16 * COUNT
    names = tuple(of_momentum(momentum).optimiser.units)
    again = from_values_and_velocity(LAYERS, state.exponents, old, names)
    assert_same(again, state)
    with pytest.raises(ValueError, match="bytes"):
        from_values_and_velocity(LAYERS, state.exponents, old + b"\0" * 16, names)
