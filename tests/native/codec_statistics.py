"""What the codec's estimates are on average, over many seeds: with the C that gives its bits."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.native import coding, generated
from tests.native import reference as ref
from tests.native.reference.codec import NO_DITHER, Code, choose
from tests.native.reference.rotation import places
from tests.native.reference.tables import Quantiser

Floats = NDArray[np.float64]

N = 4096
NAMES = ("trained", "gaussian", "lognormal", "constant", "one", "eight", "one in noise")


@cache
def vectors() -> dict[str, ref.Int64]:
    """Updates of N values of every nature."""
    draw = np.random.default_rng(5)
    one, few, mixed = np.zeros(N), np.zeros(N), draw.standard_normal(N) * 1000
    one[17] = 1e5
    few[draw.choice(N, 8, replace=False)] = 1e5
    mixed[3] = 64_000  # half of the energy
    kinds = {
        "gaussian": draw.standard_normal(N) * 1000,
        "lognormal": draw.choice([-1, 1], N) * np.exp(draw.standard_normal(N)) * 1000,
        "constant": np.full(N, 1000.0),
        "one": one,
        "eight": few,
        "one in noise": mixed,
    }
    return {"trained": trained()} | {k: np.rint(v).astype(np.int64) for k, v in kinds.items()}


def trained() -> ref.Int64:
    """What some steps change in a net, as values in one unit."""
    shapes = [ref.dense(46, 64, relu=True), ref.dense(64, 17)]
    generator = generated.Generator(9, shapes, ref.Loss.SOFTMAX, 17, 3)
    model = generator.model([-9, -9], [8000, 8000])
    before = model.copy()
    for i in range(60):
        x, targets = generator.batch(10 * i, 10)
        ref.step(model, ref.Tensor(x, ref.NORMALISED_EXP), targets, ref.Sgd(2**21))
    values = ref.delta_values(before, ref.delta(before, model))
    assert len(values) > N
    return values[:N]


@dataclass(frozen=True)
class Found:
    """slope: of estimates on what was sent, and how sure; across: what else the mean estimate has,
    squared, in what was sent, less what chance leaves; chance: that; farthest: of all values' mean,
    in standard errors."""

    slope: float
    slope_error: float
    error: float
    across: float
    chance: float
    farthest: float


def look(quantiser: Quantiser, x: ref.Int64, size: int, count: int, seed: int) -> Found:
    """Encode x so often in about `size` bytes."""
    draw = np.random.default_rng(seed)
    code = choose(quantiser, len(x), size)
    energy = float(x @ x)
    total, squares = np.zeros(len(x)), np.zeros(len(x))
    slopes = np.empty(count)
    for i in range(count):
        estimate = once(code, x, draw)
        total += estimate
        squares += estimate * estimate
        slopes[i] = estimate @ x / energy
    mean = total / count
    spread = np.maximum(squares / count - mean * mean, 0) / (count - 1)  # of each mean
    bias = mean - x
    across = bias - (bias @ x) / energy * x
    chance = float(spread.sum()) / energy
    error = float((squares - 2 * total * x).sum()) / count / energy + 1
    return Found(
        float(slopes.mean()),
        float(slopes.std() / np.sqrt(count)),
        error,
        float(across @ across) / energy - chance,
        chance,
        float((np.abs(bias) / np.sqrt(spread + 1e-12)).max()),
    )


def once(code: Code, x: ref.Int64, draw: np.random.Generator) -> Floats:
    """An estimate of x with a seed and a dither by chance, in x's unit."""
    low, high = (int(v) for v in draw.integers(0, 2**32, 2))
    seeded = Code(code.quantiser, code.table, code.kept, (low, high))
    dithered = code.quantiser == Quantiser.DITHER
    noise = draw.integers(0, 2**16, places(code.kept)) if dithered else NO_DITHER
    message = coding.encode(seeded, x, noise)
    read = np.frombuffer(coding.decode(seeded, message, len(x), noise), np.int32)
    return read.astype(np.float64) / 256
