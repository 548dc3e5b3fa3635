"""Training on Cortex-M boards that QEMU plays: instructions of a step, memory, code.

A net learns the digits of scikit-learn, 8 x 8 pixels, at a learning rate of 1/16, in an image with
what that net needs of the kernel. Examples lie in flash, so that reading them costs nothing. QEMU
counts instructions, not cycles. The weights at the end must be those that this machine gets.

A second net is the watch's small one, in batches of 10, in 64 KB of RAM and on made-up recordings.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.kernel import WATCH_CNN
from bench.report import Cell, Report
from bench.support.contestants import course
from bench.support.datasets import Examples, Split, digits
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.state import ServerState
from fedling_native import (
    INPUT_EXP,
    Layer,
    Loss,
    Net,
    conv,
    dense,
    max_pool,
    parameter_counts,
    same,
)
from fedling_sim.board import boards, qemu, sizes, toolchain
from fedling_sim.board.toolchain import Build, Program
from fedling_sim.sizing.measure import layer_row
from fedling_sim.sizing.workload import Job

SUPPORT = Path(__file__).parent / "support"
SEED = bytes(32)  # of the first weights
RATE_Q24 = 2**24 // 16
STEPS = 1437  # all examples once, one by one
WATCH_STEPS = 200
POOL = 4096  # bytes for the arena of a batch of 1, STACK beside it: the smallest board has 16 KB
STACK = 3072
BOUNDARY = 2  # weights in a word: rows of an even number begin at a word

DENSE = "64-32-10"
WATCH = "watch CNN"
WATCH_BATCH = 10
SHAPE = (8, 8, 1)
NETS: dict[str, tuple[Layer, ...]] = {
    DENSE: (dense(64, 32, relu=True), dense(32, 10)),
    "conv 8@3x3, max_pool 2, 10": (
        conv(SHAPE, 8, (3, 3), pad=same(SHAPE, (3, 3), (1, 1)), relu=True),
        max_pool((8, 8, 8), (2, 2)),
        dense(128, 10),
    ),
    WATCH: WATCH_CNN,
}


@dataclass(frozen=True)
class Case:
    """An image: a net on a board."""

    core: str
    net: str = DENSE
    batch: int = 1
    build: Build = field(default_factory=Build)

    @property
    def pool(self) -> int:
        """Bytes for an arena; of 64 KB the watch's net takes 8 itself, a batch 6."""
        return 45 * 1024 if self.net == WATCH else POOL * self.batch

    @property
    def layers(self) -> tuple[Layer, ...]:
        return NETS[self.net]

    @property
    def steps(self) -> int:
        return (WATCH_STEPS if self.net == WATCH else STEPS) // self.batch

    @property
    def left_out(self) -> list[str]:
        """What this net does not need of the kernel."""
        names = set(Job(self.layers, Loss.SOFTMAX, self.batch).left_out)
        if self.batch == 1:
            names.add("FDL_WITHOUT_BATCH")
        if all(layer.span % BOUNDARY == 0 for layer in self.layers):
            names.add("FDL_WITHOUT_ODD_ROWS")
        return sorted(names)


@dataclass(frozen=True)
class Measured:
    """What an image said, and what it has in flash, in bytes."""

    instructions: int  # of a step, on average
    state: int  # what persists between steps
    arena: int
    stack: int
    checksum: int
    kernel: int  # code and constants of the kernel
    library: int  # of the compiler's own library


CASES = [
    *(Case(board.core) for board in boards.BOARDS),
    *(Case("cortex-m4", build=Build("gcc", level)) for level in ("-Os", "-O3")),
    Case("cortex-m4", build=Build("clang")),
    Case("cortex-m4", batch=8),
    *(Case(core, "conv 8@3x3, max_pool 2, 10") for core in ("cortex-m3", "cortex-m4")),
    Case("cortex-m4", WATCH, WATCH_BATCH),
]


def recordings() -> Split:
    """Made-up recordings of a watch, of seven classes."""
    of = course(WATCH_CNN, WATCH_BATCH, WATCH_STEPS // WATCH_BATCH)
    examples = Examples(of.x, of.floats, of.y)
    return Split(examples, examples, INPUT_EXP)


def measure(case: Case, data: Split) -> Measured:
    """Build the image, run it, compare its weights with this machine's."""
    state = initial_state(case.layers, SEED)
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        folder = Path(name)
        write_data(folder, case, state, data)
        board = boards.find(case.core)
        image = toolchain.build_image(board, program(case, folder), case.build, folder / "image")
        outcome = qemu.run(board, image)
        parts = sizes.flash_by_part(image)
    if outcome.status != 0:
        raise SystemExit(f"bench cortexm: {case}: {outcome.lines} {outcome.errors}")
    *numbers, checksum = outcome.lines[0].split()
    instructions, state_bytes, arena, stack = map(int, numbers)
    measured = Measured(
        instructions, state_bytes, arena, stack, int(checksum, 16), parts["kernel"],
        parts["library"],
    )  # fmt: skip
    if measured.checksum != checksum_here(case, state, data):
        raise SystemExit(f"bench cortexm: {case}: other weights than this machine's")
    return measured


def program(case: Case, folder: Path) -> Program:
    sources = (SUPPORT / "cortexm.c", SUPPORT / "data.S")
    return Program(sources, (*case.left_out, f"POOL_BYTES={case.pool}"), (folder,), stack=STACK)


def write_data(folder: Path, case: Case, state: ServerState, data: Split) -> None:
    """model.h and the files of data.S."""
    weights, biases = parameter_counts(case.layers)
    rows = [layer_row(x, e) for x, e in zip(case.layers, state.exponents, strict=True)]
    constants = {
        "WEIGHTS": weights,
        "BIASES": biases,
        "MODEL_LAYERS": ", ".join(rows),
        "INPUTS": case.layers[0].inputs,
        "BATCH": case.batch,
        "STEPS": case.steps,
        "X_EXP": f"({data.x_exp})",
        "RATE_Q24": RATE_Q24,
    }
    lines = [f"#define {name} {value}\n" for name, value in constants.items()]
    (folder / "model.h").write_text("".join(lines))
    (folder / "inputs.bin").write_bytes(data.train.x.tobytes())
    (folder / "classes.bin").write_bytes(data.train.y.tobytes())
    (folder / "start.bin").write_bytes(state.view)


def checksum_here(case: Case, state: ServerState, data: Split) -> int:
    net = Net(case.layers, state.exponents, state.view)
    for i in range(0, case.steps * case.batch, case.batch):
        batch = data.train[i : i + case.batch]
        net.step(batch.x.tobytes(), batch.y.tobytes(), RATE_Q24, data.x_exp)
    return net.checksum()


def row(case: Case, measured: Measured) -> dict[str, Cell]:
    return {
        "core": case.core,
        "net": case.net,
        "batch": case.batch,
        "compiler": f"{case.build.compiler} {case.build.optimisation}",
        "instructions": measured.instructions,
        "state_bytes": measured.state,
        "arena_bytes": measured.arena,
        "stack_bytes": measured.stack,
        "text_bytes": measured.kernel,
        "library_bytes": measured.library,
    }


def main() -> None:
    report = Report("cortexm")
    data = {name: recordings() if name == WATCH else digits() for name in NETS}
    measured = {case: measure(case, data[case.net]) for case in CASES}
    for case, found in measured.items():
        report.row(**row(case, found))
    m4 = measured[Case("cortex-m4")]
    report.figure("m4_instructions", m4.instructions)
    report.figure("m4_state_bytes", m4.state)
    report.figure("m4_text_bytes", m4.kernel)
    watch = measured[Case("cortex-m4", WATCH, WATCH_BATCH)]
    inputs = WATCH_BATCH * (WATCH_CNN[0].inputs + 1)
    report.figure("m4_watch_ram_bytes", watch.state + watch.arena + watch.stack + inputs)
    report.figure("m3_instructions", measured[Case("cortex-m3")].instructions)
    report.finish()


if __name__ == "__main__":
    main()
