"""normalise.json and delta.json: what a device does beside learning."""

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import (
    Draw,
    Json,
    Rng,
    b64,
    dense_shapes,
    describe,
    make_model,
    model_bytes,
)
from tests.native.make_golden.layer_steps import MIXED, exponents


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


def delta_case(name: str, before: ref.Model, after: ref.Model) -> Json:
    out = ref.delta(before, after)
    return {
        "name": name,
        **describe(before),
        "before": model_bytes(before),
        "after": model_bytes(after),
        "stored": b64(out.stored, "<i2"),
        "bias": b64(out.bias, "<i4"),
        "saturated": out.saturated,
    }


def all_delta() -> list[Json]:
    """Differences inside and outside the range of int16 and int32."""
    rng = Rng(6)
    limits = (2**31 - 1, -(2**31), 0)
    draws: list[tuple[str, Draw, Draw]] = [
        ("ordinary", lambda: rng.int16() >> 2, rng.int16),
        ("limits", rng.corner, lambda: limits[rng.below(3)]),
    ]
    cases = []
    for name, stored, bias in draws:
        for kinds, shapes in (("dense", dense_shapes([5, 4, 3])), ("mixed", MIXED)):
            before, after = (
                make_model(shapes, exponents(shapes, -5), stored, bias) for _ in range(2)
            )
            cases.append(delta_case(f"{name}, {kinds}", before, after))
    return cases
