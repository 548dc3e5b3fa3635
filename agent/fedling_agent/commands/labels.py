"""Labels that are here and that no task wants: most often wanted ones, written otherwise."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

SHOWN = 8
ALIKE = 0.5  # "1.0" is like "1"


def unwanted(here: Mapping[str, int], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """List them, each with its nearest wanted label; none if no task is known."""
    if not wanted:
        return []
    others = [label for label, samples in here.items() if samples and label not in wanted]
    return [
        {"label": label, "samples": here[label], "nearest": nearest(label, wanted)}
        for label in others[:SHOWN]
    ]


def nearest(label: str, wanted: Sequence[str]) -> str | None:
    """Find the wanted label that is most like this one, whatever the case."""
    cases = {other.casefold(): other for other in wanted}
    found = get_close_matches(label.casefold(), cases, n=1, cutoff=ALIKE)
    return cases[found[0]] if found else None
