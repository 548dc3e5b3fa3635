"""The boards that images are built for: each a Cortex-M core with a machine of QEMU's."""

from fedling_protocol.classes import dataclass

KIB = 1024
MIB = 1024 * KIB


class NoSuchBoard(ValueError):
    """A board or core that is not in the table."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A run of addresses, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Board:
    """A board that images are built for and QEMU plays."""

    name: str  # as QEMU names its machine
    core: str
    flags: tuple[str, ...]  # of gcc and clang: the core and its floating-point unit
    flash: Memory  # where the core finds its vector table after reset
    ram: Memory


def _soft(core: str) -> tuple[str, ...]:
    return (f"-mcpu={core}", "-mfloat-abi=soft")


def _hard(core: str, fpu: str) -> tuple[str, ...]:
    return (f"-mcpu={core}", f"-mfpu={fpu}", "-mfloat-abi=hard")


# Arm's FPGA boards (MPS2) of the first kind have 4 MB of code memory and 4 MB of data memory; those
# with a security extension start in the secure state, whose addresses begin with 1 and 3.
_MPS2_FLASH = Memory(0x0000_0000, 4 * MIB)
_MPS2_RAM = Memory(0x2000_0000, 4 * MIB)

BOARDS = (
    Board(
        "microbit",
        "cortex-m0",
        _soft("cortex-m0"),
        Memory(0x0000_0000, 256 * KIB),
        Memory(0x2000_0000, 16 * KIB),
    ),
    Board("mps2-an385", "cortex-m3", _soft("cortex-m3"), _MPS2_FLASH, _MPS2_RAM),
    Board("mps2-an386", "cortex-m4", _hard("cortex-m4", "fpv4-sp-d16"), _MPS2_FLASH, _MPS2_RAM),
    Board("mps2-an500", "cortex-m7", _hard("cortex-m7", "fpv5-d16"), _MPS2_FLASH, _MPS2_RAM),
    Board(
        "mps2-an505",
        "cortex-m33",
        _hard("cortex-m33", "fpv5-sp-d16"),
        Memory(0x1000_0000, 4 * MIB),
        Memory(0x3800_0000, 4 * MIB),
    ),
    Board(
        "mps3-an547",
        "cortex-m55",
        ("-mcpu=cortex-m55", "-mfloat-abi=hard"),  # its vector unit comes with it
        Memory(0x0000_0000, 512 * KIB),
        Memory(0x2000_0000, 512 * KIB),
    ),
)


def find(name: str) -> Board:
    """Find a board by its name or its core. Raises NoSuchBoard."""
    for board in BOARDS:
        if name in (board.name, board.core):
            return board
    known = ", ".join(f"{board.name} ({board.core})" for board in BOARDS)
    raise NoSuchBoard(f"{name}: allowed: {known}")
