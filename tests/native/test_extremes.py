"""Values at the ends of their ranges, where random ones hardly come together."""

import struct

import pytest

from fedling_native import Net, dense
from tests.native import reference as ref
from tests.native.random_nets import Case, Lesson
from tests.native.reference.fixed import rshift_wide
from tests.native.test_properties import learn

EXPONENTS = range(ref.MIN_EXP, ref.MAX_EXP + 1)
EDGES = [edge + d for edge in (-(2**31), -(2**30), 0, 2**30, 2**31 - 1) for d in (-2, -1, 0, 1, 2)]
BIASES = [bias for bias in EDGES if -(2**31) <= bias < 2**31]
LIMIT = 2**30 - 1


@pytest.mark.parametrize("w_exp", EXPONENTS)
def test_biases_in_the_unit_of_any_accumulator(w_exp: int) -> None:
    """Weights of 0 leave the bias alone (NUMERICS section 3)."""
    layer = dense(1, len(BIASES))
    packed = bytes(2 * len(BIASES)) + struct.pack(f"<{len(BIASES)}i", *BIASES)
    net = Net([layer], [w_exp], packed)
    for x_exp in EXPONENTS:
        logits, exponent = net.logits(b"\1", x_exp)
        assert exponent == x_exp + w_exp
        shifted = [rshift_wide(bias, exponent + 16) for bias in BIASES]
        assert list(logits) == [max(-LIMIT, min(LIMIT, value)) for value in shifted]


@pytest.mark.parametrize("w_exp", EXPONENTS)
def test_steps_with_corners_at_all_exponents(w_exp: int) -> None:
    """The smallest and the largest weights, biases, inputs and rates, each loss in turn."""
    fast, slow = ref.Sgd(2**28, momentum=255), ref.Sgd(1)
    clipped = ref.Sgd(2**28, clip=2**32 - 1, momentum=1)
    lessons = [Lesson(2, fast), Lesson(1, slow), Lesson(1, ref.Sgd(2**24)), Lesson(3, clipped)]
    shapes = [ref.dense(3, 3, relu=True), ref.dense(3, 3)]
    for seed, x_exp in enumerate(EXPONENTS):
        loss = ref.Loss((x_exp - w_exp) % 4)
        learn(Case(seed, shapes, [w_exp, -w_exp % 8], "corners", "corners", x_exp, loss), lessons)
