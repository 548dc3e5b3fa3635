"""losses.json and rounding.json: functions of numbers."""

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import Json, Rng, b64


def all_softmax() -> list[Json]:
    """Logits over the whole range of int32 and exponents far beyond what a net can reach."""
    rng = Rng(3)
    extreme = np.array([[-(2**31), 2**31 - 1, 0], [2**31 - 1] * 3, [-(2**31)] * 3, [0, 0, 0]])
    near = np.array([[0, -1, -2], [5, 5, 4], [1 << 20, (1 << 20) - 1, 0], [-7, -7, -7]])
    cases = []
    below = (-300, -60, -45, -44, -43, -32, -25, -18, -13, -12)
    for z_exp in (*below, -11, -8, -3, 0, 5, 6, 7, 8, 40):
        scale = min(24, max(2, 3 - z_exp))
        spread = rng.array(lambda: rng.next() - 2**31, 6, 3) >> (31 - scale)
        z = np.concatenate([extreme, near, spread])
        cases.append(softmax_case(z, z_exp))
    cases.append(softmax_case(np.zeros((1, 256), np.int64), -10))
    cases.append(softmax_case(rng.array(rng.int16, 2, 256), -12))
    cases.append(softmax_case(rng.array(rng.int16, 8, 2), -13))
    return cases


def softmax_case(z: ref.Int64, z_exp: int) -> Json:
    return {
        "z_exp": z_exp,
        "n": len(z),
        "classes": z.shape[1],
        "z": b64(z, "<i4"),
        "q": b64(ref.softmax(z, z_exp), "<u2"),
    }


def all_sigmoid() -> list[Json]:
    """Logits one by one, so far that the probability has no more digits."""
    rng = Rng(9)
    limits = np.array([0, 1, -1, 2, -2, 2**31 - 1, -(2**31)])
    cases: list[Json] = []
    for z_exp in (-300, -44, -32, -25, -18, -13, -12, -11, -8, -3, 0, 6, 8, 40):
        scale = min(24, max(2, 3 - z_exp))
        spread = rng.array(lambda: rng.next() - 2**31, 20) >> (31 - scale)
        z = np.concatenate([limits, spread])
        cases.append({"z_exp": z_exp, "z": b64(z, "<i4"), "q": b64(ref.sigmoid(z, z_exp), "<u2")})
    return cases


def all_values() -> list[Json]:
    rng = Rng(10)
    limits = np.array([0, 1, -1, 2**20, -(2**20), 2**31 - 1, -(2**31)])
    cases: list[Json] = []
    for z_exp in (-60, -44, -43, -32, -18, -13, -12, -11, -3, 0, 7, 19, 40):
        z = np.concatenate([limits, rng.array(lambda: rng.next() - 2**31, 12)])
        v = ref.outputs(ref.Loss.SQUARED, z, z_exp)
        cases.append({"z_exp": z_exp, "z": b64(z, "<i4"), "v": b64(v, "<i4")})
    return cases


def all_losses() -> Json:
    return {"softmax": all_softmax(), "sigmoid": all_sigmoid(), "values": all_values()}


def all_rounding() -> Json:
    """ratio: [a, b, m, k]; rshift: [x, s, result saturated to 32 bits]."""
    rng = Rng(4)
    pairs = [
        (lr, n << 24)
        for lr in (1, 2, 3, 838861, 2**24, 2**28 - 1, 2**28)
        for n in (1, 2, 3, 7, 10, 16, 255, 256)
    ]
    pairs += [(2**13, sd) for sd in (1, 2, 3, 8191, 8192, 8193, 2**23 - 1, 2**23)]
    pairs += [(a, 512) for a in (509, 510, 511, 1021, 1022, 1023)]  # m = 254, 255, 256 and halves
    pairs += [(rng.next() or 1, rng.next() or 1) for _ in range(20)]
    edges = [-(2**31), -(2**31) + 1, -3, -2, -1, 0, 1, 2, 3, 5, 2**31 - 1, rng.next() - 2**31]
    shifts = (-40, -31, -30, -8, -1, 0, 1, 2, 3, 15, 16, 30, 31, 32, 33, 40)
    rounded = [
        (x, s, int(ref.sat32(ref.rshift(np.array([x]), s))[0])) for x in edges for s in shifts
    ]
    return {"ratio": [(a, b, *ref.ratio(a, b)) for a, b in pairs], "rshift": rounded}
