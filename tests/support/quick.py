"""Which cases of a matrix `make test` runs; the others are for `make test-long`."""

from collections.abc import Iterable

import pytest
from _pytest.mark.structures import ParameterSet


def quick(chosen: Iterable[str], *every: Iterable[str]) -> list[ParameterSet]:
    """Parameters, one a case: those chosen are quick, all others long."""
    short = set(chosen)
    cases = sorted({*short, *(case for cases in every for case in cases)})
    return [pytest.param(case, marks=() if case in short else pytest.mark.long) for case in cases]
