"""Energy of an instruction, by core: assumed from what makers say of a chip, never measured."""

from fedling_protocol.classes import dataclass


@dataclass(frozen=True, slots=True)
class Assumption:
    """A chip that runs from its flash, and how its core is thought to fare with this code."""

    chip: str
    volts: float
    microamperes: float  # a MHz, as its maker says
    cycles: float  # an instruction: a guess, nobody counted cycles

    @property
    def picojoules(self) -> float:
        """The energy of an instruction in picojoules."""
        return self.volts * self.microamperes * self.cycles

    def __str__(self) -> str:
        return (
            f"{self.chip}: {self.microamperes:g} µA/MHz at {self.volts:g} V,"
            f" {self.cycles:g} cycles an instruction"
        )


ASSUMPTIONS = {
    "cortex-m0": Assumption("nRF51822", 3.0, 275, 1.5),
    "cortex-m3": Assumption("EFM32 Gecko", 3.0, 180, 1.5),
    "cortex-m4": Assumption("nRF52840", 3.0, 52, 1.5),
    "cortex-m7": Assumption("STM32H743", 3.3, 275, 1.0),  # two instructions a cycle at best
    "cortex-m33": Assumption("STM32U585", 3.3, 19.5, 1.5),
    "cortex-m55": Assumption("as for a Cortex-M33", 3.3, 19.5, 1.0),
}
