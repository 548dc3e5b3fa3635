"""One HTML page about a run: self-contained, to be looked at."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from fedling_sim import plots, summary
from fedling_sim.record import Record

FILE = "report.html"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } .sub { color: #616e7c; margin-top: 0 }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.5rem 0 }
.figure { background: #eef2f5; border-radius: .5rem; padding: .7rem 1rem; flex: 1 1 8rem }
.figure b { display: block; font-size: 1.5rem; color: #0b7285 }
svg { width: 100%; height: auto; margin: .5rem 0 1.2rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem } td, th { text-align: left; padding: .25rem .6rem }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } tr:nth-child(even) { background: #f7f9fa }
ul { list-style: none; padding: 0 } li.good { color: #2b8a3e } li.bad { color: #c92a2a; font-weight: 600 }
.wide { overflow-x: auto } details { margin: 1rem 0 } summary { cursor: pointer; font-weight: 600 } code { font-size: .85em }
"""  # noqa: E501  # style sheets read best a rule a line


def write(record: Record, directory: Path) -> Path:
    """Write the report of `record` into `directory`; returns the file."""
    path = directory / FILE
    path.write_text(page(record))
    return path


def page(record: Record) -> str:
    """Make the report as HTML. Every text that came from outside is escaped."""
    title = f"{escape(record.task)}: {len(record.devices)} devices, {len(record.rounds)} rounds"
    pictures = (plots.participation, plots.reasons, plots.comings, plots.traffic)
    return "\n".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
            '<meta name=viewport content="width=device-width">',
            f"<style>{_STYLE}</style><h1>{title}</h1>",
            f"<p class=sub>seed {record.seed}, {record.learning_s:.0f} s of learning, "
            f"{record.parameters:,} parameters, {record.test_windows} test windows that no device "
            "has ever stored.</p>",
            _learned(record),
            _figures(record),
            _soundness(record),
            _notes(record),
            plots.accuracy(record),
            _devices(record),
            _confusion(record),
            *(picture(record) for picture in pictures),
            _rounds(record),
            _bytes(record),
            _events(record),
            _next(record),
            "</html>\n",
        ]
    )


def _learned(record: Record) -> str:
    """Say what was learned, and compare it with guessing and with learning alone."""
    labels = ", ".join(record.tests_by_label)
    sentences = [f"{len(record.devices)} devices learned together to tell apart: {labels}."]
    if record.interrupted:
        sentences.append("The run was interrupted; this is what was done until then.")
    sentences.append(f"The shared model: {summary.accuracy(record)}.")
    if compared := summary.alone(record):
        sentences.append(f"Alone: {compared}.")
    if guessed := summary.guessing(record):
        sentences.append(f"Guessing: {guessed}.")
    if record.example:
        sentences.append(f"For example {record.example}.")
    return f"<p>{escape(' '.join(sentences))}</p>"


def _notes(record: Record) -> str:
    lines = "".join(f"<li>note: {escape(note)}" for note in record.notes)
    return f"<ul>{lines}</ul>" if lines else ""


def _figures(record: Record) -> str:
    accuracy = record.last_accuracy
    figures = {
        "test accuracy": _percent(accuracy) if accuracy is not None else "not tested",
        "a device alone": _percent(record.alone_on_all) or "not tested",
        "mean participation": f"{100 * record.participation:.0f} %",
        "devices left in mid-training and came back": str(len(record.came_back)),
        "updates told “late”": str(sum(len(r.late) for r in record.rounds)),
        "kB a device and round": f"{record.bytes_a_round / 1000:.0f}",
        "bytes an update": f"{record.bytes_an_update:,.0f}",
    }
    cells = (f"<div class=figure><b>{value}</b>{name}</div>" for name, value in figures.items())
    return f"<div class=figures>{''.join(cells)}</div>"


def _soundness(record: Record) -> str:
    """Tell what the audit and the accounts found."""
    lines = []
    accounts = "" if record.interrupted else record.accounts
    for good, text in ((record.verified_well, record.verified), (not record.faults, accounts)):
        mark, kind = ("✓", "good") if good else ("✗", "bad")
        if text:
            lines.append(f"<li class={kind}>{mark} {escape(text)}")
    return f"<ul>{''.join(lines)}</ul>"


def _devices(record: Record) -> str:
    """Show each device: what it has, how right it is with and without the others."""
    alone = {row.device: row for row in record.alone}
    rows = [
        (
            name,
            f"{record.training_by_device.get(name, 0):,}",
            f"{record.tests_by_device.get(name, 0):,}",
            _percent(record.accuracy_by_device.get(name)),
            _percent(alone[name].own if name in alone else None),
            _percent(alone[name].all if name in alone else None),
        )
        for name in record.devices
    ]
    head = (
        "device",
        "windows to train on",
        "test windows",
        "together",
        "alone",
        "alone, on all windows",
    )
    return _table("Accuracy of each device", head, rows, unfolded=True)


def _confusion(record: Record) -> str:
    """Show which label was said of windows of which label."""
    labels = list(record.tests_by_label)
    rows = []
    for label in labels:
        told = record.confusion.get(label, {})
        right, count = told.get(label, 0), sum(told.values())
        share = _percent(right / count) if count else "not tested"
        rows.append((label, *(str(told[said]) if said in told else "" for said in labels), share))
    title = "What the final model says (columns) of windows of each label (rows)"
    return _table(title, ("label", *labels, "right"), rows, unfolded=True)


def _next(record: Record) -> str:
    """Say what one could do now."""
    steps = (
        f"fedling-sim run TASK --seed {record.seed + 1}: other days, other first weights",
        "your own CSV files instead of these: docs/simulation.md",
        "real devices: README.md, “On real machines”",
    )
    return "<h2>Next</h2><ul>" + "".join(f"<li>{escape(step)}" for step in steps) + "</ul>"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _rounds(record: Record) -> str:
    rows = [
        (
            str(r.number),
            f"{r.closed_s - r.opened_s:.1f}",
            f"{len(r.accepted)} / {r.goal}",
            str(len(r.late)),
            "" if r.accuracy is None else f"{100 * r.accuracy:.1f}",
        )
        for r in record.rounds
    ]
    head = ("round", "seconds", "accepted / goal", "late", "test accuracy, %")
    return _table("Rounds", head, rows)


def _bytes(record: Record) -> str:
    rows = [
        (b.device, *(f"{n:,}" for n in (b.agent_up, b.proxy_up, b.agent_down, b.proxy_down)))
        for b in record.bytes
    ]
    head = ("device", "up, agent", "up, proxy", "down, agent", "down, proxy")
    return _table("Bytes, as the agent counts them and as the proxy does", head, rows)


def _events(record: Record) -> str:
    names = Counter(e.what for e in record.events)
    summary = "Events: " + ", ".join(f"{n} {what}" for what, n in names.most_common())
    rows = [(f"{e.second:.1f}", e.device, e.what, e.detail) for e in record.events]
    return _table(summary, ("second", "device", "what", "detail"), rows)


def _table(
    title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, unfolded: bool = False
) -> str:
    top = "".join(f"<th>{escape(h)}" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}" for c in row) for row in rows)
    opened = " open" if unfolded else ""
    return (
        f"<details{opened}><summary>{escape(title)}</summary><div class=wide><table><tr>{top}{body}"
        "</table></div></details>"
    )
