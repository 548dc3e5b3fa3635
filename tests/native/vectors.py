"""The golden vectors as the self-test of boards reads them: firmware_sim/firmware/selftest.

    python -m tests.native.vectors

writes those that fit a board of 16 KB of RAM and 256 KB of flash into the self-test's vectors.bin.
"""

import base64
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any
from zlib import crc32

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SMALL = ROOT / "firmware_sim/firmware/selftest/vectors.bin"

MOST_BODY = 2048  # bytes, of a small case: all of them leave code room in 256 KB of flash

Json = dict[str, Any]


class Kind(IntEnum):
    """KINDS of the self-test's main.c."""

    STEPS = 0
    PREDICTIONS = 1
    TRAINING = 2
    NORMALISATION = 3
    DELTA = 4
    ROUNDING = 5
    LOSSES = 6


@dataclass(frozen=True)
class Case:
    """One case.

    body:    its data, as the function for its kind reads them
    results: what the kernel must give, as bytes in the order in which the self-test adds them
    small:   whether it is one for boards
    """

    name: str
    kind: Kind
    body: bytes
    results: bytes
    small: bool

    @property
    def value(self) -> int:
        return crc32(self.results)

    def packed(self) -> bytes:
        name = packed_bytes(self.name.encode() + b"\0")
        return name + numbers(self.value, self.kind) + self.body


def vectors(cases: Sequence[Case]) -> bytes:
    """The file for these cases."""
    return numbers(len(cases)) + b"".join(case.packed() for case in cases)


def all_cases() -> list[Case]:
    """Every golden vector that a device computes."""
    readers = (trainings, steps, predictions, normalisations, deltas, rounding, losses)
    return [case for reader in readers for case in reader()]


def small_cases() -> list[Case]:
    return [case for case in all_cases() if case.small]


# --- Words and bytes --------------------------------------------------------------------------


def numbers(*values: int) -> bytes:
    """Words of 32 bits: int32 or uint32, the reader knows which."""
    assert all(-(2**31) <= value < 2**32 for value in values)
    return b"".join(struct.pack("<I", value & 0xFFFFFFFF) for value in values)


def packed_bytes(data: bytes) -> bytes:
    return numbers(len(data)) + data + bytes(-len(data) % 4)


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def integers(form: str, text: str) -> list[int]:
    """An array of a golden file; form: the letter of struct for its type."""
    data = decoded(text)
    return list(struct.unpack(f"<{len(data) // struct.calcsize(form)}{form}", data))


def read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def model(case: Json) -> bytes:
    layers = zip(case["exponents"], case["layers"], strict=True)
    fields = [field for exponent, layer in layers for field in (exponent, *layer)]
    shorts = struct.pack(f"<{len(fields)}h", *fields)
    return numbers(case["loss"], len(case["layers"])) + packed_bytes(shorts)


# --- The files --------------------------------------------------------------------------------


def trainings() -> Iterator[Case]:
    for case in read("training.json"):
        done = case["checksums"]
        body = [
            model(case),
            numbers(case["x_exp"], case["seed"], case["classes"], case["run"]),
            packed_bytes(numbers(*case["limits"])),
            packed_bytes(numbers(*case["sizes"])),
            numbers(case["momentum"] > 0, *rates(case), *case["pull"]),
            numbers(len(done), *(count for count, _ in done)),
        ]
        results = [*(checksum for _, checksum in done), *case["labels"], case["outputs"]]
        name = f"{case['name']}, {done[-1][0]} steps"
        yield Case(name, Kind.TRAINING, b"".join(body), numbers(*results), case["small"])


def rates(step: Json) -> tuple[int, int, int, int]:
    return step["lr"], step["clip"], step["momentum"], step["frozen"]


def steps() -> Iterator[Case]:
    for case in read("steps.json"):
        before, velocities = decoded(case["before"]), any(s["momentum"] for s in case["steps"])
        body = model(case) + numbers(case["x_exp"]) + packed_bytes(before)
        body += numbers(velocities, len(case["steps"]))
        for step in case["steps"]:
            body += numbers(*rates(step), step["pull"], step["n"])
            body += packed_bytes(decoded(step["x"])) + packed_bytes(decoded(step["targets"]))
        results = numbers(*(s["checksum"] for s in case["steps"])) + decoded(case["after"])
        yield Case(case["name"], Kind.STEPS, body, results, len(body) <= MOST_BODY)


def predictions() -> Iterator[Case]:
    for case in read("predict.json"):
        weights, x, n = decoded(case["weights"]), decoded(case["x"]), case["n"]
        outputs = decoded(case["outputs"])
        body = model(case) + numbers(case["x_exp"]) + packed_bytes(weights) + numbers(n)
        body += b"".join(packed_bytes(example) for example in pieces(x, n))
        rows = zip(pieces(outputs, n), case["labels"], strict=True)
        results = b"".join(row + numbers(label) for row, label in rows)
        yield Case(case["name"], Kind.PREDICTIONS, body, results, len(body) <= MOST_BODY)


def pieces(data: bytes, n: int) -> list[bytes]:
    size = len(data) // n
    return [data[i : i + size] for i in range(0, len(data), size)]


def normalisations() -> Iterator[Case]:
    for case in read("normalise.json"):
        body = numbers(case["channels"]) + packed_bytes(decoded(case["counts"]))
        fitted = zip(case["mean"], case["mantissa"], case["shift"], strict=True)
        results = numbers(*(x for channel in fitted for x in channel)) + decoded(case["q"])
        yield Case(f"normalise {case['name']}", Kind.NORMALISATION, body, results, True)


def deltas() -> Iterator[Case]:
    for case in read("delta.json"):
        body = model(case) + packed_bytes(decoded(case["before"]))
        body += packed_bytes(decoded(case["after"]))
        results = numbers(case["saturated"]) + decoded(case["stored"]) + decoded(case["bias"])
        yield Case(f"delta {case['name']}", Kind.DELTA, body, results, len(body) <= MOST_BODY)


def rounding() -> Iterator[Case]:
    case = read("rounding.json")
    body = numbers(len(case["rshift"])) + b"".join(numbers(x, s) for x, s, _ in case["rshift"])
    body += numbers(len(case["ratio"]))
    body += b"".join(struct.pack("<2Q", a, b) for a, b, *_ in case["ratio"])
    results = numbers(*(x[2] for x in case["rshift"]))
    results += numbers(*(x for row in case["ratio"] for x in row[2:]))
    yield Case("rounding", Kind.ROUNDING, body, results, True)


def losses() -> Iterator[Case]:
    """Each case as the loss that reads it: 0 softmax, 1 sigmoid, 2 squared."""
    case = read("losses.json")
    parts = ((0, "softmax", "q", "H"), (1, "sigmoid", "q", "H"), (2, "values", "v", "i"))
    for loss, name, key, form in parts:
        for part in case[name]:
            z, results = integers("i", part["z"]), integers(form, part[key])
            outputs = part.get("classes", len(z))
            body = numbers(loss, part["z_exp"], outputs, len(z) // outputs, *z)
            title = f"{name} of exponent {part['z_exp']}"
            yield Case(title, Kind.LOSSES, body, numbers(*results), len(body) <= MOST_BODY)


def main() -> int:
    cases = small_cases()
    SMALL.write_bytes(vectors(cases))
    print(f"{SMALL.relative_to(ROOT)}: {len(cases)} cases, {SMALL.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
