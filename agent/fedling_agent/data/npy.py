"""Arrays as numpy writes them (NPY, versions 1.0 to 3.0), a piece at a time and without numpy.

What is in such a file is looked at and never run: a header is a Python literal of a few words, and
what numpy would hand to pickle is refused.
"""

import ast
import codecs
import re
import struct
from collections.abc import Iterator
from math import prod
from typing import Literal, Protocol

from fedling_agent.data.fields import shown
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 4096  # bytes; numpy's own are 118, or 128
MOST_AXES = 3
LONGEST_TEXT = 1024  # characters of an item
BLOCK = 65_536  # bytes, read at once
TURNED = 32 * 2**20  # bytes of an array in Fortran's order: it is read whole, then turned

TEXT = "U"
FLOATS = "efd"
_CODES = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
          "f2": "e", "f4": "f", "f8": "d"}  # fmt: skip
_UNITS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of moves
# codecs.lookup() opens a module: not when root has become a user who may not read where it lies.
_DECODE = {"<": codecs.getdecoder("utf-32-le"), ">": codecs.getdecoder("utf-32-be")}
_TEXT = re.compile(r"U[0-9]{1,9}").fullmatch
_WORDS = {
    "O": "an array of objects, which are pickles and are never opened: save texts with"
    " .astype(str), numbers with .astype(float)",
    "S": "an array of bytes: save it with .astype(str)",
    "V": "an array of records: save each field as an array of its own",
    "M": "an array of dates: save it with .astype('datetime64[ns]').astype('int64')",
}
_ALLOWED = "allowed: int8 to int64, uint8 to uint64, float16 to float64, and str"

Value = int | float | str


class Reader(Protocol):
    """Bytes, one after the other."""

    def read(self, count: int, /) -> bytes:
        """Read so many bytes; fewer only at the end."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an array is."""

    code: str  # of an item, as struct calls it; TEXT
    order: str  # of its bytes: "<" or ">"
    size: int  # of an item, bytes
    fortran: bool  # the first axis runs fastest
    shape: tuple[int, ...]
    begin: int  # of its data, bytes

    @property
    def bytes(self) -> int:
        """How many bytes of data there are."""
        return prod(self.shape) * self.size


def read_header(file: Reader, title: str) -> Header:
    """Read up to the data. title: of the array, for errors. Raises BadInput."""
    start = file.read(8)
    if len(start) < 8 or not start.startswith(MAGIC):
        raise BadInput(f"{title}: is no array: it does not begin as numpy's files do")
    version = start[6]
    if version not in (1, 2, 3):
        raise BadInput(f"{title}: is written in version {version} of NPY: allowed: 1, 2, 3")
    width = 2 if version == 1 else 4
    length = int.from_bytes(_exactly(file, width, title), "little")
    if length > LONGEST_HEADER:
        raise BadInput(f"{title}: a header of {length} bytes: allowed: {LONGEST_HEADER}")
    raw = _exactly(file, length, title)
    fields = _literal(raw.decode("utf-8" if version == 3 else "latin-1", "replace"), title)
    fortran, shape = fields["fortran_order"], fields["shape"]
    if type(fortran) is not bool or not _is_shape(shape):
        raise BadInput(f"{title}: its header is damaged: save it again")
    assert isinstance(shape, tuple)
    if len(shape) > MOST_AXES:
        raise BadInput(f"{title}: shape {shape}: allowed: {MOST_AXES} axes")
    code, order, size = _dtype(fields["descr"], title)
    header = Header(code, order, size, fortran and len(shape) > 1, shape, 8 + width + length)
    if header.fortran and (code == TEXT or header.bytes > TURNED):
        words = f"Fortran's order, of more than {TURNED // 2**20} MiB or of texts"
        raise BadInput(f"{title}: is in {words}: save it with numpy.ascontiguousarray()")
    return header


def read_rows(file: Reader, header: Header, width: int, title: str) -> Iterator[tuple[Value, ...]]:
    """Read items in C's order, so many of them each time. file: at the data. Raises BadInput."""
    blocks = _turned if header.fortran else _blocks
    for block in blocks(file, header, width, title):
        values = _values(header, block)
        for first in range(0, len(values), width):
            yield values[first : first + width]


def _blocks(file: Reader, header: Header, width: int, title: str) -> Iterator[bytes]:
    row, left = width * header.size, header.bytes
    while left:
        block = _exactly(file, min(left, max(row, BLOCK // row * row)), title)
        left -= len(block)
        yield block


def _turned(file: Reader, header: Header, width: int, title: str) -> Iterator[bytes]:
    """Give rows of the last axis, or parts of them, of an array whose first axis runs fastest."""
    data = b"".join(_blocks(file, header, 1, title))
    items, shape = memoryview(data).cast(_UNITS[header.size]), header.shape
    outer, step = shape[:-1], prod(shape[:-1])
    for number in range(step if data else 0):
        first, stride, rest = 0, step, number
        for axis in reversed(outer):
            stride //= axis
            rest, place = divmod(rest, axis)
            first += place * stride
        yield items[first::step].tobytes()


def _values(header: Header, data: bytes) -> tuple[Value, ...]:
    size = header.size
    if header.code != TEXT:
        return struct.unpack(f"{header.order}{len(data) // size}{header.code}", data)
    items = (data[at : at + size] for at in range(0, len(data), size))
    return tuple(_DECODE[header.order](item, "replace")[0].rstrip("\0") for item in items)


def _exactly(file: Reader, count: int, title: str) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise BadInput(f"{title}: ends too early: it is damaged, or was not written to its end")
    return data


def _literal(text: str, title: str) -> dict[str, object]:
    """Read a header's three words. The text is bounded, and is a literal or is nothing."""
    try:
        fields = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise BadInput(f"{title}: its header is damaged: save it again")
    return fields


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in shape)


def _dtype(descr: object, title: str) -> tuple[str, str, int]:
    """Tell code, order and size of an item. Raises BadInput."""
    if isinstance(descr, list):
        raise BadInput(f"{title}: is {_WORDS['V']}")
    text = descr if isinstance(descr, str) else ""
    order, kind = (text[0], text[1:]) if text[:1] in tuple("<>|=") else ("<", text)
    order = ">" if order == ">" else "<"
    if kind in _CODES:
        return _CODES[kind], order, int(kind[1])
    if _TEXT(kind) and 1 <= int(kind[1:]) <= LONGEST_TEXT:
        return TEXT, order, 4 * int(kind[1:])
    if kind[:1] in _WORDS:
        raise BadInput(f"{title}: is {_WORDS[kind[:1]]}")
    raise BadInput(f"{title}: dtype {shown(descr)}: {_ALLOWED}")
