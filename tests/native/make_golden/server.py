"""server.json: averages, exponents that move, first models."""

import hashlib
import zlib

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import Json, Rng, b64, dense_shapes, describe_shape
from tests.native.make_golden.training import AUTOENCODER, CONV1D, CONV2D


def mean_case(total: ref.Int64, weight: int) -> Json:
    mean = ref.mean_change(total, weight)
    return {"weight": weight, "total": b64(total, "<i8"), "mean": b64(mean, "<i8")}


def move_case(server: ref.Int64, w_exp: int) -> Json:
    s = ref.exponent_move(server, w_exp)
    moved = ref.moved(server, s)
    return {
        "w_exp": w_exp,
        "server": b64(server, "<i8"),
        "moved": b64(moved, "<i8"),
        "w_exp_after": w_exp + s,
        "stored": b64(ref.stored_view(moved), "<i2"),
    }


def momentum_case(rng: Rng, m: int, w_exp: int, scales: list[int]) -> Json:
    """One layer through rounds whose mean changes have about 2^scale units of a master."""
    server = rng.array(rng.int16, 6) << 14
    velocity = np.zeros(6, np.int64)
    case: Json = {"m": m, "w_exp": w_exp, "server": b64(server, "<i8")}
    rounds = []
    for scale in scales:
        mean = rng.array(rng.int16, 6) << (scale + 1)
        velocity = ref.accelerate(velocity, mean, m)
        server = server + velocity
        s = ref.exponent_move(server, w_exp)
        server, velocity, w_exp = ref.moved(server, s), ref.moved(velocity, s), w_exp + s
        rounds.append(
            {
                "mean": b64(mean, "<i8"),
                "server": b64(server, "<i8"),
                "velocity": b64(velocity, "<i8"),
                "w_exp": w_exp,
            }
        )
    return case | {"rounds": rounds}


def first_case(seed: bytes, shapes: list[ref.Shape], loss: ref.Loss) -> Json:
    masters, exps = ref.first_masters(seed, shapes, loss)
    views = np.concatenate([ref.rshift(m, 16).ravel() for m in masters])
    return {
        "seed": seed.hex(),
        "loss": int(loss),
        "layers": [describe_shape(shape) for shape in shapes],
        "exponents": exps,
        "few": views[:8].tolist() + views[-8:].tolist(),
        "crc": zlib.crc32(views.astype("<i2").tobytes()),
    }


def all_server() -> Json:
    """Averages, and exponents that move up, down, not at all, and against their limits."""
    rng = Rng(7)
    totals = rng.array(lambda: (rng.next() - 2**31) << rng.below(24), 12)
    totals[:4] = (0, 1, -1, 2**60)
    means = [mean_case(totals, weight) for weight in (1, 2, 3, 2599, 2**30)]
    moves = []
    for bits in (0, 1, 5, 11, 12, 13, 14, 15, 16, 18):
        server = rng.array(rng.next, 7) - 2**31 << 8 >> 23 - bits
        server[0] = (1 << bits + 16) - 1 - 2**15  # its view is 2^bits - 1
        moves += [move_case(server, w_exp) for w_exp in (-24, -23, -9, 6, 7)]
    moves.append(move_case(np.array([(1 << 30) - 2**15]), -9))  # rounds up into 15 bits
    moves.append(move_case(np.array([(1 << 31) - 1]), -9))  # after the shift the view is 2^14
    biases = [0, 2**15, 2**15 - 1, -(2**15), 2**47, -(2**47) - 2**16, 2**47 - 2**15 - 1]
    view = ref.bias_view(np.array(biases))
    momenta = [
        momentum_case(rng, m, w_exp, scales)
        for m, w_exp, scales in (
            (0, -9, [8, 10, 12]),
            (179, -9, [6, 8, 10, 12, 14, 13, 9]),
            (255, -24, [0, 0, 13, 14]),
            (128, 6, [14, 14, 14]),
        )
    ]
    firsts = [
        first_case(hashlib.sha256(b"fedling").digest(), shapes, loss)
        for shapes, loss in (
            (dense_shapes([600, 64, 7]), ref.Loss.SOFTMAX),
            (dense_shapes([1, 1, 2]), ref.Loss.SOFTMAX),
            (dense_shapes([65, 3]), ref.Loss.SQUARED),
            (CONV1D, ref.Loss.SOFTMAX),
            (CONV2D, ref.Loss.SIGMOID),
            (AUTOENCODER, ref.Loss.RECONSTRUCTION),
        )
    ]
    return {
        "mean": means,
        "move": moves,
        "momentum": momenta,
        "first": firsts,
        "bias": {"server": b64(biases, "<i8"), "view": b64(view, "<i4")},
    }
