"""One training step on the processors of Raspberry Pis: instructions, and cycles of inner loops.

No such processor is needed. Instructions are counted while QEMU plays the core (qemu-aarch64, for
programs, with a plugin that counts): whole steps of the kernel and of plain C in float32, compiled
for the core, the same training. The kernel's weights at the end must be those that this machine
gets. Cycles are llvm-mca's.

neon_NET, sdot_NET    instructions of plain C by those of the kernel: on the core of the Pi 3 or of
                      the Pi 4, whichever is less, and on that of the Pi 5
a72_share, a76_share  of three inner loops, for the way forwards, the way back and the gradient,
                      the lowest share of their cycles that products alone would take
"""

from dataclasses import dataclass

from bench.kernel import WATCH_CNN, WATCH_MLP
from bench.report import Report
from bench.support import counted, cycles
from bench.support.contestants import Course, Fedling, PlainC, UnrolledC, course

BATCH = 10
STEPS = 64
NETS = {"600": WATCH_MLP, "watch": WATCH_CNN}
LOOPS = ("neon_dot", "neon_spread", "neon_descend")


@dataclass(frozen=True, slots=True)
class Core:
    """A processor, the inner loops that the kernel chooses on it, and where these are written."""

    name: str
    isa: str
    source: str

    @property
    def key(self) -> str:
        return self.name.removeprefix("cortex-")


CORES = (
    Core("cortex-a53", "neon", "loops/neon.c"),  # Pi 3
    Core("cortex-a72", "neon", "loops/neon.c"),  # Pi 4
    Core("cortex-a76", "dotprod", "loops/dotprod.c"),  # Pi 5
)


def count(report: Report, core: Core, of: Course) -> float:
    """A row of one net on one core; how many times the instructions plain C runs."""
    kernel = counted.count_kernel(of, core.name)
    check(core, of, kernel.words)
    plain, unrolled = (counted.count_plain(of, core.name, kind) for kind in (PlainC, UnrolledC))
    ratio = plain.instructions / kernel.instructions
    report.row(
        core=core.name,
        net=of.name,
        batch=of.batch,
        instructions=round(kernel.instructions),
        c=round(plain.instructions),
        unrolled_c=round(unrolled.instructions),
        ratio_c=ratio,
        ratio_unrolled_c=unrolled.instructions / kernel.instructions,
    )
    return ratio


def check(core: Core, of: Course, words: list[str]) -> None:
    """The kernel must have chosen the core's loops, and got this machine's weights."""
    here = Fedling(of)
    here.epoch()
    expected = [core.isa, f"{here.checksum:08x}"]
    if words != expected:
        raise SystemExit(f"bench arm: {of.name} on {core.name}: {words} and not {expected}")


def lowest_share(report: Report, core: Core) -> float:
    """A row of each inner loop on one core."""
    functions = cycles.functions(cycles.assembly(core.source))
    shares = []
    for name in LOOPS:
        loop = cycles.densest(functions, name)
        found = cycles.measure(loop, core.name)
        shares.append(found.share)
        report.row(
            core=core.name,
            loop=name,
            instructions=len(loop.lines),
            products=len(loop.products),
            cycles=found.loop,
            bound=found.bound,
            share=found.share,
        )
    return min(shares)


def main() -> None:
    report = Report("arm")
    ratios: dict[str, list[float]] = {}
    for key, layers in NETS.items():
        of = course(layers, BATCH, STEPS)
        for core in CORES:
            loops = "sdot" if core.isa == "dotprod" else core.isa
            ratios.setdefault(f"{loops}_{key}", []).append(count(report, core, of))
    for name, found in ratios.items():
        report.figure(name, round(min(found), 2))
    for core in CORES:
        report.figure(f"{core.key}_share", round(lowest_share(report, core), 2))
    report.finish()


if __name__ == "__main__":
    main()
