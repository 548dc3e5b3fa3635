"""Bytes as they come, in pieces of any size, to whole lines of text."""

from fedling_protocol.disk.errors import BadInput

MAX_ROW = 65_536  # bytes

_OTHERS = (  # how a file begins that is no text for us: what it is, what to do
    (b"\x1f\x8b", "compressed with gzip: unpack it (zcat FILE | fedling-agent ...)"),
    (
        b"PK\x03\x04",
        "a ZIP archive: save a table of an office program as CSV; arrays of numpy are ingested from"
        " a file that is called .npz",
    ),
    (b"\x93NUMPY", "an array of numpy: it is ingested from a file that is called .npy"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
)


class Lines:
    """Cuts an input into lines; one that is far too long comes cut off, in bounded memory."""

    def __init__(self) -> None:
        self.count = 0  # lines that were given out
        self.empty = True  # nothing but space has come
        self._rest = bytearray()  # of the line that is not complete
        self._begun = False  # the first line was looked at

    @property
    def pending(self) -> bool:
        """Whether a line has begun that is not complete."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now. Raises BadInput if it is no text at all."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = bytes(self._rest) + whole[0]
            self._rest.clear()
        room = MAX_ROW + 1 - len(self._rest)
        self._rest += rest[: max(0, room)]
        if len(self._rest) > MAX_ROW:
            self._look(self._rest)  # a line break may never come
        return [self._line(raw + b"\n") for raw in whole]

    def end(self) -> list[str]:
        """A last line that no line break ended."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [self._line(rest)] if rest else []

    def _line(self, raw: bytes) -> str:
        self._look(raw)
        self.count += 1
        self.empty = self.empty and not raw.strip()
        return raw[: MAX_ROW + 1].decode(errors="replace")

    def _look(self, raw: bytes | bytearray) -> None:
        """Look at what comes first: is it text at all?"""
        if not self._begun:
            _check_text(raw)
            self._begun = True


def _check_text(raw: bytes | bytearray) -> None:
    for magic, words in _OTHERS:
        if raw.startswith(magic):
            raise BadInput(f"this is {words}")
    if b"\0" in raw:
        raise BadInput("this is no text: it has zero bytes; CSV or NDJSON in UTF-8 is read")
    if b"\r" in raw.strip(b"\r\n") and "\ufffd" not in raw.decode(errors="replace"):
        raise BadInput("its lines end with CR alone: make them end with LF (tr '\\r' '\\n' <FILE)")
