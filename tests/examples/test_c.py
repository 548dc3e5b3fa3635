"""The example in C builds without a warning and prints what the binding computes."""

import re
import subprocess

import pytest

import fedling_native
from fedling_native import Net, dense
from tests.native.compiler import ROOT
from tests.support.distributions import project
from tests.support.tools import need

FOLDER = ROOT / "examples/c"
INPUTS, HIDDEN, CLASSES, BATCH, STEPS, TESTS = 16, 8, 2, 8, 32, 200
RATE_Q24 = 1 << 20
W_EXP = -7
LAYERS = (dense(INPUTS, HIDDEN, relu=True), dense(HIDDEN, CLASSES))


class Signals:
    """The examples that example.c makes up, in its order."""

    def __init__(self) -> None:
        self.state = 1

    def noise(self) -> int:
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return (self.state >> 25) - 64

    def start(self) -> bytes:
        """First weights, and biases of 0."""
        count = INPUTS * HIDDEN + HIDDEN * CLASSES
        weights = b"".join(
            (self.noise() * 256).to_bytes(2, "little", signed=True) for _ in range(count)
        )
        return weights + bytes(4 * (HIDDEN + CLASSES))

    def example(self) -> tuple[bytes, int]:
        falling = self.noise() < 0
        sign = -1 if falling else 1
        values = [sign * 3 * (2 * i - INPUTS + 1) + self.noise() for i in range(INPUTS)]
        return b"".join(x.to_bytes(1, "little", signed=True) for x in values), int(falling)


def line(when: str, net: Net, signals: Signals) -> str:
    """What report() prints."""
    right, probability = 0, 0
    for _ in range(TESTS):
        x, label = signals.example()
        answer = net.predict(x)
        right += answer.label == label
        probability = answer.outputs[label]
    return (
        f"{when}: {right} of {TESTS} right, the last with probability {probability}/32768,"
        f" weights {net.checksum():08x}"
    )


def computed_here() -> list[str]:
    signals = Signals()
    net = Net(LAYERS, [W_EXP] * len(LAYERS), signals.start())
    lines = [line("before", net, signals)]
    for _ in range(STEPS):
        batch = [signals.example() for _ in range(BATCH)]
        net.step(b"".join(x for x, _ in batch), bytes(label for _, label in batch), RATE_Q24)
    return [*lines, line("after", net, signals)]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of the program, built as its Makefile says."""
    need("cc", "gcc")
    folder = tmp_path_factory.mktemp("example")
    command = [need("make"), "--silent", "check", f"BUILD={folder}"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_example_computes_what_the_binding_does(printed: list[str]) -> None:
    version = project("fedling")["version"]
    assert printed[0].startswith(f"fedling {version}, {fedling_native.isa()}: ")
    assert printed[1:] == computed_here()


def test_example_learns(printed: list[str]) -> None:
    before, after = (int(re.findall(r"(\d+) of", x)[0]) for x in printed[1:])
    assert before < 0.7 * TESTS
    assert after > 0.95 * TESTS


def test_document_shows_what_it_prints(printed: list[str]) -> None:
    text = (FOLDER / "README.md").read_text()
    assert "\n".join(printed[1:]) in text
