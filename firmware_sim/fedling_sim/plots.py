"""The report's plots, as inline SVG."""

import io
from collections import Counter

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedling_sim.record import Record

INK, ACCENT, SOFT, WARN, PALE = "#1f2933", "#0b7285", "#a5d8dd", "#e8590c", "#eef2f5"
_REASON_COLOURS = ("#e8590c", "#f2b134", "#7048e8", "#0b7285", "#868e96", "#c2255c", "#5c940d")
mpl.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.edgecolor": "#9aa5b1",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": "fedling",  # the same record gives the same bytes
    }
)


def accuracy(record: Record) -> str:
    """Test accuracy of each round's model."""
    figure, axes = plt.subplots(figsize=(8.5, 3.2))
    points = [(r.number, 100 * r.accuracy) for r in record.rounds if r.accuracy is not None]
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=ACCENT, marker="o", markersize=3.5, linewidth=1.8)
        axes.annotate(f"{y[-1]:.1f} %", (x[-1], y[-1]), (4, 6), textcoords="offset points")
    axes.set(xlabel="round", ylabel="test accuracy, %", title="Accuracy of the shared model")
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color=PALE)
    return _svg(figure)


def participation(record: Record) -> str:
    """Who took part in which round: accepted, late, or absent."""
    figure, axes = plt.subplots(figsize=(8.5, 0.9 + 0.2 * len(record.devices)))
    grid = [
        [2 if d in r.accepted else 1 if d in r.late else 0 for r in record.rounds]
        for d in record.devices
    ]
    if record.rounds:
        edges = [r.number - 0.5 for r in record.rounds]
        edges.append(record.rounds[-1].number + 0.5)
        colours = ListedColormap([PALE, WARN, ACCENT])
        rows = range(len(record.devices) + 1)
        mesh = axes.pcolormesh(edges, rows, grid, cmap=colours, vmin=0, vmax=2)
        mesh.set_edgecolor("white")
    axes.invert_yaxis()
    axes.set_yticks([i + 0.5 for i in range(len(record.devices))], record.devices, fontsize=7)
    axes.set(xlabel="round", title="Who took part")
    _legend(axes, {"accepted": ACCENT, "late": WARN, "absent": PALE})
    return _svg(figure)


def reasons(record: Record) -> str:
    """How many devices could not train at each moment, by reason."""
    figure, axes = plt.subplots(figsize=(8.5, 3.0))
    common = [w for w, _ in Counter(s.why for s in record.samples if s.why).most_common(7)]
    seconds = sorted({round(s.second) for s in record.samples})
    count = Counter((round(s.second), s.why) for s in record.samples)
    if common:
        series = [[count[second, why] for second in seconds] for why in common]
        axes.stackplot(seconds, series, labels=common, colors=_REASON_COLOURS, step="mid")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    axes.set(xlabel="seconds", ylabel="devices", title="Why devices did not train")
    axes.set_ylim(0, max(1, len(record.devices)))
    return _svg(figure)


def traffic(record: Record) -> str:
    """Kilobytes of each device and round, as the device counts them at its socket."""
    figure, axes = plt.subplots(figsize=(8.5, 2.8))
    rounds = max(1, len(record.rounds))
    place = range(len(record.bytes))
    down = [b.agent_down / rounds / 1000 for b in record.bytes]
    up = [b.agent_up / rounds / 1000 for b in record.bytes]
    axes.bar(place, down, color=SOFT, label="down")
    axes.bar(place, up, bottom=down, color=ACCENT, label="up")
    names = [b.device[:6] for b in record.bytes]
    axes.set_xticks(list(place), names, rotation=60, fontsize=7)
    axes.set(ylabel="kB a round", title="Bytes of each device, mean of the rounds")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return _svg(figure)


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element; closes the figure."""
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = file.getvalue()
    return text[text.index("<svg") :]
