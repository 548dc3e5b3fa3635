"""Section 4, softmax, sigmoid, values; section 5.2, the error at the output."""

import numpy as np
from numpy.typing import NDArray

from tests.native.reference.fixed import Int64, rshift, sat
from tests.native.reference.model import Loss, Tensor

EXP2 = np.array([round(32768 * 2 ** (-i / 64)) for i in range(64)], np.int64)
VALUE_EXP = -12
VALUE_LIMIT = 2**20


def exp_minus(d: Int64, z_exp: int) -> Int64:
    """e^-(d * 2^z_exp) in Q15, 0 <= d < 2^32."""
    assert int(d.min()) >= 0
    assert int(d.max()) < 2**32
    pre = max(0, -z_exp - 12)
    d = np.minimum(d >> min(pre, 32), 2**17 - 1)
    t = np.minimum((d * 5909) >> max(0, 6 - z_exp - pre), 1023)
    p: Int64 = EXP2[t % 64] >> (t // 64)
    return p


def softmax(z: Int64, z_exp: int) -> Int64:
    """Q15 probabilities 0..32767, int64 [n][classes], of logits z [n][classes]."""
    p = exp_minus(z.max(axis=1, keepdims=True) - z, z_exp)
    r = (2**31 - 1) // p.sum(axis=1, keepdims=True)
    q: Int64 = (p * r) >> 16
    assert 0 <= int(q.min()) <= int(q.max()) <= 32767
    return q


def sigmoid(z: Int64, z_exp: int) -> Int64:
    """Q15 probabilities 0..32768 of logits of any shape."""
    q = 2**30 // (32768 + exp_minus(np.abs(z), z_exp))
    return np.where(z < 0, 32768 - q, q)


def in_values(x: Int64, exp: int) -> Int64:
    """x * 2^exp in units of 2^VALUE_EXP."""
    return sat(rshift(x, VALUE_EXP - exp), VALUE_LIMIT)


def outputs(loss: Loss, z: Int64, z_exp: int) -> Int64:
    """What a prediction gives: probabilities in Q15, or values in 2^VALUE_EXP."""
    if loss == Loss.SOFTMAX:
        return softmax(z, z_exp)
    return sigmoid(z, z_exp) if loss == Loss.SIGMOID else in_values(z, z_exp)


def output_error(
    loss: Loss, z: Int64, z_exp: int, targets: NDArray[np.integer], x: Tensor
) -> tuple[Int64, int]:
    """err int64 [n][outputs] and its exponent.

    targets: classes [n], bits [n][outputs] or values int16 [n][outputs]; of a reconstruction the
    target is the input x.
    """
    given = outputs(loss, z, z_exp)
    if loss == Loss.SOFTMAX:
        given[np.arange(len(targets)), targets] -= 32768
        return given, -15
    if loss == Loss.SIGMOID:
        return given - 32768 * targets.astype(np.int64), -15
    if loss == Loss.RECONSTRUCTION:
        wanted = in_values(x.q.astype(np.int64), x.exp)
    else:
        wanted = targets.astype(np.int64)
    return sat(given - wanted, VALUE_LIMIT), VALUE_EXP
