"""What fills the flash of an image: read from the map that the linker writes beside it."""

import re
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from fedling_protocol.classes import dataclass

IN_FLASH = (".text", ".data")  # sections of board.ld; .data waits there for the start

# " .text.name  0x00001234  0x56 object", where the name may have a line of its own
_PIECE = re.compile(r"^ (\.\S+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE)


class Part(StrEnum):
    """Whose part of the flash a piece is."""

    KERNEL = "kernel"
    LIBRARY = "library"  # what compilers call unasked: libgcc, memcpy and the like
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Piece:
    """A section of an object file that the linker kept."""

    section: str
    object: str  # a path as the linker saw it, or "path/libgcc.a(name.o)"
    size: int  # bytes

    @property
    def part(self) -> Part:
        if ".a(" in self.object or self.section.startswith(".text.mem"):
            return Part.LIBRARY
        return Part.KERNEL if Path(self.object).parent.name == "kernel" else Part.PROGRAM


def flash_by_part(image: Path) -> Counter[str]:
    """Count the bytes of each part of an image."""
    found: Counter[str] = Counter()
    for piece in in_flash(image):
        found[piece.part] += piece.size
    return found


def in_flash(image: Path) -> Iterator[Piece]:
    """List all pieces of an image that build_image() or link() made."""
    text = image.with_suffix(".map").read_text()
    _, _, kept = text.partition("\nLinker script and memory map\n")
    for output in re.split(r"^(?=\.)", kept, flags=re.MULTILINE)[1:]:
        if output.split(maxsplit=1)[0] in IN_FLASH:
            for section, size, file in _PIECE.findall(output):
                yield Piece(section, file, int(size, 16))
