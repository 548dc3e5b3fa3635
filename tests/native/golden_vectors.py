"""Reads the golden vectors; their format is golden/README.md."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import TypedDict, cast

from fedling_native import Layer, Loss
from tests.native import generated, kernel
from tests.native import reference as ref
from tests.native.generated import Generator
from tests.native.reference.codec import NO_DITHER, Code
from tests.native.reference.ring import Ring
from tests.native.reference.rotation import places
from tests.native.reference.tables import Quantiser

GOLDEN = Path(__file__).parent / "golden"
ANSWERS = 8  # examples that are predicted after a training


@dataclass(frozen=True)
class Model:
    layers: list[Layer]
    exponents: list[int]
    loss: Loss


@dataclass(frozen=True)
class Step:
    """targets: bytes of the type that the loss asks for."""

    n: int
    lr_q24: int
    clip_q16: int
    momentum: int
    frozen: int
    pull_q16: int  # after the step, towards the weights before the first one; 0: none
    x: bytes
    targets: bytes
    checksum: int | None  # of the weights after all that, where the file tells


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
class Answers:
    """Examples after a training, and what is to be said of them.

    outputs: CRC-32 of all outputs, int32 little-endian
    """

    x: list[bytes]
    labels: list[int]
    outputs: int


@dataclass(frozen=True)
class Predictions:
    """Examples one by one."""

    name: str
    model: Model
    x_exp: int
    weights: bytes
    x: list[bytes]
    labels: list[int]
    outputs: list[tuple[int, ...]]


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


@dataclass(frozen=True)
class Message:
    """crc, estimate: CRC-32 of the message and of the int32 that are read from it."""

    code: Code
    values: ref.Int64
    dither: ref.Int64
    size: int
    crc: int
    estimate: int


@dataclass(frozen=True)
class Refused:
    name: str
    code: Code
    n: int
    message: bytes


@dataclass(frozen=True, eq=False)
class Ringed:
    """elements, message, mean: CRC-32 of uint16 values, of what is sent, of int32 values."""

    ring: Ring
    values: ref.Int64
    dither: ref.Int64
    share: int
    elements: int
    message: int
    totals: ref.Int64
    weight: int
    mean: int


@dataclass(frozen=True)
class Units:
    """An update as values in one unit, an estimate of these and the same in each own unit."""

    model: Model
    delta: bytes
    values: bytes
    estimate: bytes
    own: bytes


class _ModelJson(TypedDict):
    loss: int
    layers: list[list[int]]
    exponents: list[int]


class _StepJson(TypedDict):
    n: int
    lr: int
    clip: int
    momentum: int
    frozen: int
    pull: int
    x: str
    targets: str
    checksum: int


class _StepsJson(_ModelJson):
    name: str
    x_exp: int
    before: str
    steps: list[_StepJson]
    after: str


class _TrainingJson(_ModelJson):
    name: str
    small: bool
    seed: int
    limits: list[int]
    x_exp: int
    classes: int
    run: int
    sizes: list[int]
    lr: int
    clip: int
    momentum: int
    frozen: int
    pull: tuple[int, int]
    checksums: list[tuple[int, int]]
    labels: list[int]
    outputs: int


class _PredictJson(_ModelJson):
    name: str
    x_exp: int
    weights: str
    n: int
    x: str
    outputs: str
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


class _DeltaJson(_ModelJson):
    name: str
    before: str
    after: str
    stored: str
    bias: str
    saturated: int


class _CodeJson(TypedDict):
    quantiser: int
    table: int
    kept: int
    seed: tuple[int, int]


class _MessageJson(_CodeJson):
    values: tuple[str, int, int]
    size: int
    crc: int
    estimate: int


class _RefusedJson(_CodeJson):
    name: str
    n: int
    message: str


class _UnitsJson(_ModelJson):
    stored: str
    bias: str
    values: str
    estimate: str
    own: str


class _RingJson(TypedDict):
    bits: int
    step: int
    kept: int
    seed: list[int]
    share: int
    values: tuple[str, int, int]
    elements: int
    message: int
    weight: int
    mean: int


class _CodecJson(TypedDict):
    messages: list[_MessageJson]
    refused: list[_RefusedJson]
    codes: list[tuple[int, int, int, int, int]]
    units: list[_UnitsJson]


def steps() -> list[Training]:
    """steps.json: few steps each, every corner."""
    return [
        Training(
            case["name"],
            _model(case),
            case["x_exp"],
            _bytes(case["before"]),
            [_step(step) for step in case["steps"]],
            _bytes(case["after"]),
        )
        for case in cast("list[_StepsJson]", _read("steps.json"))
    ]


def _step(s: _StepJson) -> Step:
    return Step(
        s["n"],
        s["lr"],
        s["clip"],
        s["momentum"],
        s["frozen"],
        s["pull"],
        _bytes(s["x"]),
        _bytes(s["targets"]),
        s["checksum"],
    )


def training_names() -> list[str]:
    """The names of training.json; generating the data of all takes seconds."""
    return [case["name"] for case in _training_cases()]


@cache
def training(name: str) -> tuple[Training, Answers]:
    """A case of training.json: many steps on generated data, then predictions."""
    return next(_training(case) for case in _training_cases() if case["name"] == name)


def _training_cases() -> list[_TrainingJson]:
    return cast("list[_TrainingJson]", _read("training.json"))


def _training(case: _TrainingJson) -> tuple[Training, Answers]:
    model = _model(case)
    shapes = [_shape(fields) for fields in case["layers"]]
    generator = Generator(
        case["seed"], shapes, ref.Loss(case["loss"]), case["classes"], case["run"]
    )
    before = ref.weight_bytes(generator.model(case["exponents"], case["limits"]))
    done = list(_generated_steps(case, generator))
    x, _ = generator.batch(sum(step.n for step in done), ANSWERS)
    return (
        Training(case["name"], model, case["x_exp"], before, done, None),
        Answers([one.tobytes() for one in x], case["labels"], case["outputs"]),
    )


def _generated_steps(case: _TrainingJson, generator: Generator) -> Iterator[Step]:
    checksums, (every, pull) = dict(case["checksums"]), case["pull"]
    first = 0
    for done, n in enumerate(islice(cycle(case["sizes"]), max(checksums)), 1):
        x, targets = generator.batch(first, n)
        first += n
        yield Step(
            n,
            case["lr"],
            case["clip"],
            case["momentum"],
            case["frozen"],
            pull if every and done % every == 0 else 0,
            x.tobytes(),
            kernel.targets(generator.loss, targets),
            checksums.get(done),
        )


def predictions() -> list[Predictions]:
    """predict.json."""
    found = []
    for case in cast("list[_PredictJson]", _read("predict.json")):
        model = _model(case)
        found.append(
            Predictions(
                case["name"],
                model,
                case["x_exp"],
                _bytes(case["weights"]),
                _pieces(_bytes(case["x"]), model.layers[0].inputs),
                case["labels"],
                list(struct.iter_unpack(f"<{model.layers[-1].outputs}i", _bytes(case["outputs"]))),
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
            _model(case),
            _bytes(case["before"]),
            _bytes(case["after"]),
            _bytes(case["stored"]) + _bytes(case["bias"]),
            case["saturated"],
        )
        for case in cast("list[_DeltaJson]", _read("delta.json"))
    ]


def messages() -> list[Message]:
    """codec.json: updates as bytes."""
    found = []
    for case in _codec()["messages"]:
        code, (rule, seed, n) = _code(case), case["values"]
        dithered = code.quantiser == Quantiser.DITHER
        dither = generated.dither(seed, places(code.kept)) if dithered else NO_DITHER
        values = generated.update(rule, seed, n)
        found.append(Message(code, values, dither, case["size"], case["crc"], case["estimate"]))
    return found


def refused() -> list[Refused]:
    """codec.json: messages that no encoder wrote."""
    return [
        Refused(case["name"], _code(case), case["n"], _bytes(case["message"]))
        for case in _codec()["refused"]
    ]


def codes() -> list[tuple[int, int, int, int, int]]:
    """codec.json: quantiser, n, bytes, table, kept."""
    return _codec()["codes"]


def units() -> list[Units]:
    """codec.json: values in one unit."""
    return [
        Units(
            _model(case),
            _bytes(case["stored"]) + _bytes(case["bias"]),
            _bytes(case["values"]),
            _bytes(case["estimate"]),
            _bytes(case["own"]),
        )
        for case in _codec()["units"]
    ]


def ringed() -> list[Ringed]:
    """ring.json."""
    found = []
    for case in cast("list[_RingJson]", _read("ring.json")):
        (low, high), (rule, seed, n) = case["seed"], case["values"]
        ring = Ring(case["bits"], case["step"], case["kept"], (low, high))
        count = len(ring.where(n))
        found.append(
            Ringed(
                ring,
                generated.update(rule, seed, n),
                generated.ring_dither(seed, count),
                case["share"],
                case["elements"],
                case["message"],
                generated.update(rule, seed + 1, count),
                case["weight"],
                case["mean"],
            )
        )
    return found


def _codec() -> _CodecJson:
    return cast("_CodecJson", _read("codec.json"))


def _code(case: _CodeJson) -> Code:
    low, high = case["seed"]
    return Code(Quantiser(case["quantiser"]), case["table"], case["kept"], (low, high))


def _read(name: str) -> object:
    return json.loads((GOLDEN / name).read_text())


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _model(case: _ModelJson) -> Model:
    layers = [kernel.layer(_shape(fields)) for fields in case["layers"]]
    return Model(layers, case["exponents"], Loss(case["loss"]))


def _shape(f: list[int]) -> ref.Shape:
    kind, height, width, channels, out, relu, kh, kw, sh, sw, top, bottom, left, right = f
    return ref.Shape(
        ref.Kind(kind),
        height,
        width,
        channels,
        out,
        bool(relu),
        (kh, kw),
        (sh, sw),
        (top, bottom, left, right),
    )
