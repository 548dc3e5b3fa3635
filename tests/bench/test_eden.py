"""Whoever encodes EDEN in the bench of the codec does what the paper says, and both the same."""

import importlib.util
from collections.abc import Callable
from math import pi

import numpy as np
import pytest

from bench.codec import Scheme, Turn, ratios
from bench.support.eden import Eden, hadamard, padded, transform
from bench.support.float_net import Float

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is missing: pip install .[bench]"
)
Make = Callable[[int, int], Scheme]


def of_torch(count: int, seed: int) -> Scheme:
    from bench.support.eden_torch import EdenTorch

    return EdenTorch(count, seed)


@pytest.fixture(params=[Eden, pytest.param(of_torch, marks=needs_torch)])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


def normal(count: int, seed: int = 1) -> Float:
    return np.random.default_rng(seed).normal(0, 3, count).astype(np.float32)


def lost(values: Float, estimate: Float) -> float:
    return float(((values - estimate) ** 2).sum() / (values**2).sum())


@pytest.mark.parametrize("size", [1, 2, 8, 16, 32, 512])
def test_transform_is_the_matrix(size: int) -> None:
    values, signs = normal(size), np.array([[1]])
    while len(signs) < size:
        signs = np.kron(signs, np.array([[1, 1], [1, -1]]))
    np.testing.assert_array_equal(hadamard(size), signs)
    np.testing.assert_allclose(transform(values), signs @ values, rtol=1e-4, atol=1e-4)


@needs_torch
def test_transform_of_torch_is_the_same_but_for_length() -> None:
    import torch

    from bench.support import eden_torch

    values = normal(256)
    found = eden_torch.transform(torch.from_numpy(values.copy())).numpy()
    np.testing.assert_allclose(16 * found, transform(values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048)])
def test_message_is_a_bit_for_each_of_a_power_of_two(make: Make, count: int, size: int) -> None:
    assert padded(count) == size
    assert len(make(count, 1).encode(normal(count))) == 4 + -(-size // 8)


def test_another_decodes_what_the_paper_promises(make: Make) -> None:
    values = normal(4096)
    estimate = make(4096, 7).decode(make(4096, 7).encode(values))
    assert lost(values, estimate) == pytest.approx(pi / 2 - 1, rel=0.05)
    assert values @ estimate == pytest.approx(values @ values, rel=1e-4)  # what the scale is for
    assert lost(values, make(4096, 8).decode(make(4096, 7).encode(values))) > 1


def test_mean_over_seeds_is_the_vector(make: Make) -> None:
    values, seeds = np.array([5, -1, 0, 0, 0.5, 0, 2, 0, 1] * 30, np.float32), 400
    estimates = [make(270, seed).decode(make(270, seed).encode(values)) for seed in range(seeds)]
    assert lost(values, np.mean(estimates, axis=0)) < 2 * lost(values, estimates[0]) / seeds


def test_ratios_are_how_many_times_as_long_eden_takes() -> None:
    medians = {
        "": Turn(4, 3, 1, 0.4), "32_": Turn(16, 3, 1, 0.4), "scalar_": Turn(2, 1, 1, 0.5),
        "eden": Turn(8, 6, 1, 0.6),
    }  # fmt: skip
    assert ratios(medians) == {
        "ratio_eden_encode": 4, "ratio_eden_decode": 6,
        "ratio_trellis_eden_encode": 2, "ratio_trellis_eden_decode": 2,
        "ratio_trellis_32_eden_encode": 0.5, "ratio_trellis_32_eden_decode": 2,
    }  # fmt: skip
