"""The report's plots, as inline SVG."""

import io
from collections import Counter
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fedling_sim.record import Record, Sample

INK, ACCENT, SOFT, WARN, PALE = "#1f2933", "#0b7285", "#a5d8dd", "#e8590c", "#eef2f5"
AWAY = "#e03131"

# What a device does, from the bottom of the picture to its top; reasons of a run come between.
TRAINS, TALKS, NO_PLACE, DONE = "training", "asking, sending", "no place in the round", "round done"
_COLOURS = {
    TRAINS: "#0b7285",
    TALKS: "#66b2bd",
    "battery low": "#e8590c",
    "too hot": "#c2255c",
    "conditions must hold a while": "#f2b134",
    "no network": "#7048e8",
    "cut off": "#b197fc",
    NO_PLACE: "#ced4da",
    DONE: "#eef2f5",
}
_OTHER = "#868e96"
_BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1.0, 1.0),
    "frameon": False,
    "fontsize": 8,
}
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
    """Draw the test accuracy of each round's model."""
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
    """Draw who took part in which round: accepted, late, or absent."""
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
    """Draw what the devices did in each round: trained, or why not."""
    figure, axes = plt.subplots(figsize=(8.5, 3.4))
    shares = _shares(record)
    names = _ordered({name for share in shares.values() for name in share})
    floor = [0.0] * len(shares)
    for name in names:
        height = [len(record.devices) * share.get(name, 0.0) for share in shares.values()]
        colour = _COLOURS.get(name, _OTHER)
        axes.bar(list(shares), height, width=0.9, bottom=floor, color=colour, label=name)
        floor = [low + more for low, more in zip(floor, height, strict=True)]
    if names:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], **_BESIDE)
        axes.set_xlim(min(shares) - 0.6, max(shares) + 0.6)
    axes.set(
        xlabel="round",
        ylabel="devices, mean over the round",
        title="What devices did, or why they did not train",
    )
    axes.set_ylim(0, max(1, len(record.devices)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure)


def _shares(record: Record) -> dict[int, dict[str, float]]:
    """Share out, by round, the activities that devices told while it was open."""
    shares = {}
    for row in record.rounds:
        inside = [s for s in record.samples if row.opened_s <= s.second < row.closed_s]
        count = Counter(activity(sample) for sample in inside)
        shares[row.number] = {name: n / len(inside) for name, n in count.items()}
    return shares


def activity(sample: Sample) -> str:
    """Find one word for a sample, as the picture's legend has it."""
    if sample.doing == "training":
        return TRAINS
    if sample.doing == "talking" and not sample.why:
        return TALKS
    return sample.why or DONE


def _ordered(names: set[str]) -> list[str]:
    """Order activities as in _COLOURS; what is not there comes above them."""
    known = list(_COLOURS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def comings(record: Record) -> str:
    """Draw who left in mid-training, until when, and who came late."""
    names = sorted(record.devices)
    figure, axes = plt.subplots(figsize=(8.5, 0.9 + 0.2 * len(names)))
    for start, end, name in spells(record):
        axes.barh(names.index(name), end - start, left=start, height=0.6, color=AWAY, alpha=0.75)
    late = [(e.second, names.index(e.device)) for e in record.events if e.what == "late"]
    if late:
        seconds, rows = zip(*late, strict=True)
        axes.scatter(seconds, rows, color=INK, marker="x", s=18, zorder=3)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, max([s.second for s in record.samples], default=1))
    axes.set(xlabel="seconds", title="Who left in mid-training and came back, who came late")
    axes.grid(axis="x", color=PALE)
    axes.set_axisbelow(True)
    away = Patch(color=AWAY, alpha=0.75, label="away in mid-training")
    told = Line2D([], [], color=INK, marker="x", linestyle="", label="told “late”")
    axes.legend(handles=[away, told], **_BESIDE)
    return _svg(figure)


def spells(record: Record) -> list[tuple[float, float, str]]:
    """List (from, to, device) of each time that one was away in mid-training."""
    found, left = [], dict[str, float]()
    for event in record.events:
        if event.what == "left":
            left[event.device] = event.second
        elif event.what == "back" and event.device in left:
            found.append((left.pop(event.device), event.second, event.device))
    end = max([s.second for s in record.samples], default=0.0)
    return found + [(second, end, device) for device, second in left.items()]


def traffic(record: Record) -> str:
    """Draw kilobytes of each device and round, as the device counts them at its socket."""
    figure, axes = plt.subplots(figsize=(8.5, 2.8))
    rounds = max(1, len(record.rounds))
    place = range(len(record.bytes))
    down = [b.agent_down / rounds / 1000 for b in record.bytes]
    up = [b.agent_up / rounds / 1000 for b in record.bytes]
    axes.bar(place, down, color=SOFT, label="down")
    axes.bar(place, up, bottom=down, color=ACCENT, label="up")
    names = [b.device for b in record.bytes]
    axes.set_xticks(list(place), names, rotation=60, fontsize=7, ha="right", rotation_mode="anchor")
    axes.set(ylabel="kB a round", title="Bytes of each device, mean of the rounds")
    axes.legend(**_BESIDE)
    return _svg(figure)


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    axes.legend(handles=handles, **_BESIDE)


def _svg(figure: Figure) -> str:
    """Make an <svg> element of a figure and close it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = file.getvalue()
    return text[text.index("<svg") :]
