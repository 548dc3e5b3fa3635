"""`fedling-agent predict`: windows of samples to labels, or to errors of reconstruction."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from fedling_agent.commands import installation, source
from fedling_agent.commands.installation import Installation
from fedling_agent.commands.score import Score
from fedling_agent.service import operations
from fedling_agent.service.control import Json
from fedling_agent.service.predict import Predictor
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.labels import tidy

Ask = Callable[[Json], Json]


def run(args: argparse.Namespace) -> Exit:
    form = source.form(args, args.file)
    with source.opened(args.file) as given, _asker(installation.find(args)) as (ask, by):
        window = int(str(ask({"do": "windows", "task": args.task})["window"]))
        request: Json = {"do": "predict", "task": args.task, "form": form}
        score = Score()
        for piece in pieces(given.all(), form, window):
            answer = with_label(ask(request | piece), tidy(args.label))
            right = score.add(answer)
            if args.json:
                so_far = {} if "given" not in answer else {"score": score.json()}
                output.print_json(answer | {"by": by} | so_far)
            else:
                print(_sentence(answer, right))
    if not args.json:
        for sentence in score.sentences():
            print(sentence)
    return Exit.OK


def with_label(answer: Json, label: str) -> Json:
    """Add the label that the command line gives.

    Raises BadInput: the rows have labels as well, or the model answers with none.
    """
    if not label:
        return answer
    if "label" not in answer:
        raise BadInput("--label is given, and the model answers with an error of reconstruction")
    if "given" in answer:
        raise BadInput("--label is given, and the rows have labels")
    return answer | {"given": label}


@contextmanager
def _asker(where: Installation) -> Iterator[tuple[Ask, str]]:
    """Who answers: the service, else this command from the store."""
    service = where.service()
    if service is not None:
        with service:
            yield service.ask, "service"
        return
    streams = where.streams()
    store = Store(where.state, read_only=True)
    try:
        predictor = Predictor(store)

        def ask(request: Json) -> Json:
            task: Any = request["task"]
            if request["do"] == "windows":
                return operations.windows(store, task)
            lines, before = cast("list[str]", request["lines"]), cast(int, request["before"])
            form = str(request["form"])
            return finish(operations.predict(store, predictor, streams, task, lines, form, before))

        yield ask, "command; the service does not run"
    finally:
        store.close()


def pieces(lines: Iterator[str], form: str, window: int) -> Iterator[Json]:
    """Whole windows, each with the header that CSV needs, and the lines before its rows.

    Raises BadInput at a window that is not complete.
    """
    header: list[str] = []
    piece: list[str] = []
    windows = before = samples = 0
    for number, line in enumerate(lines, 1):
        if form == "csv" and not header:
            header, before = [line] if line.strip() else [], number
            continue
        piece.append(line)
        samples += bool(line.strip())
        if samples == window:
            yield {"before": before, "lines": header + piece}
            piece, samples, before, windows = [], 0, number, windows + 1
    if samples or not windows:
        raise BadInput(f"window {windows + 1} has {samples} samples, the model wants {window}")


def _sentence(answer: dict[str, Any], right: bool | None) -> str:
    if "error" in answer:
        text = output.paint(f"{answer['error']:.3f}", output.BOLD)
        return f"error {text} (mean squared; {_model(answer)})"
    likely = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])
    others = ", ".join(f"{label} {share:.2f}" for label, share in likely[1:3])
    share = answer["probabilities"][answer["label"]]
    text = f"{output.paint(answer['label'], output.BOLD)} {share:.2f}"
    judged = "" if right is None else ", right" if right else f", wrong: {answer['given']}"
    return f"{text} (then {others}; {_model(answer)}){judged}"


def _model(answer: dict[str, Any]) -> str:
    """Say which model has answered. A service of before the last upgrade tells no `personal`."""
    number = f"model {answer['model']}"
    return f"personal, from {number}" if answer.get("personal") else number
