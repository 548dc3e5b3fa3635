"""What code, stack and instructions cost on a core: measured, kept in board_costs.json.

bench/board_costs.py writes the file: python -m bench.board_costs
"""

import json
from collections.abc import Mapping
from pathlib import Path

from fedling_protocol.classes import dataclass

FILE = Path(__file__).parent / "board_costs.json"


class CostsMissing(LookupError):
    """A core that was not measured. Says which were."""


@dataclass(frozen=True, slots=True)
class Structs:
    """Sizes of C structures on a 32-bit target, in bytes."""

    part: int  # struct fdl_part
    layer: int  # struct fdl_layer


@dataclass(frozen=True, slots=True)
class Costs:
    """What code, stack and instructions cost on one core."""

    isa: str  # the inner loops that it runs
    code: Mapping[str, float]  # bytes of flash, by the name of flash.code_parts()
    stack: Mapping[str, int]  # bytes, by the name of work.updates()
    instructions: Mapping[str, float]  # by the name of work.terms()


@dataclass(frozen=True, slots=True)
class CostTable:
    """The costs of all cores that were measured."""

    compiler: str  # with its version and options
    structs: Structs
    cores: Mapping[str, Costs]

    def of(self, core: str) -> Costs:
        """Find the costs of a core. Raises CostsMissing."""
        if core not in self.cores:
            known = ", ".join(self.cores)
            raise CostsMissing(f"{core}: no costs were measured; there are those of {known}")
        return self.cores[core]


def load(file: Path = FILE) -> CostTable:
    """Read the table beside this module."""
    values = json.loads(file.read_text())
    cores = {name: Costs(**costs) for name, costs in values["cores"].items()}
    return CostTable(values["compiler"], Structs(**values["structs"]), cores)
