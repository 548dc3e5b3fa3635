"""Labels that no task wants, and what was meant."""

import pytest

from fedling_agent.commands.labels import nearest, unwanted


@pytest.mark.parametrize(
    ("label", "wanted", "expected"),
    [
        ("Setosa", ["setosa", "virginica"], "setosa"),
        ("iris-versicolor", ["versicolor", "setosa"], "versicolor"),
        ("WALK", ["walk", "run"], "walk"),
        ("1.0", ["0", "1"], "1"),
        ("knok", ["knock", "wave"], "knock"),
        ("cafe", ["caf\u00e9", "bar"], "caf\u00e9"),
        ("xyz", ["walk", "run"], None),
    ],
)
def test_nearest(label: str, wanted: list[str], expected: str | None) -> None:
    assert nearest(label, wanted) == expected


def test_unwanted_are_told_with_their_samples() -> None:
    here = {"walk": 300, "Run": 20, "jump": 0, "fly": 1}
    assert unwanted(here, ["walk", "run"]) == [
        {"label": "Run", "samples": 20, "nearest": "run"},
        {"label": "fly", "samples": 1, "nearest": None},
    ]
    assert unwanted(here, []) == []
