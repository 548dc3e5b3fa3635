"""Reads the golden vectors; their format is golden/README.md."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict, cast

from fedling_native import Layer

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Model:
    layers: list[Layer]
    exponents: list[int]


@dataclass(frozen=True)
class Step:
    n: int
    lr_q24: int
    x: bytes
    y: bytes
    checksum: int | None  # of the weights after it, where the file tells


@dataclass(frozen=True)
class Training:
    """Steps one after another from `before`."""

    name: str
    model: Model
    x_exp: int
    before: bytes
    steps: list[Step]
    after: bytes | None


@dataclass(frozen=True)
class Predictions:
    """Examples one by one; weights None: those after the training of the same name."""

    name: str
    model: Model
    x_exp: int
    weights: bytes | None
    x: list[bytes]
    labels: list[int]
    probabilities: list[tuple[int, ...]]


@dataclass(frozen=True)
class Normalisation:
    name: str
    channels: int
    windows: list[bytes]
    means: tuple[int, ...]
    mantissas: tuple[int, ...]
    shifts: tuple[int, ...]
    q: bytes


@dataclass(frozen=True)
class Delta:
    name: str
    model: Model
    before: bytes
    after: bytes
    delta: bytes
    saturated: int


class _LayerJson(TypedDict("_In", {"in": int})):
    out: int
    w_exp: int
    relu: int


class _StepJson(TypedDict):
    n: int
    lr: int
    x: str
    y: str
    checksum: int


class _StepsJson(TypedDict):
    name: str
    x_exp: int
    layers: list[_LayerJson]
    before: str
    steps: list[_StepJson]
    after: str


class _TrainingJson(TypedDict):
    name: str
    seed: int
    x_exp: int
    layers: list[_LayerJson]
    n: int
    lr: int
    checksums: list[tuple[int, int]]
    y: list[int]
    q: str
    labels: list[int]


class _PredictJson(TypedDict):
    name: str
    x_exp: int
    layers: list[_LayerJson]
    weights: str
    n: int
    x: str
    q: str
    labels: list[int]


class _NormaliseJson(TypedDict):
    name: str
    windows: int
    samples: int
    channels: int
    counts: str
    mean: list[int]
    mantissa: list[int]
    shift: list[int]
    q: str


class _DeltaJson(TypedDict):
    name: str
    layers: list[_LayerJson]
    before: str
    after: str
    stored: str
    bias: str
    saturated: int


def steps() -> list[Training]:
    """steps.json: few steps each, every corner."""
    return [
        Training(
            case["name"],
            _model(case["layers"]),
            case["x_exp"],
            _bytes(case["before"]),
            [
                Step(s["n"], s["lr"], _bytes(s["x"]), _bytes(s["y"]), s["checksum"])
                for s in case["steps"]
            ],
            _bytes(case["after"]),
        )
        for case in cast("list[_StepsJson]", _read("steps.json"))
    ]


def training_names() -> list[str]:
    """The names of training.json; generating the data of all takes seconds."""
    return [case["name"] for case in _training_cases()]


@cache
def training(name: str) -> tuple[Training, Predictions]:
    """A case of training.json: many steps on generated data, then predictions."""
    return next(_training(case) for case in _training_cases() if case["name"] == name)


def _training_cases() -> list[_TrainingJson]:
    return cast("list[_TrainingJson]", _read("training.json"))


def predictions() -> list[Predictions]:
    """predict.json."""
    found = []
    for case in cast("list[_PredictJson]", _read("predict.json")):
        model = _model(case["layers"])
        found.append(
            Predictions(
                case["name"],
                model,
                case["x_exp"],
                _bytes(case["weights"]),
                _pieces(_bytes(case["x"]), model.layers[0].inputs),
                case["labels"],
                _rows(_bytes(case["q"]), model.layers[-1].outputs),
            )
        )
    return found


def normalisations() -> list[Normalisation]:
    """normalise.json."""
    return [
        Normalisation(
            case["name"],
            case["channels"],
            _pieces(_bytes(case["counts"]), 2 * case["samples"] * case["channels"]),
            tuple(case["mean"]),
            tuple(case["mantissa"]),
            tuple(case["shift"]),
            _bytes(case["q"]),
        )
        for case in cast("list[_NormaliseJson]", _read("normalise.json"))
    ]


def deltas() -> list[Delta]:
    """delta.json."""
    return [
        Delta(
            case["name"],
            _model(case["layers"]),
            _bytes(case["before"]),
            _bytes(case["after"]),
            _bytes(case["stored"]) + _bytes(case["bias"]),
            case["saturated"],
        )
        for case in cast("list[_DeltaJson]", _read("delta.json"))
    ]


def _read(name: str) -> object:
    return json.loads((GOLDEN / name).read_text())


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _rows(q: bytes, classes: int) -> list[tuple[int, ...]]:
    return list(struct.iter_unpack(f"<{classes}H", q))


def _model(layers: list[_LayerJson]) -> Model:
    return Model(
        [Layer(x["in"], x["out"], bool(x["relu"])) for x in layers], [x["w_exp"] for x in layers]
    )


# --- The generated data of training.json ----------------------------------------------------------


def _xorshift32(s: int) -> Iterator[int]:
    while True:
        s ^= s << 13 & 0xFFFFFFFF
        s ^= s >> 17
        s ^= s << 5 & 0xFFFFFFFF
        yield s


class _Generator:
    def __init__(self, seed: int, model: Model) -> None:
        self.numbers = _xorshift32(seed)
        self.weights = self._weights(model)
        self.classes = model.layers[-1].outputs
        inputs = range(model.layers[0].inputs)
        self.patterns = [[self._int8() for _ in inputs] for _ in range(self.classes)]

    def _int8(self) -> int:
        return (next(self.numbers) >> 24) - 128

    def _int16(self) -> int:
        return (next(self.numbers) >> 16) - 32768

    def _weights(self, model: Model) -> bytes:
        stored, biases = [], []
        for layer in model.layers:
            stored += [(self._int16() >> 2) + 128 for _ in range(layer.inputs * layer.outputs)]
            biases += [self._int16() for _ in range(layer.outputs)]
        return struct.pack(f"<{len(stored)}h{len(biases)}i", *stored, *biases)

    def example(self) -> tuple[bytes, int]:
        y = (next(self.numbers) >> 16) % self.classes
        x = [max(-127, (p + self._int8()) >> 1) for p in self.patterns[y]]
        return struct.pack(f"{len(x)}b", *x), y

    def batch(self, n: int) -> tuple[bytes, bytes]:
        examples = [self.example() for _ in range(n)]
        return b"".join(x for x, _ in examples), bytes(y for _, y in examples)


def _training(case: _TrainingJson) -> tuple[Training, Predictions]:
    model = _model(case["layers"])
    generator = _Generator(case["seed"], model)
    checksums = dict(case["checksums"])
    done = [
        Step(case["n"], case["lr"], *generator.batch(case["n"]), checksums.get(i + 1))
        for i in range(case["checksums"][-1][0])
    ]
    x, y = generator.batch(16)
    assert list(y) == case["y"]
    q = _rows(_bytes(case["q"]), model.layers[-1].outputs)
    return (
        Training(case["name"], model, case["x_exp"], generator.weights, done, None),
        Predictions(
            case["name"],
            model,
            case["x_exp"],
            None,
            _pieces(x, model.layers[0].inputs),
            case["labels"],
            q,
        ),
    )
