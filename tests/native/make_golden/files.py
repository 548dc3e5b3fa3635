"""The golden files: what each holds, how it is written."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.native.make_golden.coding import all_codec
from tests.native.make_golden.device import all_delta, all_normalise
from tests.native.make_golden.layer_steps import layer_steps
from tests.native.make_golden.numbers import all_losses, all_rounding
from tests.native.make_golden.predictions import all_predictions
from tests.native.make_golden.ring import all_ring
from tests.native.make_golden.server import all_server
from tests.native.make_golden.steps import dense_steps
from tests.native.make_golden.training import all_training

GOLDEN = Path(__file__).parent.parent / "golden"

FILES: dict[str, Callable[[], object]] = {
    "steps.json": lambda: dense_steps() + layer_steps(),
    "training.json": all_training,
    "predict.json": all_predictions,
    "losses.json": all_losses,
    "rounding.json": all_rounding,
    "normalise.json": all_normalise,
    "delta.json": all_delta,
    "server.json": all_server,
    "codec.json": all_codec,
    "ring.json": all_ring,
}


def render(content: object) -> str:
    """One case a line, so that a diff shows which cases changed."""
    if isinstance(content, list):
        return "[\n" + ",\n".join(json.dumps(case) for case in content) + "\n]\n"
    assert isinstance(content, dict)
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def stale() -> list[str]:
    """Names of the files that differ from what the reference computes now."""
    return [
        name
        for name, make in FILES.items()
        if not (GOLDEN / name).is_file() or (GOLDEN / name).read_text() != render(make())
    ]
