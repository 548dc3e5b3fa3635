"""The listing of a frozen set, by which it is hashed and remembered: a row for each example."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import cbor2

from fedling_agent.data.windows import Windows
from fedling_protocol.runtime.slices import Slices

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROWS = 256  # written or read in one slice
INFLATED = 65_536  # bytes, at a time

_ARRAY = 4  # the major type of CBOR


def pieces(windows: Windows) -> Iterator[bytes]:
    """Write, in pieces, the deterministic CBOR of [[recording, first, revision, label], ...]."""
    yield _array(len(windows))
    for at in range(0, len(windows), ROWS):
        rows = [[e.recording, e.first, e.revision, e.label] for e in windows.slice(at, at + ROWS)]
        yield cbor2.dumps(rows, canonical=True)[len(_array(len(rows))) :]


def read(compressed: bytes) -> Slices[Windows]:
    """Read what pieces() wrote and zlib has compressed."""
    file = io.BufferedReader(_Inflated(compressed), INFLATED)
    count = _read_array(file)
    decoder = cbor2.CBORDecoder(file)
    windows = Windows()
    places: dict[str, int] = {}
    for number in range(count):
        name, first, revision, label = decoder.decode()
        if name not in places:
            places[name] = len(places)
            windows.names.append(name)
        windows.add(places[name], (first,), revision, label)
        if number % ROWS == ROWS - 1:
            yield
    return windows


def _array(count: int) -> bytes:
    """Write the head of a CBOR array."""
    if count < 24:
        return bytes([_ARRAY << 5 | count])
    size = next(n for n in range(4) if count < 256 ** (1 << n))
    return bytes([_ARRAY << 5 | 24 + size]) + count.to_bytes(1 << size, "big")


def _read_array(file: BinaryIO) -> int:
    short = file.read(1)[0] & 31
    return short if short < 24 else int.from_bytes(file.read(1 << short - 24), "big")


class _Inflated(io.RawIOBase):
    """Bytes that are inflated only as far as they are read."""

    def __init__(self, compressed: bytes) -> None:
        self._inflater = zlib.decompressobj()
        self._rest = compressed

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer) -> int:
        with memoryview(target) as view:
            data = self._inflater.decompress(self._rest, len(view))
            self._rest = self._inflater.unconsumed_tail
            view[: len(data)] = data
        return len(data)
