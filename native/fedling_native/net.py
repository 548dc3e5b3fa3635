"""A model that learns and answers (native/NUMERICS.md sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.arguments import int16s, int32, int32s, new_arena, new_weights, uint32
from fedling_native.errors import NativeError, check
from fedling_native.layers import Layer, Loss
from fedling_native.model import c_layers

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData

INPUT_EXP: int = lib.FDL_INPUT_EXP  # of normalised inputs


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one example."""

    label: int  # the output with the largest logit
    outputs: tuple[int, ...]  # softmax, sigmoid: probabilities in 2^-15; else values in 2^-12


class Net:
    """A model that can learn, with its weights and scratch memory. Not for two threads at once."""

    def __init__(
        self,
        layers: Sequence[Layer],
        exponents: Sequence[int],
        weights: Buffer,
        loss: Loss = Loss.SOFTMAX,
        *,
        velocity: Buffer = b"",
    ) -> None:
        """weights: canonical bytes, copied; exponents: w_exp of each layer, 0 for pools.

        velocity: what velocity() gave, to go on with training by momentum.
        """
        self._layers = c_layers(layers, exponents)
        count = len(layers)
        weight_room = lib.fdl_weight_room(self._layers, count)
        bias_count = lib.fdl_bias_count(self._layers, count)
        self._inputs, self._outputs = layers[0].inputs, layers[-1].outputs
        self._loss = loss
        self._weights = new_weights(weight_room)
        self._biases = ffi.new("int32_t[]", bias_count)
        self._net = ffi.new(
            "fdl_net *",
            (self._layers, count, loss, self._weights, weight_room, self._biases, bias_count),
        )
        check(lib.fdl_check_net(self._net))
        packed = ffi.from_buffer("uint8_t[]", weights)
        check(lib.fdl_unpack_weights(self._net, packed, len(packed)))
        self._arena = new_arena(lib.fdl_predict_arena_size(self._net))
        self._velocity_count = lib.fdl_weight_count(self._layers, count) + bias_count
        self._velocity = _copied_velocity(velocity, self._velocity_count)
        self._steps = 0

    def step(
        self,
        x: Buffer,
        targets: Buffer,
        lr_q24: int,
        x_exp: int = INPUT_EXP,
        *,
        clip_q16: int = 0,
        momentum: int = 0,
        frozen: int = 0,
    ) -> None:
        """One step of gradient descent on a batch of n examples; a refused one changes nothing.

        x: int8 [n][inputs], -127..127, worth x * 2^x_exp; 1 <= n <= MAX_BATCH
        targets: softmax uint8 [n], sigmoid uint8 [n][outputs] of 0 and 1, squared int16
            [n][outputs] in 2^-12, reconstruction none
        lr_q24: learning rate of the mean gradient, in 2^-24, 1..MAX_RATE_Q24
        clip_q16: longest mean gradient of a layer, in 2^-16; 0: no limit
        momentum: in 1/256, 0..255; frozen: so many of the first layers do not change
        """
        values = ffi.from_buffer("int8_t[]", x)
        wanted = int16s(targets) if self._loss is Loss.SQUARED else ffi.from_buffer(targets)
        n = len(values) // self._inputs
        batch = ffi.new("fdl_batch *", (values, len(values), int32(x_exp), wanted, len(wanted), n))
        sgd = ffi.new("fdl_sgd *", self._sgd(lr_q24, clip_q16, momentum, frozen))
        needed = lib.fdl_step_arena_size(self._net, n)
        if needed > ffi.sizeof(self._arena):
            self._arena = new_arena(needed)
        check(lib.fdl_step(self._net, self._arena, ffi.sizeof(self._arena), batch, sgd))
        self._steps += 1

    def pull(self, start: Buffer, pull_q16: int) -> None:
        """Pull the weights towards `start`, canonical bytes, by pull_q16 / 2^16 of the way."""
        packed = ffi.from_buffer("uint8_t[]", start)
        check(lib.fdl_pull(self._net, packed, len(packed), uint32(pull_q16)))

    def predict(self, x: Buffer, x_exp: int = INPUT_EXP) -> Prediction:
        """What the model says of one example x, int8 [inputs]."""
        values = ffi.from_buffer("int8_t[]", x)
        outputs = ffi.new("int32_t[]", self._outputs)
        label = ffi.new("uint32_t *")
        check(
            lib.fdl_predict(
                self._net, self._arena, ffi.sizeof(self._arena), values, len(values),
                int32(x_exp), outputs, self._outputs, label,
            )
        )  # fmt: skip
        return Prediction(label[0], tuple(outputs))

    def logits(self, x: Buffer, x_exp: int = INPUT_EXP) -> tuple[tuple[int, ...], int]:
        """The last layer's accumulators for one example, and their exponent."""
        values = ffi.from_buffer("int8_t[]", x)
        accumulators = ffi.new("int32_t[]", self._outputs)
        exponent = ffi.new("int32_t *")
        check(
            lib.fdl_logits(
                self._net, self._arena, ffi.sizeof(self._arena), values, len(values),
                int32(x_exp), accumulators, self._outputs, exponent,
            )
        )  # fmt: skip
        return tuple(accumulators), exponent[0]

    def weights(self) -> bytes:
        """The canonical bytes of all weights and biases."""
        packed = bytearray(lib.fdl_packed_size(self._layers, len(self._layers)))
        check(lib.fdl_pack_weights(self._net, ffi.from_buffer("uint8_t[]", packed), len(packed)))
        return bytes(packed)

    def velocity(self) -> bytes:
        """The state of momentum, int32 in the order of weights(); empty without any."""
        return b"" if self._velocity is None else bytes(ffi.buffer(self._velocity))

    def checksum(self) -> int:
        """CRC-32 of weights()."""
        crc = ffi.new("uint32_t *")
        check(lib.fdl_checksum(self._net, crc))
        return int(crc[0])

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps

    def _sgd(self, lr_q24: int, clip_q16: int, momentum: int, frozen: int) -> tuple[object, ...]:
        """The fields of fdl_sgd; the first step with momentum makes its velocity."""
        if momentum and self._velocity is None:
            self._velocity = ffi.new("int32_t[]", self._velocity_count)
        velocity = ffi.NULL if self._velocity is None else self._velocity
        count = 0 if self._velocity is None else len(self._velocity)
        return (
            uint32(lr_q24), uint32(clip_q16), uint32(momentum), uint32(frozen), velocity, count,
        )  # fmt: skip


def _copied_velocity(velocity: Buffer, count: int) -> CData | None:
    values = int32s(velocity)
    if len(values) not in (0, count):
        raise NativeError(lib.FDL_E_LENGTH)
    return ffi.new("int32_t[]", list(values)) if len(values) else None
