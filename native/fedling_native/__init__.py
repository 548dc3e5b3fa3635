"""The integer kernel in C, called with any buffer: bytes, bytearray, memoryview, numpy arrays.

What it computes, bit by bit, is native/NUMERICS.md. Buffers hold native values (int8, uint8, int16)
without a header; weights travel as the canonical little-endian bytes of its section 2.
Type checkers know numpy arrays as buffers from Python 3.12 on; before it pass them `array.data`.

    NativeError
        the C library refused a call; `name` and `meaning` say why. Nothing has changed then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData

__all__ = [
    "INPUT_EXP",
    "MAX_BATCH",
    "MAX_CLASSES",
    "MAX_EXPONENT",
    "MAX_LAYERS",
    "MAX_RATE_Q24",
    "MAX_WIDTH",
    "MIN_EXPONENT",
    "Layer",
    "NativeError",
    "Net",
    "Normaliser",
    "Prediction",
    "delta",
    "parameter_counts",
    "version",
    "weights_size",
]

INPUT_EXP: int = lib.FDL_INPUT_EXP  # exponent of normalised inputs
MAX_BATCH: int = lib.FDL_MAX_BATCH
MAX_CLASSES: int = lib.FDL_MAX_CLASSES
MAX_LAYERS: int = lib.FDL_MAX_LAYERS
MAX_RATE_Q24: int = lib.FDL_MAX_RATE
MAX_WIDTH: int = lib.FDL_MAX_WIDTH
MIN_EXPONENT: int = lib.FDL_MIN_EXPONENT
MAX_EXPONENT: int = lib.FDL_MAX_EXPONENT

_NAMES: dict[int, str] = ffi.typeof("enum fdl_error").elements


class NativeError(Exception):
    """The C library refused a call."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = _NAMES.get(code, str(code))
        self.meaning = ffi.string(lib.fdl_describe_error(code)).decode()
        super().__init__(f"{self.meaning} ({self.name})")


@dataclass(frozen=True, slots=True)
class Layer:
    """A dense layer; the last one has no ReLU and as many outputs as there are classes."""

    inputs: int
    outputs: int
    relu: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one example."""

    label: int
    probabilities: tuple[int, ...]  # of each class, in 2^-15


class Net:
    """A model that can learn, with its weights and scratch memory. Not for two threads at once."""

    def __init__(self, layers: Sequence[Layer], exponents: Sequence[int], weights: Buffer) -> None:
        """weights: canonical bytes, copied; exponents: w_exp of each layer."""
        self._steps = 0
        self._layers = _c_layers(layers, exponents)
        count = len(layers)
        weight_count = lib.fdl_weight_count(self._layers, count)
        bias_count = lib.fdl_bias_count(self._layers, count)
        self._classes = layers[-1].outputs
        self._weights = ffi.new("int16_t[]", weight_count)
        self._biases = ffi.new("int32_t[]", bias_count)
        self._net = ffi.new(
            "fdl_net *",
            (self._layers, count, self._weights, weight_count, self._biases, bias_count),
        )
        packed = ffi.from_buffer("uint8_t[]", weights)
        _check(lib.fdl_unpack_weights(self._net, packed, len(packed)))
        self._arena = _new_arena(lib.fdl_predict_arena_size(self._net))

    def step(self, x: Buffer, labels: Buffer, lr_q24: int, x_exp: int = INPUT_EXP) -> None:
        """One step of gradient descent on a batch; a refused one changes nothing.

        x: int8 [n][inputs], -127..127, worth x * 2^x_exp; labels: uint8 [n], 1 <= n <= MAX_BATCH
        lr_q24: learning rate of the mean gradient, in 2^-24, 1..MAX_RATE_Q24
        """
        values = ffi.from_buffer("int8_t[]", x)
        classes = ffi.from_buffer("uint8_t[]", labels)
        needed = lib.fdl_step_arena_size(self._net, len(classes))
        if needed > ffi.sizeof(self._arena):
            self._arena = _new_arena(needed)
        _check(
            lib.fdl_step(
                self._net, self._arena, ffi.sizeof(self._arena), values, len(values),
                _int32(x_exp), classes, len(classes), _uint32(lr_q24),
            )
        )  # fmt: skip
        self._steps += 1

    def predict(self, x: Buffer, x_exp: int = INPUT_EXP) -> Prediction:
        """The class of one example x int8 [inputs], and the probabilities of all."""
        values = ffi.from_buffer("int8_t[]", x)
        probabilities = ffi.new("uint16_t[]", self._classes)
        label = ffi.new("uint32_t *")
        _check(
            lib.fdl_predict(
                self._net, self._arena, ffi.sizeof(self._arena), values, len(values),
                _int32(x_exp), probabilities, self._classes, label,
            )
        )  # fmt: skip
        return Prediction(label[0], tuple(probabilities))

    def logits(self, x: Buffer, x_exp: int = INPUT_EXP) -> tuple[tuple[int, ...], int]:
        """The last layer's accumulators for one example, and their exponent."""
        values = ffi.from_buffer("int8_t[]", x)
        accumulators = ffi.new("int32_t[]", self._classes)
        exponent = ffi.new("int32_t *")
        _check(
            lib.fdl_logits(
                self._net, self._arena, ffi.sizeof(self._arena), values, len(values),
                _int32(x_exp), accumulators, self._classes, exponent,
            )
        )  # fmt: skip
        return tuple(accumulators), exponent[0]

    def weights(self) -> bytes:
        """The canonical bytes of all weights and biases."""
        packed = bytearray(ffi.sizeof(self._weights) + ffi.sizeof(self._biases))
        _check(lib.fdl_pack_weights(self._net, ffi.from_buffer("uint8_t[]", packed), len(packed)))
        return bytes(packed)

    def checksum(self) -> int:
        """CRC-32 of weights()."""
        crc = ffi.new("uint32_t *")
        _check(lib.fdl_checksum(self._net, crc))
        return int(crc[0])

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps


def parameter_counts(layers: Sequence[Layer]) -> tuple[int, int]:
    """How many weights and biases a model has."""
    c_layers = _c_layers(layers, [0] * len(layers))
    count = len(layers)
    return lib.fdl_weight_count(c_layers, count), lib.fdl_bias_count(c_layers, count)


def weights_size(layers: Sequence[Layer]) -> int:
    """How many canonical bytes the weights of a model have."""
    return lib.fdl_packed_size(_c_layers(layers, [0] * len(layers)), len(layers))


def delta(layers: Sequence[Layer], before: Buffer, after: Buffer) -> tuple[bytes, int]:
    """What training changed, and how many values did not fit.

    The bytes have the order and size of the canonical ones: an int16 for each weight, then an int32
    for each bias, little-endian. Neither has wrapped around.
    """
    old, new = ffi.from_buffer("uint8_t[]", before), ffi.from_buffer("uint8_t[]", after)
    changes = bytearray(len(old))
    saturated = ffi.new("uint32_t *")
    _check(
        lib.fdl_delta(
            _c_layers(layers, [0] * len(layers)), len(layers), old, len(old), new, len(new),
            ffi.from_buffer("uint8_t[]", changes), len(changes), saturated,
        )
    )  # fmt: skip
    return bytes(changes), saturated[0]


@dataclass(frozen=True, slots=True)
class Normaliser:
    """What each channel does to its counts: sat((count - mean) * mantissa >> shift)."""

    means: tuple[int, ...]
    mantissas: tuple[int, ...]
    shifts: tuple[int, ...]

    @classmethod
    def fit(cls, windows: Callable[[], Iterable[Buffer]], channels: int) -> Normaliser:
        """From windows of native int16 counts, interleaved by channel.

        windows() is called twice and must give the same windows; a sample that lies in two of
        them counts twice.
        """
        fits = ffi.new("fdl_norm_fit[]", _length(channels))
        _check(lib.fdl_norm_start(fits, channels))
        for window in windows():
            samples = _int16s(window)
            _check(lib.fdl_norm_sum(fits, channels, samples, len(samples)))
        _check(lib.fdl_norm_centre(fits, channels))
        for window in windows():
            samples = _int16s(window)
            _check(lib.fdl_norm_square(fits, channels, samples, len(samples)))
        norms = ffi.new("fdl_norm[]", channels)
        _check(lib.fdl_norm_finish(fits, norms, channels))
        return cls(
            tuple(n.mean for n in norms),
            tuple(n.mantissa for n in norms),
            tuple(n.shift for n in norms),
        )

    def apply(self, samples: Buffer) -> bytes:
        """Native int16 counts, interleaved by channel, to int8 inputs of exponent INPUT_EXP."""
        columns = zip(self.means, self.mantissas, self.shifts, strict=True)
        norms = ffi.new("fdl_norm[]", [(_int32(m), _uint32(f), _int32(s)) for m, f, s in columns])
        counts = _int16s(samples)
        x = bytearray(len(counts))
        target = ffi.from_buffer("int8_t[]", x)
        _check(lib.fdl_norm_apply(norms, len(norms), counts, len(counts), target, len(target)))
        return bytes(x)

    def to_tuples(self) -> tuple[tuple[int, int, int], ...]:
        """(mean, mantissa, shift) of each channel, to be stored."""
        return tuple(zip(self.means, self.mantissas, self.shifts, strict=True))

    @classmethod
    def from_tuples(cls, channels: Iterable[Sequence[int]]) -> Normaliser:
        """The inverse of to_tuples; what no fit gives is refused when it is applied."""
        rows = [(mean, mantissa, shift) for mean, mantissa, shift in channels]
        return cls(tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))


def version() -> str:
    """The version of the C library."""
    return ffi.string(lib.fdl_version()).decode()


def _check(error: int) -> None:
    if error != lib.FDL_OK:
        raise NativeError(error)


def _length(n: int) -> int:
    """A number of things to allocate; cffi would call -1 a ValueError and 2^70 an OverflowError."""
    if not 0 <= n <= 65535:
        raise NativeError(lib.FDL_E_LENGTH)
    return n


def _int32(value: int) -> int:
    """What C will refuse must not stop at cffi's own OverflowError."""
    return max(-(2**31), min(value, 2**31 - 1))


def _uint32(value: int) -> int:
    """Negative values become 2^32 - 1, which no argument of the library allows."""
    return value if 0 <= value < 2**32 else 2**32 - 1


def _c_layers(layers: Sequence[Layer], exponents: Sequence[int]) -> CData:
    if len(exponents) != len(layers):
        raise NativeError(lib.FDL_E_EXPONENT)
    rows = [
        (_uint32(layer.inputs), _uint32(layer.outputs), _int32(w_exp), layer.relu)
        for layer, w_exp in zip(layers, exponents, strict=True)
    ]
    c_layers = ffi.new("fdl_layer[]", rows)
    _check(lib.fdl_check_layers(c_layers, len(rows)))
    return c_layers


def _new_arena(size: int) -> CData:
    return ffi.new("uint64_t[]", -(-size // 8))


def _int16s(samples: Buffer) -> CData:
    """Whole, aligned int16 values; memory that is neither is refused or copied."""
    raw = ffi.from_buffer(samples)
    if len(raw) % 2:
        raise NativeError(lib.FDL_E_LENGTH)
    if int(ffi.cast("uintptr_t", raw)) % 2:
        samples = bytes(ffi.buffer(raw))
    return ffi.from_buffer("int16_t[]", samples)
