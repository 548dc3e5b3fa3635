"""The codec of updates: what is lost in so many bytes, how fast it is, what it asks of a Cortex-M4.

Gaussian values, 159,010 of them, at all bytes of a message; and the update of a net that learned
the digits of scikit-learn for a few epochs. Speed is of one core, in bytes of float32 a second.
Beside it, in turns, EDEN (Vargaftik et al., ICML 2022) at one bit a coordinate: in numpy, as quick
as we could write it (eden), and with the operations of its authors' PyTorch code (eden_torch). Both
pad the vector to a power of two, as it asks; rows of 2^18 values tell what that is of a ratio.
QEMU counts the board's instructions; its message and estimate must be those of this machine.

    nmse_RATE, nmse_32_RATE, nmse_scalar_RATE
                                    lost energy, in bytes for so many bits a value: of the trellis
                                    of 8 states, of 32 states, of the scalar quantiser
    nmse_real_RATE, ..._32_...      the same of the trained net's update
    bytes_over_entropy_excess       bytes of a message over what its table says symbols cost
    encode_mb_s, decode_mb_s        of the scalar quantiser at 1 bit; trellis_..., trellis_32_...
                                    likewise
    ratio_eden_encode, ..._decode   EDEN's median CPU time by the scalar quantiser's, 159,010 values
    ratio_eden_torch_...            likewise of its authors' operations
    ratio_trellis_eden_..., ratio_trellis_eden_torch_...  theirs by that of the trellis of 8
    ratio_trellis_32_eden_..., ratio_trellis_32_eden_torch_...  and of 32 states
    m4_instructions_per_parameter, m4_decode_instructions, m4_ram_bytes
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import importlib.util
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from bench.support.datasets import digits
from bench.support.eden import Eden, padded
from bench.support.float_net import Float
from fedling_broker.aggregation.initial import initial_state
from fedling_native import Net, delta, dense, isa
from fedling_native._core import ffi, lib
from fedling_native.arguments import new_arena
from fedling_native.errors import check
from fedling_native.model import c_layers
from fedling_sim.board import boards, qemu, toolchain
from fedling_sim.board.toolchain import Build, Program

if TYPE_CHECKING:
    from fedling_native._core import CData

Values = NDArray[np.int32]

SUPPORT = Path(__file__).parent / "support"
TABLES_C = Path(__file__).parents[1] / "native/src/codec/tables.c"
ROW = re.compile(r"^        \{\d+, \d+, \{\d+, \d+\}, \d+, (\d+), \d+, \{f", re.MULTILINE)
TABLES = 22  # of a quantiser
COUNT = 159_010  # parameters of 784-200-10
RATES = (0.05, 0.1, 0.25, 0.5, 1, 2, 4)
SEEDS = 64  # at .05 bit a draw varies by 4 %
REPEATS = 15
TURNS = 31
BOARD_COUNT, BOARD_RATE = 8192, 1.03  # that all values are kept in a table of 1 bit
STACK, POOL = 3072, 81_920  # bytes, of which 32 states need eight blocks of values and of ways
LAYERS = (dense(64, 256, relu=True), dense(256, 10))
EPOCHS, BATCH, LR_Q24 = 3, 10, 2**24 // 16
HASH, PRIME = 2_166_136_261, 16_777_619  # FNV-1a


@dataclass(frozen=True, slots=True)
class Code:
    """A code for a number of bytes, and memory to work in."""

    given: CData
    count: int

    @staticmethod
    def choose(quantiser: int, count: int, rate: float, seed: int = 1) -> Code:
        given = ffi.new("fdl_code *", {"seed": (seed, 2)})
        check(lib.fdl_choose_code(quantiser, count, round(count * rate / 8), given))
        return Code(given, count)

    @property
    def table(self) -> int:
        return memoryview(ffi.buffer(self.given))[1]

    @property
    def kept(self) -> int:
        return int.from_bytes(memoryview(ffi.buffer(self.given))[4:8], "little")

    def encode(self, values: Values) -> tuple[bytes, float]:
        """The message, and the seconds that it took."""
        size = lib.fdl_code_arena_size(self.given, self.count)
        arena, room = new_arena(size), lib.fdl_encoded_room(self.given, self.count)
        out, length = bytearray(room), ffi.new("size_t *")
        to, x = ffi.from_buffer("uint8_t[]", out), ffi.from_buffer("int32_t[]", values.tobytes())
        begun = time.thread_time()
        error = lib.fdl_encode(
            self.given, x, self.count, ffi.NULL, 0, arena, size, to, room, length
        )
        spent = time.thread_time() - begun
        check(error)
        return bytes(memoryview(out)[: length[0]]), spent

    def decode(self, message: bytes) -> tuple[Values, float]:
        """The estimate in 1/256, and the seconds."""
        size = lib.fdl_code_arena_size(self.given, self.count)
        arena, estimate = new_arena(size), bytearray(4 * self.count)
        words = ffi.from_buffer("uint8_t[]", message)
        to = ffi.from_buffer("int32_t[]", estimate)
        begun = time.thread_time()
        error = lib.fdl_decode(
            self.given, words, len(message), ffi.NULL, 0, arena, size, to, self.count
        )
        spent = time.thread_time() - begun
        check(error)
        return np.frombuffer(bytes(estimate), np.int32), spent


# By their part of a key of a loss; of a speed.
QUANTISERS = {"": lib.FDL_TRELLIS, "32_": lib.FDL_TRELLIS_32, "scalar_": lib.FDL_SCALAR}
WAYS = {"": "trellis_", "32_": "trellis_32_", "scalar_": ""}


def gaussian(seed: int, count: int = COUNT) -> Values:
    return np.rint(np.random.default_rng(seed).normal(0, 1000, count)).astype(np.int32)


def lost(values: Values, estimate: Values | Float) -> float:
    x = values.astype(np.float64)
    return float(((x - estimate / 256) ** 2).sum() / (x**2).sum())


def real_update() -> Values:
    """What a net of the digits learned, as values in one unit."""
    data, state = digits(), initial_state(LAYERS, bytes(32))
    net = Net(LAYERS, state.exponents, state.view)
    for i in range(0, EPOCHS * len(data.train) // BATCH * BATCH, BATCH):
        at = i % (len(data.train) - BATCH)
        batch = data.train[at : at + BATCH]
        net.step(batch.x.tobytes(), batch.y.tobytes(), LR_Q24, data.x_exp)
    change, _ = delta(LAYERS, state.view, net.weights())
    count = sum(layer.weight_count + layer.bias_count for layer in LAYERS)
    values, given = ffi.new("int32_t[]", count), ffi.from_buffer("uint8_t[]", change)
    array = c_layers(LAYERS, state.exponents)
    check(lib.fdl_delta_values(array, len(LAYERS), given, len(given), values, count))
    return np.frombuffer(bytes(memoryview(ffi.buffer(values))), np.int32)


def measure_losses(report: Report, name: str, draws: list[Values]) -> None:
    """Of each quantiser and rate the mean over draws, each with another seed."""
    for word, quantiser in QUANTISERS.items():
        for rate in RATES:
            losses, sizes = [], []
            for seed, values in enumerate(draws):
                code = Code.choose(quantiser, len(values), rate, seed)
                message, _ = code.encode(values)
                losses.append(lost(values, code.decode(message)[0]))
                sizes.append(len(message))
            loss, size = float(np.mean(losses)), float(np.mean(sizes))
            asked = round(len(draws[0]) * rate / 8)
            report.row(
                values=name or "gaussian", quantiser=word or "8_", rate=rate, nmse=loss,
                bytes=round(size), asked=asked,
            )  # fmt: skip
            report.figure(f"nmse_{name}{word}{rate:g}", round(loss, 5))


def excess() -> float:
    """Of the scalar quantiser at 1 bit."""
    rates = [int(rate) / 4096 for rate in ROW.findall(TABLES_C.read_text())]
    code = Code.choose(lib.FDL_SCALAR, COUNT, 1)
    size = np.mean([len(code.encode(gaussian(seed))[0]) for seed in range(SEEDS)])
    places = -(-code.kept // 16) * 16
    return float(8 * size / (places * rates[lib.FDL_SCALAR * TABLES + code.table]) - 1)


def measure_speed(report: Report) -> None:
    values = gaussian(1)
    for word, quantiser in QUANTISERS.items():
        code = Code.choose(quantiser, COUNT, 1)
        message = code.encode(values)[0]
        encode = min(code.encode(values)[1] for _ in range(REPEATS))
        decode = min(code.decode(message)[1] for _ in range(REPEATS))
        way = WAYS[word]
        report.figure(f"{way}encode_mb_s", round(4 * COUNT / encode / 1e6))
        report.figure(f"{way}decode_mb_s", round(4 * COUNT / decode / 1e6))
    report.row(isa=isa())


# --- EDEN -----------------------------------------------------------------------------------------


class Scheme(Protocol):
    """One bit a value of a vector, from float32 and back."""

    name: str

    def encode(self, values: Float) -> bytes: ...

    def decode(self, message: bytes) -> Float: ...


class Turn(NamedTuple):
    """What a vector took there and back, in seconds of CPU, and what it lost."""

    encode: float
    decode: float
    size: int
    nmse: float


def schemes(count: int) -> list[Scheme]:
    """Both of EDEN; PyTorch may not be installed."""
    found: list[Scheme] = [Eden(count)]
    if importlib.util.find_spec("torch") is None:
        print("SKIPPED: no PyTorch (extra `bench`); no ratio_eden_torch_", file=sys.stderr)
        return found
    from bench.support.eden_torch import EdenTorch

    return [*found, EdenTorch(count)]


def turn(scheme: Scheme, values: Values) -> Turn:
    given = values.astype(np.float32)
    begun = time.thread_time()
    message = scheme.encode(given)
    encoded = time.thread_time()
    estimate = scheme.decode(message)
    ended = time.thread_time()
    loss = lost(values, 256 * estimate)
    return Turn(encoded - begun, ended - encoded, len(message), loss)


def own_turn(quantiser: int, values: Values) -> Turn:
    code = Code.choose(quantiser, len(values), 1)
    message, encode = code.encode(values)
    estimate, decode = code.decode(message)
    return Turn(encode, decode, len(message), lost(values, estimate))


def beside_eden(values: Values, repeats: int) -> dict[str, Turn]:
    """Each one's medians; they take turns, so that what else the machine does falls on all."""
    others, found = schemes(len(values)), defaultdict[str, list[Turn]](list)
    for _ in range(1 + repeats):
        for word, quantiser in QUANTISERS.items():
            found[word].append(own_turn(quantiser, values))
        for scheme in others:
            found[scheme.name].append(turn(scheme, values))
    return {
        name: Turn(*(statistics.median(column) for column in zip(*turns[1:], strict=True)))
        for name, turns in found.items()
    }


def measure_eden(report: Report) -> None:
    for count in (COUNT, padded(COUNT)):
        medians = beside_eden(gaussian(1, count), TURNS)
        for name, costs in medians.items():
            report.row(
                count=count, scheme=WAYS.get(name) or name,
                encode_mb_s=4 * count / costs.encode / 1e6,
                decode_mb_s=4 * count / costs.decode / 1e6, bytes=costs.size, nmse=costs.nmse,
            )  # fmt: skip
        for key, ratio in ratios(medians).items():
            if count == COUNT:
                report.figure(key, round(ratio, 2))


def ratios(medians: dict[str, Turn]) -> dict[str, float]:
    """How many times as long EDEN takes."""
    return {
        f"ratio_{way}{name}_{what}": getattr(medians[name], what) / getattr(medians[own], what)
        for own, way in WAYS.items()
        for name in medians
        if name not in QUANTISERS
        for what in ("encode", "decode")
    }


# --- the board ------------------------------------------------------------------------------------


def run_board(code: Code, values: Values) -> list[str]:
    """What the image prints."""
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        folder = Path(name)
        (folder / "inputs.bin").write_bytes(values.tobytes())
        for file in ("classes.bin", "start.bin"):
            (folder / file).write_bytes(b"")
        constants = {
            "QUANTISER": memoryview(ffi.buffer(code.given))[0], "TABLE": code.table,
            "KEPT": code.kept, "COUNT": code.count, "SEED_LOW": 1, "SEED_HIGH": 2,
            "ROOM": code.count,
        }  # fmt: skip
        lines = [f"#define {key} {value}\n" for key, value in constants.items()]
        (folder / "code.inc").write_text("".join(lines))
        sources = (SUPPORT / "codec_board.c", SUPPORT / "data.S")
        program = Program(sources, (f"POOL_BYTES={POOL}",), (folder,), stack=STACK)
        board = boards.find("cortex-m4")
        image = toolchain.build_image(board, program, Build(), folder / "image")
        outcome = qemu.run(board, image)
    if outcome.status != 0:
        raise SystemExit(f"bench codec: {outcome.lines} {outcome.errors}")
    return outcome.lines[0].split()


def hashed(*parts: bytes) -> int:
    value = HASH
    for byte in b"".join(parts):
        value = (value ^ byte) * PRIME % 2**32
    return value


def measure_board(report: Report) -> None:
    """Of the scalar quantiser; trellises have rows."""
    values = gaussian(1, BOARD_COUNT)
    for word, quantiser in QUANTISERS.items():
        code = Code.choose(quantiser, BOARD_COUNT, BOARD_RATE)
        *numbers, said = run_board(code, values)
        encode, decode, arena, stack, size = map(int, numbers)
        message, _ = code.encode(values)
        here = hashed(message, code.decode(message)[0].tobytes())
        if (int(said, 16), size) != (here, len(message)) or code.kept < code.count:
            raise SystemExit("bench codec: another message or estimate than this machine's")
        report.row(
            core="cortex-m4", quantiser=WAYS[word] or word, encode=round(encode / BOARD_COUNT, 1),
            decode=round(decode / BOARD_COUNT, 1), arena_bytes=arena, stack_bytes=stack,
        )  # fmt: skip
        if quantiser == lib.FDL_SCALAR:
            report.figure("m4_instructions_per_parameter", round(encode / BOARD_COUNT, 1))
            report.figure("m4_decode_instructions", round(decode / BOARD_COUNT, 1))
            report.figure("m4_ram_bytes", arena + stack)


def main() -> None:
    report = Report("codec")
    measure_losses(report, "", [gaussian(seed) for seed in range(SEEDS)])
    measure_losses(report, "real_", [real_update()] * SEEDS)
    report.figure("bytes_over_entropy_excess", round(excess(), 5))
    measure_speed(report)
    measure_eden(report)
    measure_board(report)
    report.finish()


if __name__ == "__main__":
    main()
