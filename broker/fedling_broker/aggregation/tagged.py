"""Named int64 arrays in one file, read and written in blocks (the safetensors layout).

Eight bytes with the length of a header, little-endian; the header, JSON: for each array its type,
shape and place, and texts under `__metadata__`; then the arrays, one after another, little-endian.
Any tool for that format opens it; nothing in it is ever executed.
"""

import hashlib
import json
from collections.abc import Generator, Mapping
from typing import BinaryIO

import numpy as np

from fedling_broker.aggregation.fixed import Int64

MAX_HEADER = 1 << 16  # bytes
METADATA = "__metadata__"
WIDTH = 8  # bytes of a value, and what the arrays are aligned to
HASHED = 1 << 20  # bytes between two pauses


class Writer:
    """Makes a file of arrays; every value of every array has to be written, in any order."""

    def __init__(
        self, file: BinaryIO, counts: Mapping[str, int], metadata: Mapping[str, str]
    ) -> None:
        """Begin a file. counts: values of each array, in the order in which they lie in it."""
        header = _header(counts, metadata)
        self._file = file
        self._places: dict[str, int] = {}
        place = WIDTH + len(header)
        for name, count in counts.items():
            self._places[name] = place
            place += WIDTH * count
        file.write(len(header).to_bytes(WIDTH, "little") + header)

    def write(self, name: str, start: int, values: Int64) -> None:
        """Put values at a place of an array."""
        self._file.seek(self._places[name] + WIDTH * start)
        self._file.write(values.astype("<i8", copy=False).data)


class Reader:
    """Reads a file of arrays; all of its header is checked before anything else."""

    def __init__(self, file: BinaryIO) -> None:
        """Open a file. Raises ValueError on anything that Writer does not write."""
        self._file = file
        file.seek(0)
        length = int.from_bytes(file.read(WIDTH), "little")
        if not 0 < length <= MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = file.read(length)
        tags = _load(header)
        self.metadata = _texts(tags.pop(METADATA, None))
        self.counts = {name: _count(tag) for name, tag in tags.items()}
        if header != _header(self.counts, self.metadata):
            raise ValueError("a header that is not written as ours are")
        self._places: dict[str, int] = {}
        place = WIDTH + length
        for name, count in self.counts.items():
            self._places[name] = place
            place += WIDTH * count
        if file.seek(0, 2) != place:
            raise ValueError("the arrays are longer or shorter than the header says")

    def read(self, name: str, start: int, stop: int) -> Int64:
        """Read the values [start, stop) of an array. Raises ValueError if it has none there."""
        if not 0 <= start <= stop <= self.counts.get(name, -1):
            raise ValueError(f"{name} has no values {start} to {stop}")
        values = np.empty(stop - start, "<i8")
        self._file.seek(self._places[name] + WIDTH * start)
        if self._file.readinto(values.data) != values.nbytes:  # type: ignore[attr-defined]
            raise ValueError("the file ends too early")
        return values.astype(np.int64, copy=False)


def sha256(file: BinaryIO) -> Generator[None, None, bytes]:
    """Hash a whole file, in steps of about a millisecond."""
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(HASHED):
        digest.update(data)
        yield
    return digest.digest()


def _header(counts: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    """Write the header in the one way there is: no hole, no overlap, padded with spaces."""
    tags: dict[str, object] = {METADATA: dict(metadata)}
    place = 0
    for name, count in counts.items():
        end = place + WIDTH * count
        tags[name] = {"dtype": "I64", "shape": [count], "data_offsets": [place, end]}
        place = end
    header = json.dumps(tags, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % WIDTH)


def _load(header: bytes) -> dict[str, object]:
    try:
        tags = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError("a header that is not JSON") from error
    if not isinstance(tags, dict):
        raise ValueError("a header that is no JSON object")
    return tags


def _texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata that is no object of texts")
    return metadata


def _count(tag: object) -> int:
    """The values of an array; whether its tag is right in all else the header as a whole tells."""
    match tag:
        case {"shape": [int(count)]} if count >= 0:
            return int(count)
    raise ValueError("an array without a shape")
