"""What Python sees of native/include/fedling.h, as far as fedling_native and its tests use it."""

from collections.abc import Iterator
from typing import Literal, overload

from typing_extensions import Buffer

class CData:
    """An array of integers in C's memory, or a pointer to a struct that Python does not read."""

    def __int__(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> int: ...
    def __iter__(self) -> Iterator[int]: ...

class CNorm:
    mean: int
    mantissa: int
    shift: int

class CNorms(CData):
    def __iter__(self) -> Iterator[CNorm]: ...  # type: ignore[override]

class CFit:
    sum: int
    squares: int
    count: int

class CFits(CData):
    def __iter__(self) -> Iterator[CFit]: ...  # type: ignore[override]
    def __getitem__(self, index: int) -> CFit: ...  # type: ignore[override]

class CEnum:
    elements: dict[int, str]

class FFI:
    NULL: CData

    @overload
    def new(self, cdecl: Literal["fdl_norm[]"], init: object = None) -> CNorms: ...
    @overload
    def new(self, cdecl: Literal["fdl_norm_fit[]"], init: object = None) -> CFits: ...
    @overload
    def new(self, cdecl: str, init: object = None) -> CData: ...
    @overload
    def from_buffer(self, cdecl: Buffer) -> CData: ...
    @overload
    def from_buffer(self, cdecl: str, python_buffer: Buffer) -> CData: ...
    def buffer(self, cdata: CData) -> Buffer: ...
    def cast(self, cdecl: str, source: CData) -> CData: ...
    def sizeof(self, cdata: CData) -> int: ...
    def string(self, cdata: CData) -> bytes: ...
    def typeof(self, cdecl: str) -> CEnum: ...

class Library:
    FDL_OK: int
    FDL_E_ARENA: int
    FDL_E_CODE: int
    FDL_E_EXPONENT: int
    FDL_E_LAYERS: int
    FDL_E_LENGTH: int
    FDL_E_MESSAGE: int
    FDL_E_NULL: int
    FDL_E_SAMPLES: int
    FDL_DENSE: int
    FDL_CONV: int
    FDL_DEPTHWISE: int
    FDL_MAX_POOL: int
    FDL_AVERAGE_POOL: int
    FDL_SOFTMAX: int
    FDL_SIGMOID: int
    FDL_SQUARED: int
    FDL_RECONSTRUCTION: int
    FDL_SCALAR: int
    FDL_TRELLIS: int
    FDL_TRELLIS_32: int
    FDL_INPUT_EXP: int
    FDL_VALUE_EXP: int
    FDL_MAX_BATCH: int
    FDL_MAX_CLASSES: int
    FDL_MAX_EXPONENT: int
    FDL_MAX_LAYERS: int
    FDL_MAX_RATE: int
    FDL_MAX_TERMS: int
    FDL_MAX_VALUES: int
    FDL_MAX_WIDTH: int
    FDL_MIN_EXPONENT: int
    FDL_LEAST_RING_BITS: int
    FDL_MOST_RING_BITS: int
    FDL_RING_ARENA: int

    def fdl_describe_error(self, error: int) -> CData: ...
    def fdl_version(self) -> CData: ...
    def fdl_isa(self) -> CData: ...
    def fdl_check_layers(self, layers: CData, layer_count: int) -> int: ...
    def fdl_input_count(self, layer: CData) -> int: ...
    def fdl_output_count(self, layer: CData) -> int: ...
    def fdl_weight_count(self, layers: CData, layer_count: int) -> int: ...
    def fdl_weight_room(self, layers: CData, layer_count: int) -> int: ...
    def fdl_bias_count(self, layers: CData, layer_count: int) -> int: ...
    def fdl_packed_size(self, layers: CData, layer_count: int) -> int: ...
    def fdl_check_net(self, net: CData) -> int: ...
    def fdl_unpack_weights(self, net: CData, packed: CData, packed_len: int) -> int: ...
    def fdl_pack_weights(self, net: CData, packed: CData, packed_len: int) -> int: ...
    def fdl_checksum(self, net: CData, crc: CData) -> int: ...
    def fdl_step_arena_size(self, net: CData, n: int) -> int: ...
    def fdl_step(
        self, net: CData, arena: CData, arena_len: int, batch: CData, sgd: CData
    ) -> int: ...
    def fdl_pull(self, net: CData, start: CData, start_len: int, pull_q16: int) -> int: ...
    def fdl_predict_arena_size(self, net: CData) -> int: ...
    def fdl_predict(
        self,
        net: CData,
        arena: CData,
        arena_len: int,
        x: CData,
        x_len: int,
        x_exp: int,
        outputs: CData,
        outputs_len: int,
        label: CData,
    ) -> int: ...
    def fdl_logits(
        self,
        net: CData,
        arena: CData,
        arena_len: int,
        x: CData,
        x_len: int,
        x_exp: int,
        logits: CData,
        logits_len: int,
        exponent: CData,
    ) -> int: ...
    def fdl_integers_room(self, count: int) -> int: ...
    def fdl_write_integers(
        self, values: CData, count: int, out: CData, out_room: int, out_len: CData
    ) -> int: ...
    def fdl_read_integers(
        self, message: CData, message_len: int, values: CData, count: int
    ) -> int: ...
    def fdl_read_model(
        self,
        layers: CData,
        layer_count: int,
        shifts: object,
        message: CData,
        message_len: int,
        model: CData,
        model_len: int,
    ) -> int: ...
    def fdl_delta(
        self,
        layers: CData,
        layer_count: int,
        before: CData,
        before_len: int,
        after: CData,
        after_len: int,
        delta: CData,
        delta_len: int,
        saturated: CData,
    ) -> int: ...
    def fdl_delta_values(
        self,
        layers: CData,
        layer_count: int,
        delta: CData,
        delta_len: int,
        values: CData,
        count: int,
    ) -> int: ...
    def fdl_own_units(
        self, layers: CData, layer_count: int, estimate: CData, count: int
    ) -> int: ...
    def fdl_choose_code(self, quantiser: int, count: int, size: int, code: CData) -> int: ...
    def fdl_encoded_room(self, code: CData, count: int) -> int: ...
    def fdl_code_arena_size(self, code: CData, count: int) -> int: ...
    def fdl_encode(
        self,
        code: CData,
        values: CData,
        count: int,
        dither: CData,
        dither_count: int,
        arena: CData,
        arena_len: int,
        out: CData,
        out_room: int,
        out_len: CData,
    ) -> int: ...
    def fdl_decode(
        self,
        code: CData,
        message: CData,
        message_len: int,
        dither: CData,
        dither_count: int,
        arena: CData,
        arena_len: int,
        estimate: CData,
        count: int,
    ) -> int: ...
    def fdl_ring_elements(self, ring: CData, count: int) -> int: ...
    def fdl_ring_encode(
        self,
        ring: CData,
        values: CData,
        count: int,
        share: int,
        dither: CData,
        arena: CData,
        arena_len: int,
        elements: CData,
        element_count: int,
    ) -> int: ...
    def fdl_ring_bytes(self, ring: CData, element_count: int) -> int: ...
    def fdl_ring_pack(
        self, ring: CData, elements: CData, element_count: int, message: CData, message_len: int
    ) -> int: ...
    def fdl_ring_add(
        self, ring: CData, message: CData, message_len: int, total: CData, element_count: int
    ) -> int: ...
    def fdl_ring_decode(
        self,
        ring: CData,
        totals: CData,
        total_count: int,
        weight: int,
        arena: CData,
        arena_len: int,
        estimate: CData,
        count: int,
    ) -> int: ...
    def fdl_norm_start(self, fit: CData, channels: int) -> int: ...
    def fdl_norm_sum(self, fit: CData, channels: int, samples: CData, samples_len: int) -> int: ...
    def fdl_norm_finish(self, fit: CData, norm: CData, channels: int) -> int: ...
    def fdl_norm_apply(
        self,
        norm: CData,
        channels: int,
        samples: CData,
        samples_len: int,
        x: CData,
        x_len: int,
    ) -> int: ...

ffi: FFI
lib: Library
