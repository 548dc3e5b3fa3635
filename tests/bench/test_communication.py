"""What the plot of accuracy against bytes shows is what devices send and receive."""

import re
from pathlib import Path

import pytest

from bench import communication
from bench.communication import LINES, LINKS, Link, moved
from bench.support.curves import Curve, Point, draw, mean
from bench.support.kernel_fleet import Fleet
from fedling_broker.aggregation.limits import Sizes

WHOLE = communication.PARAMETERS * 2 + 2 * 210  # int16 weights, int32 biases


def after_two_rounds() -> Fleet:
    """The bytes of a federation, without what it learned."""
    fleet = Fleet.__new__(Fleet)
    fleet.sizes = [100] * communication.COHORT + [300] * communication.COHORT
    fleet.changes = [7000, 5000]
    fleet.middles = [Sizes(1, 1, 1)] * 2
    return fleet


@pytest.mark.parametrize(("on_grid", "down"), [(True, 7000 + 5000), (False, 2 * WHOLE)])
def test_moved_is_of_one_device_in_each_round(on_grid: bool, down: int) -> None:
    link = Link("any", 0.1, on_grid=on_grid)
    assert moved(after_two_rounds(), link, 500) == 500 + down + 100 + 300


def test_every_link_has_a_line(tmp_path: Path) -> None:
    assert sorted(LINES) == sorted(link.name for link in LINKS)
    path = tmp_path / "all.svg"
    draw(path, {"one": {line: [Point(1e5, 0.5), Point(1e6, 0.9)] for line in LINES.values()}})
    words = re.findall(r"<text[^>]*>([^<]+)</text>", path.read_text())
    assert set(LINES.values()) <= set(words)
    with pytest.raises(ValueError, match="longer"):  # more than there are colours
        draw(path, {"one": {str(n): [Point(1e5, 0.5)] for n in range(6)}})


def test_mean_is_of_seeds_round_by_round() -> None:
    curves: list[Curve] = [[Point(10, 0.5), Point(20, 0.75)], [Point(30, 0.75), Point(40, 1)]]
    assert mean(curves) == [Point(20, 0.625), Point(30, 0.875)]


def test_draw_gives_the_same_bytes_for_the_same_points(tmp_path: Path) -> None:
    lines: dict[str, Curve] = {"few": [Point(1e5, 0.5), Point(1e6, 0.9)], "many": [Point(1e7, 0.9)]}
    panels = {"one": lines, "other": lines}
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        draw(path, panels)
    assert first.read_bytes() == second.read_bytes()
    words = re.findall(r"<text[^>]*>([^<]+)</text>", first.read_text())
    assert {"one", "other", "few", "many", "test accuracy, %"} <= set(words)
