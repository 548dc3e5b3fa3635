"""How the vector of an update becomes bytes: a codec's word on the wire."""

from enum import StrEnum


class Codec(StrEnum):
    """What plans ask for and updates say."""

    RAW_INT16 = "raw int16"
    CODED = "coded"  # an estimate in few bytes (NUMERICS.md section 10)
    SUMS = "sums"  # of statistics (sums.py)
