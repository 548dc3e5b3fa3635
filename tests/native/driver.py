"""Compiles driver.c with the kernel, writes its scripts and knows what it must print."""

import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.native import golden_vectors as golden
from tests.support.tools import need

ROOT = Path(__file__).parent.parent.parent
DRIVER = Path(__file__).parent / "driver.c"
SOURCES = sorted((ROOT / "native/src").glob("*.c"))
INCLUDES = [f"-I{ROOT / 'native/include'}", f"-I{ROOT / 'native/src'}"]


def compile_sources(flags: Sequence[str], output: Path, *more: Path, compiler: str = "gcc") -> None:
    """All of native/src and more files, in one call."""
    files = [str(x) for x in (*SOURCES, *more)]
    command = [need(compiler), "-std=c11", *flags, *INCLUDES, *files, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(program: Path, script: bytes, folder: Path) -> list[str]:
    """The lines that the driver prints."""
    path = folder / "script"
    path.write_bytes(script)
    done = subprocess.run([str(program), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


class Script:
    """Commands for the driver, and the lines that they must print."""

    def __init__(self) -> None:
        self.expected: list[str | None] = []  # None: a line that no golden file holds
        self._parts: list[bytes] = []
        self._commands = 0

    def data(self) -> bytes:
        return struct.pack("<q", self._commands) + b"".join(self._parts)

    def train(self, training: golden.Training, predictions: golden.Predictions | None) -> None:
        self._command(0)
        self._model(training.model)
        self._bytes(training.before)
        self._numbers(len(training.steps))
        for step in training.steps:
            self._numbers(training.x_exp, step.lr_q24)
            self._bytes(step.x)
            self._bytes(step.y)
            self.expected.append(None if step.checksum is None else f"step {step.checksum}")
        self._predictions(predictions)
        self.expected.append(None if training.after is None else f"weights {training.after.hex()}")

    def predict(self, case: golden.Predictions) -> None:
        assert case.weights is not None
        self.train(
            golden.Training(case.name, case.model, case.x_exp, case.weights, [], case.weights), case
        )

    def normalise(self, case: golden.Normalisation) -> None:
        self._command(1)
        self._numbers(case.channels)
        self._bytes(b"".join(case.windows))
        columns = zip(case.means, case.mantissas, case.shifts, strict=True)
        fitted = " ".join(f"{mean} {mantissa} {shift}" for mean, mantissa, shift in columns)
        self.expected.append(f"normalise {fitted} {case.q.hex()}")

    def delta(self, case: golden.Delta) -> None:
        self._command(2)
        self._model(case.model)
        self._bytes(case.before)
        self._bytes(case.after)
        self.expected.append(f"delta {case.saturated} {case.delta.hex()}")

    def rounding(self) -> None:
        """rounding.json, as far as numbers fit in 32 bits."""
        vectors = json.loads((golden.GOLDEN / "rounding.json").read_text())
        self._command(3)
        for key, inputs, word in (("rshift", 2, "shift"), ("ratio", 2, "ratio")):
            self._numbers(len(vectors[key]))
            for row in vectors[key]:
                self._numbers(*row[:inputs])
                self.expected.append(" ".join([word, *map(str, row[inputs:])]))

    def _command(self, number: int) -> None:
        self._commands += 1
        self._numbers(number)

    def _numbers(self, *numbers: int) -> None:
        self._parts.append(struct.pack(f"<{len(numbers)}q", *numbers))

    def _bytes(self, data: bytes) -> None:
        self._numbers(len(data))
        self._parts.append(data)

    def _model(self, model: golden.Model) -> None:
        self._numbers(len(model.layers))
        for layer, w_exp in zip(model.layers, model.exponents, strict=True):
            self._numbers(layer.inputs, layer.outputs, w_exp, layer.relu)

    def _predictions(self, case: golden.Predictions | None) -> None:
        self._numbers(0 if case is None else len(case.x))
        if case is None:
            return
        for x, label, q in zip(case.x, case.labels, case.probabilities, strict=True):
            self._numbers(case.x_exp)
            self._bytes(x)
            self.expected.append(" ".join(map(str, ("predict", label, *q))))


def whole_script() -> Script:
    """All golden vectors that a device computes."""
    script = Script()
    for steps in golden.steps():
        script.train(steps, None)
    for name in golden.training_names():
        script.train(*golden.training(name))
    for predictions in golden.predictions():
        script.predict(predictions)
    for normalisation in golden.normalisations():
        script.normalise(normalisation)
    for delta in golden.deltas():
        script.delta(delta)
    script.rounding()
    return script
