from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.support import faults
from bench.support.faults import FAULTS, Counts, Detector, auroc, statistics


@pytest.fixture
def windows() -> Counts:
    """Every value of a window differs from every other."""
    dice = np.random.default_rng(0)
    values = dice.permutation(np.arange(1, 20 * 50 * 6 + 1)).reshape(20, 50, 6)
    return values.astype(np.int16)


def dice() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_leaves_its_input_and_most_channels_alone(
    windows: Counts, fault: Callable[[Counts, np.random.Generator], Counts]
) -> None:
    before = windows.copy()
    faulty = fault(windows, dice())
    assert np.array_equal(windows, before)
    assert (faulty.dtype, faulty.shape) == (windows.dtype, windows.shape)
    changed = changed_channels(windows, faulty)
    assert changed.any(axis=1).all()
    assert (changed.sum(axis=1) <= 3).all()
    assert changed.any(axis=0).all()  # every channel's turn comes


def changed_channels(windows: Counts, faulty: Counts) -> NDArray[np.bool_]:
    """[n][channels]"""
    changed: NDArray[np.bool_] = (faulty != windows).any(axis=1)
    return changed


def test_stuck_channel_keeps_its_first_value(windows: Counts) -> None:
    faulty = faults.stuck_channel(windows, dice())
    for window, channels in zip(faulty, changed_channels(windows, faulty), strict=True):
        assert channels.sum() == 1
        assert len(np.unique(window[:, channels])) == 1
    assert np.array_equal(faulty[:, 0], windows[:, 0])


def test_doubled_gain_doubles_one_sensor_and_saturates(windows: Counts) -> None:
    windows[0] = 20_000
    windows[1] = -20_000
    faulty = faults.doubled_gain(windows, dice())
    for window, wrong, channels in zip(
        windows, faulty, changed_channels(windows, faulty), strict=True
    ):
        assert channels.tolist() in ([True] * 3 + [False] * 3, [False] * 3 + [True] * 3)
        wanted = np.clip(window[:, channels].astype(int) * 2, -32768, 32767)
        assert np.array_equal(wrong[:, channels], wanted)


def test_spikes_reach_the_largest_magnitude(windows: Counts) -> None:
    windows[3, 7, 2] = -32768
    faulty = faults.spikes(windows, dice())
    largest = np.minimum(np.abs(windows.astype(int)).max(axis=(0, 1)), 32768)
    for window, wrong in zip(windows, faulty, strict=True):
        times, channels = np.nonzero(window != wrong)
        assert 1 <= len(times) <= faults.SPIKES  # one may hit the largest value itself
        assert len(set(channels)) == 1
        found = np.abs(wrong[times, channels].astype(int))
        assert (found >= largest[channels] - 1).all()  # 32767 is the largest positive count


def test_swapped_axes_exchanges_two_of_one_sensor(windows: Counts) -> None:
    faulty = faults.swapped_axes(windows, dice())
    for window, wrong, channels in zip(
        windows, faulty, changed_channels(windows, faulty), strict=True
    ):
        first, second = np.flatnonzero(channels)
        assert first // 3 == second // 3
        assert np.array_equal(wrong[:, [first, second]], window[:, [second, first]])


@pytest.mark.parametrize(
    ("normal", "faulty", "wanted"),
    [
        ([1, 2, 3], [4, 5], 1.0),
        ([4, 5], [1, 2, 3], 0.0),
        ([1, 3], [2], 0.5),
        ([1, 1], [1], 0.5),
        ([0, 1, 2, 3], [1, 4], (1.5 + 4) / 8),
    ],
)
def test_auroc_counts_pairs(normal: list[float], faulty: list[float], wanted: float) -> None:
    assert auroc(np.array(normal, np.float32), np.array(faulty, np.float32)) == wanted


def test_statistics_see_where_the_error_is() -> None:
    x = np.zeros((1, 4, 6), np.float32)
    x[0, :, 0] = [1, -1, 1, -1]  # variance 1
    outputs = x.copy()
    outputs[0, 2, 1] = 2  # of a quiet channel
    outputs[0, 0, 0] = 4
    found = statistics(x.reshape(1, -1), outputs.reshape(1, -1))
    by_channel = max((4 / 4) / faults.QUIET, (9 / 4) / (1 + faults.QUIET))
    np.testing.assert_allclose(np.exp(found), [[13 / 24, 9, by_channel]], rtol=1e-5)


def test_detector_takes_the_most_unusual_statistic() -> None:
    training = np.array([[0, 10, 0], [2, 30, 8]], np.float32)  # means 1, 20, 4; deviations 1, 10, 4
    detector = Detector.fitted(training)
    scores = detector.scores(np.array([[1, 20, 4], [4, 20, 4], [1, 0, 8]], np.float32))
    assert scores.tolist() == [0, 3, 1]
