"""A picture of what accuracy costs in bytes: a panel a split of the data, a line a way to send."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "fedling",  # the same points give the same bytes
    }
)
COLOURS = ("#868e96", "#0b7285", "#e8590c", "#7048e8", "#2f9e44")


class Point(NamedTuple):
    """Where a federation is after some rounds."""

    size: float  # bytes that a device has sent and received up to now
    accuracy: float


Curve = Sequence[Point]


def mean(curves: Sequence[Curve]) -> Curve:
    """Of seeds, round by round."""
    return [Point(*column) for column in np.mean(np.array(curves), axis=0).tolist()]


def draw(path: Path, panels: Mapping[str, Mapping[str, Curve]]) -> None:
    """Write an SVG. panels: by title, of curves by what their line is called."""
    size = (3.6 * len(panels) + 2, 3.2)
    figure, found = plt.subplots(
        1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (title, curves) in zip(found[0], panels.items(), strict=True):
        colours = COLOURS[: len(curves)]
        for colour, (name, curve) in zip(colours, curves.items(), strict=True):
            sizes = [point.size / 1e6 for point in curve]
            shares = [100 * point.accuracy for point in curve]
            axes.plot(sizes, shares, color=colour, label=name, linewidth=1.5)
        axes.set(xscale="log", xlabel="MB of a device, both ways", title=title)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(color="#eef2f5")
    found[0][0].set(ylabel="test accuracy, %")
    figure.legend(
        *found[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False
    )
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
