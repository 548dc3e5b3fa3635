"""A whole model as C sees it: its check, its sizes, and the difference of two sets of weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.errors import NativeError, check
from fedling_native.layers import Layer, Loss

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData

KNOWN = 64  # models of which the answer is kept: the same few are asked about with every message


def c_layers(layers: Sequence[Layer], exponents: Sequence[int] | None = None) -> CData:
    """An array of fdl_layer, checked; without exponents they are 0."""
    w_exps = [0] * len(layers) if exponents is None else exponents
    if len(w_exps) != len(layers):
        raise NativeError(lib.FDL_E_EXPONENT)
    rows = [_row(layer, w_exp) for layer, w_exp in zip(layers, w_exps, strict=True)]
    try:
        array = ffi.new("fdl_layer[]", rows)
    except OverflowError as error:  # a field that its C type cannot hold
        raise NativeError(lib.FDL_E_LAYERS) from error
    check(lib.fdl_check_layers(array, len(rows)))
    return array


def check_model(
    layers: Sequence[Layer], loss: Loss, exponents: Sequence[int] | None = None
) -> None:
    """NativeError unless these are a model; allocates nothing of its size."""
    _check_model(tuple(layers), loss, None if exponents is None else tuple(exponents))


@lru_cache(maxsize=KNOWN)
def _check_model(layers: tuple[Layer, ...], loss: Loss, exponents: tuple[int, ...] | None) -> None:
    array, count = c_layers(layers, exponents), len(layers)
    unread = ffi.new("int64_t *")  # fdl_check_net asks only that there are weights and biases
    net = ffi.new(
        "fdl_net *",
        (
            array, count, loss,
            ffi.cast("int16_t *", unread), lib.fdl_weight_room(array, count),
            ffi.cast("int32_t *", unread), lib.fdl_bias_count(array, count),
        ),
    )  # fmt: skip
    check(lib.fdl_check_net(net))


def parameter_counts(layers: Sequence[Layer]) -> tuple[int, int]:
    """How many weights and biases a model has."""
    return _parameter_counts(tuple(layers))


@lru_cache(maxsize=KNOWN)
def _parameter_counts(layers: tuple[Layer, ...]) -> tuple[int, int]:
    array, count = c_layers(layers), len(layers)
    return lib.fdl_weight_count(array, count), lib.fdl_bias_count(array, count)


def weights_size(layers: Sequence[Layer]) -> int:
    """How many canonical bytes the weights of a model have."""
    return _weights_size(tuple(layers))


@lru_cache(maxsize=KNOWN)
def _weights_size(layers: tuple[Layer, ...]) -> int:
    return lib.fdl_packed_size(c_layers(layers), len(layers))


def delta(layers: Sequence[Layer], before: Buffer, after: Buffer) -> tuple[bytes, int]:
    """What training changed, and how many values did not fit.

    The bytes have the order and size of the canonical ones: an int16 for each weight, then an int32
    for each bias, little-endian. Neither has wrapped around.
    """
    old, new = ffi.from_buffer("uint8_t[]", before), ffi.from_buffer("uint8_t[]", after)
    changes = bytearray(len(old))
    saturated = ffi.new("uint32_t *")
    check(
        lib.fdl_delta(
            c_layers(layers), len(layers), old, len(old), new, len(new),
            ffi.from_buffer("uint8_t[]", changes), len(changes), saturated,
        )
    )  # fmt: skip
    return bytes(changes), saturated[0]


def _row(layer: Layer, w_exp: int) -> tuple[int, ...]:
    """The fields in the order of fdl_layer; an exponent outside int8 stays out of range."""
    exponent = max(-128, min(w_exp, 127))
    return (
        layer.kind, layer.relu, exponent, *layer.kernel, *layer.stride, *layer.pad,
        layer.height, layer.width, layer.channels, layer.out,
    )  # fmt: skip
