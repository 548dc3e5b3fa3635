"""Write the golden vectors of tests/native/golden/, or with --check tell which are out of date.

Run from the root of the repository: python -m tests.native.make_golden [--check]. The format is
golden/README.md. All random numbers come from xorshift32, so that the files depend on nothing but
reference.py and this page.
"""

import base64
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tests.native import reference as ref

GOLDEN = Path(__file__).parent / "golden"
CORNERS = [-32768, -32767, -16384, -129, -128, -127, -1, 0, 1, 127, 128, 16383, 32766, 32767]

Json = dict[str, object]


class Rng:
    """xorshift32 (Marsaglia 2003, shifts 13, 17, 5); the seed is the first state, never 0."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        s = self.state
        s ^= s << 13 & 0xFFFFFFFF
        s ^= s >> 17
        s ^= s << 5 & 0xFFFFFFFF
        self.state = s
        return s

    def int8(self) -> int:
        return (self.next() >> 24) - 128

    def int16(self) -> int:
        return (self.next() >> 16) - 32768

    def below(self, n: int) -> int:
        return (self.next() >> 16) % n

    def array(self, draw: Callable[[], int], *shape: int) -> ref.Int64:
        flat = [draw() for _ in range(int(np.prod(shape)))]
        return np.array(flat, np.int64).reshape(shape)


def b64(values: ArrayLike, dtype: str) -> str:
    """Base64 of a little-endian array; the values must fit."""
    wide = np.asarray(values)
    narrow = wide.astype(dtype)
    assert np.array_equal(wide, narrow), "a value does not fit its type"
    return base64.b64encode(narrow.tobytes()).decode()


def model_bytes(model: ref.Model) -> str:
    return base64.b64encode(ref.weight_bytes(model)).decode()


def shapes(model: ref.Model) -> list[Json]:
    return [
        {"in": m.stored.shape[1], "out": m.stored.shape[0], "w_exp": m.w_exp, "relu": int(m.relu)}
        for m in model
    ]


def make_model(
    sizes: list[int],
    w_exps: list[int],
    stored: Callable[[], int],
    bias: Callable[[], int],
    linear: bool = False,
) -> list[ref.Layer]:
    """A dense net; every layer but the last has a ReLU, unless it is to be linear."""
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weights = np.array([stored() for _ in range(n_in * n_out)], np.int16)
        biases = np.array([bias() for _ in range(n_out)], np.int32)
        relu = i < len(sizes) - 2 and not linear
        layers.append(ref.Layer(weights.reshape(n_out, n_in), biases, w_exps[i], relu))
    return layers


# --- steps ----------------------------------------------------------------------------------------


def run_steps(
    name: str,
    model: list[ref.Layer],
    x_exp: int,
    batches: list[tuple[ref.Int64, int]],
    rng: Rng,
) -> Json:
    """One case: train on (x [n][in], lr) batches with random classes."""
    before = model_bytes(model)
    classes = len(model[-1].bias)
    steps: list[Json] = []
    for x, lr in batches:
        y = rng.array(lambda: rng.below(classes), len(x))
        ref.step(model, ref.Tensor(x.astype(np.int8), x_exp), y, lr)
        sums = {"n": len(x), "lr": lr, "x": b64(x, "<i1"), "y": b64(y, "<u1")}
        steps.append(sums | {"checksum": ref.checksum(model)})
    return {
        "name": name,
        "x_exp": x_exp,
        "layers": shapes(model),
        "before": before,
        "steps": steps,
        "after": model_bytes(model),
    }


def plain_steps(rng: Rng) -> Iterator[Json]:
    """1, 2 and 3 layers, odd sizes, batch 1, 16 and partial, ordinary weights."""
    for sizes in ([1, 2], [5, 3], [9, 5, 4], [33, 17, 2], [13, 7, 11, 3], [64, 16, 10]):
        model = make_model(
            sizes, [-5] * 3, lambda: (rng.int16() >> 2) + 128, lambda: rng.int16() >> 2
        )
        batches = [
            (inputs(rng, n, sizes[0]), lr)
            for n, lr in ((1, 2**20), (16, 2**21), (7, 2**20 + 12345), (1, 1677721), (10, 2**24))
        ]
        yield run_steps("plain " + "-".join(map(str, sizes)), model, -5, batches, rng)


def inputs(rng: Rng, n: int, size: int) -> ref.Int64:
    return np.maximum(rng.array(rng.int8, n, size), -127)


def input_steps(rng: Rng) -> Iterator[Json]:
    """Inputs all zero, all at a limit, alternating."""
    size = 21
    signs = np.where(np.arange(size) % 2 == 0, 127, -127)
    for name, row in (
        ("zero", np.zeros(size, np.int64)),
        ("127", np.full(size, 127)),
        ("-127", np.full(size, -127)),
        ("alternating", signs),
    ):
        model = make_model([size, 9, 3], [-4, -6], lambda: rng.int16() >> 1, rng.int16)
        batches = [(np.tile(row, (n, 1)), 2**21) for n in (1, 16, 3)]
        yield run_steps(f"inputs {name}", model, -5, batches, rng)


def saturated_steps(rng: Rng) -> Iterator[Json]:
    """Weights and biases at and beside their limits."""

    def corner() -> int:
        return CORNERS[rng.below(len(CORNERS))]

    def limit() -> int:
        return 32767 if rng.below(2) else -32768

    def bias_limit() -> int:
        return (2**31 - 1, -(2**31), 2**30, -(2**30), 0)[rng.below(5)]

    for name, stored, bias in (
        ("corner weights", corner, rng.int16),
        ("weights at the limits", limit, rng.int16),
        ("all weights 32767", lambda: 32767, rng.int16),
        ("all weights -32768", lambda: -32768, rng.int16),
        ("biases at the limits", corner, bias_limit),
    ):
        for exps, x_exp in (([-5, -5, -5], -5), ([-2, -1, -3], 0)):
            model = make_model([15, 6, 7, 4], exps, stored, bias)
            batches = [(inputs(rng, n, 15), lr) for n, lr in ((1, 2**24), (16, 2**28), (5, 2**22))]
            yield run_steps(f"{name}, w_exp {exps}", model, x_exp, batches, rng)


def rate_steps(rng: Rng) -> Iterator[Json]:
    """Learning rates from the smallest to the largest."""
    for lr in (1, 3, 2**8, 2**16 - 1, 2**24 - 1, 2**24 + 1, 2**28 - 1, 2**28):
        model = make_model([11, 8, 5], [-5, -5], lambda: rng.int16() >> 2, rng.int16)
        batches = [(inputs(rng, n, 11), lr) for n in (1, 16, 13)]
        yield run_steps(f"lr {lr}", model, -5, batches, rng)


def exponent_steps(rng: Rng) -> Iterator[Json]:
    """Weight and input exponents at their limits, alone and mixed."""
    for exps, x_exp in (
        ([-24, -24, -24], -24),
        ([7, 7, 7], 7),
        ([-24, 7, -24], 7),
        ([7, -24, 7], -24),
        ([-5, -24, -5], -5),
        ([-12, -12, -12], -5),
        ([-16, -2, 3], -24),
    ):
        model = make_model([10, 7, 6, 3], exps, lambda: rng.int16() >> 1, rng.int16)
        batches = [(inputs(rng, n, 10), lr) for n, lr in ((1, 2**20), (16, 2**24), (9, 2**28))]
        yield run_steps(f"w_exp {exps}, x_exp {x_exp}", model, x_exp, batches, rng)


def shape_steps(rng: Rng) -> Iterator[Json]:
    """8 layers, no ReLU, 256 classes, 256 examples, widths around the lanes of vector units."""

    def small() -> int:
        return rng.int16() >> 1

    def case(name: str, sizes: list[int], ns: tuple[int, ...], linear: bool = False) -> Json:
        model = make_model(sizes, [-5] * 8, small, small, linear)
        return run_steps(name, model, -5, [(inputs(rng, n, sizes[0]), 2**21) for n in ns], rng)

    yield case("8 layers", [6, 5, 7, 4, 8, 3, 9, 5, 3], (1, 16, 3))
    yield case("linear", [9, 8, 7, 3], (1, 16, 3), linear=True)
    yield case("256 classes", [3, 5, 256], (1, 16))
    yield case("256 examples", [4, 3, 2], (256, 255))
    for width in (15, 16, 17, 31, 32, 33, 63, 65):
        yield case(f"width {width}", [width, width, 2], (1, 4))


def all_steps() -> list[Json]:
    rng = Rng(1)
    makers = (plain_steps, input_steps, saturated_steps, rate_steps, exponent_steps, shape_steps)
    return [case for make in makers for case in make(rng)]


# --- training -------------------------------------------------------------------------------------


def generated_model(rng: Rng, sizes: list[int], w_exps: list[int]) -> list[ref.Layer]:
    """golden/README.md, 'training.json'."""
    return make_model(sizes, w_exps, lambda: (rng.int16() >> 2) + 128, rng.int16)


def generated_batch(rng: Rng, patterns: ref.Int64, n: int) -> tuple[ref.Int8, ref.Int64]:
    """Examples that can be learned: the pattern of the class, half hidden by noise."""
    x = np.empty((n, patterns.shape[1]), np.int8)
    y = np.empty(n, np.int64)
    for b in range(n):
        y[b] = rng.below(len(patterns))
        noise = rng.array(rng.int8, patterns.shape[1])
        x[b] = np.maximum((patterns[y[b]] + noise) >> 1, -127)
    return x, y


def training_case(sizes: list[int], w_exps: list[int], n: int, lr: int, steps: int) -> Json:
    seed, x_exp = sum(sizes) * 2654435761 % 2**32, -5
    rng = Rng(seed)
    model = generated_model(rng, sizes, w_exps)
    patterns = rng.array(rng.int8, sizes[-1], sizes[0])
    checksums = [[0, ref.checksum(model)]]
    for done in range(1, steps + 1):
        x, y = generated_batch(rng, patterns, n)
        ref.step(model, ref.Tensor(x, x_exp), y, lr)
        if done in (1, 2, 5, 10, 20, 50, 100, 200):
            checksums.append([done, ref.checksum(model)])
    x, y = generated_batch(rng, patterns, 16)
    predictions = [ref.predict(model, one, x_exp) for one in x]
    return {
        "name": "-".join(map(str, sizes)) + f" batch {n}",
        "seed": seed,
        "x_exp": x_exp,
        "layers": shapes(model),
        "n": n,
        "lr": lr,
        "checksums": checksums,
        "y": y.tolist(),
        "q": b64([q for q, _ in predictions], "<u2"),
        "labels": [label for _, label in predictions],
    }


def all_training() -> list[Json]:
    return [
        training_case([64, 32, 10], [-5, -5], 16, 2**20, 200),
        training_case([64, 32, 10], [-5, -5], 1, 2**20, 200),
        training_case([65, 33, 17, 5], [-6, -5, -4], 7, 2**19, 200),
        training_case([600, 64, 7], [-9, -7], 10, 838861, 200),
        training_case([784, 200, 10], [-9, -8], 16, 2**20, 20),
    ]


# --- the other kinds ------------------------------------------------------------------------------


def predict_case(name: str, model: list[ref.Layer], x: ref.Int64, x_exp: int) -> Json:
    predictions = [ref.predict(model, one, x_exp) for one in x.astype(np.int8)]
    return {
        "name": name,
        "x_exp": x_exp,
        "layers": shapes(model),
        "weights": model_bytes(model),
        "n": len(x),
        "x": b64(x, "<i1"),
        "q": b64([q for q, _ in predictions], "<u2"),
        "labels": [label for _, label in predictions],
    }


def all_predictions() -> list[Json]:
    """Ordinary nets, and exponents that make the logits huge and tiny."""
    rng = Rng(2)
    cases = []
    for sizes, exps, x_exp in (
        ([12, 9, 4], [-5, -5], -5),
        ([12, 9, 4], [-7, -6], -5),
        ([7, 3], [-8], -5),
        ([19, 13, 11, 6], [-4, -7, -9], -5),
        ([8, 5, 3], [7, 7], 7),
        ([8, 5, 3], [-24, -24], -24),
        ([8, 5, 3], [0, -24], 0),
        ([6, 6, 6, 6, 6, 6, 6, 6, 4], [-24] * 8, -24),
        ([6, 6, 6, 6, 6, 6, 6, 6, 4], [7] * 8, 7),
    ):
        model = make_model(sizes, exps, lambda: rng.int16() >> 1, rng.int16)
        x = inputs(rng, 6, sizes[0])
        x[0], x[1], x[2] = 0, 127, -127
        name = "-".join(map(str, sizes)) + f", w_exp {exps}, x_exp {x_exp}"
        cases.append(predict_case(name, model, x, x_exp))
    tie = make_model([2, 5], [-5], lambda: 300, lambda: 77)
    cases.append(predict_case("a tie: the smallest class", tie, inputs(rng, 2, 2), -5))
    return cases


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


def normalise_case(name: str, counts: ref.Int64) -> Json:
    """counts [windows][samples][channels]."""
    windows = counts.astype(np.int16)
    channels = ref.statistics(windows)
    return {
        "name": name,
        "windows": counts.shape[0],
        "samples": counts.shape[1],
        "channels": counts.shape[2],
        "counts": b64(counts, "<i2"),
        "mean": [c.mean for c in channels],
        "mantissa": [c.mantissa for c in channels],
        "shift": [c.shift for c in channels],
        "q": b64(ref.normalise(windows, channels), "<i1"),
    }


def all_normalise() -> list[Json]:
    rng = Rng(5)
    ordinary = np.stack([rng.array(rng.int16, 6, 10) >> s for s in (0, 3, 6, 9, 12, 15)], axis=2)
    limits = np.where(rng.array(lambda: rng.below(2), 4, 5, 3) == 1, 32767, -32768)
    one_off = np.full((4, 5, 4), 32767)
    one_off[0, 0] = (32766, -32768, 0, 32767)
    halves = np.array([[[1, -1, 3], [2, -2, -4]]])  # means 1.5, -1.5, -0.5
    return [
        normalise_case("six ranges", ordinary),
        normalise_case("offset", np.clip(ordinary // 64 + 30000, -32768, 32767)),
        normalise_case("constant channels", np.tile(np.array([-32768, 0, 7, 32767]), (3, 4, 1))),
        normalise_case("one sample", np.array([[[-32768, -1, 0, 32767]]])),
        normalise_case("limits", limits),
        normalise_case("one sample differs", one_off),
        normalise_case("means at halves", halves),
    ]


def all_delta() -> list[Json]:
    """Differences inside and outside the range of int16 and int32."""
    rng = Rng(6)
    cases = []
    for name, sizes in (("ordinary", [5, 4, 3]), ("limits", [6, 5, 2])):

        def stored(name: str = name) -> int:
            return rng.int16() >> 2 if name == "ordinary" else CORNERS[rng.below(len(CORNERS))]

        def bias(name: str = name) -> int:
            limits = (2**31 - 1, -(2**31), 0)
            return rng.int16() if name == "ordinary" else limits[rng.below(3)]

        before = make_model(sizes, [-5, -5], stored, bias)
        after = make_model(sizes, [-5, -5], stored, bias)
        out = ref.delta(before, after)
        cases.append(
            {
                "name": name,
                "layers": shapes(before),
                "before": model_bytes(before),
                "after": model_bytes(after),
                "stored": b64(out.stored, "<i2"),
                "bias": b64(out.bias, "<i4"),
                "saturated": out.saturated,
            }
        )
    return cases


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


def first_case(seed: bytes, sizes: list[int]) -> Json:
    masters, exps = ref.first_masters(seed, sizes)
    views = np.concatenate([ref.rshift(m, 16).ravel() for m in masters])
    crc = zlib.crc32(views.astype("<i2").tobytes())
    few = views[:8].tolist() + views[-8:].tolist()
    return {"seed": seed.hex(), "sizes": sizes, "w_exp": exps, "few": few, "crc": crc}


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
        first_case(hashlib.sha256(b"fedling").digest(), sizes)
        for sizes in ([600, 64, 7], [1, 1, 2], [65, 3])
    ]
    return {
        "mean": means,
        "move": moves,
        "momentum": momenta,
        "first": firsts,
        "bias": {"server": b64(biases, "<i8"), "view": b64(view, "<i4")},
    }


FILES: dict[str, Callable[[], object]] = {
    "steps.json": all_steps,
    "training.json": all_training,
    "predict.json": all_predictions,
    "softmax.json": all_softmax,
    "rounding.json": all_rounding,
    "normalise.json": all_normalise,
    "delta.json": all_delta,
    "server.json": all_server,
}


def render(content: object) -> str:
    """One case a line, so that a diff shows which cases changed."""
    if isinstance(content, list):
        return "[\n" + ",\n".join(json.dumps(case) for case in content) + "\n]\n"
    assert isinstance(content, dict)
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def stale() -> list[str]:
    """Names of the files that differ from what the reference computes now."""
    return [
        name
        for name, make in FILES.items()
        if not (GOLDEN / name).is_file() or (GOLDEN / name).read_text() != render(make())
    ]


def main() -> int:
    if "--check" in sys.argv[1:]:
        names = stale()
        print("golden vectors:", f"out of date: {', '.join(names)}" if names else "up to date")
        return 1 if names else 0
    for name, make in FILES.items():
        (GOLDEN / name).write_text(render(make()))
    print(f"wrote {len(FILES)} files, {sum((GOLDEN / n).stat().st_size for n in FILES)} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
