"""Bytes of flash: the code of the kernel, and what a model brings."""

from collections.abc import Iterator, Mapping

from fedling_protocol.classes import dataclass
from fedling_sim.sizing.costs import Structs
from fedling_sim.sizing.memory import packed_bytes
from fedling_sim.sizing.workload import Feature, Job

SHAPES = frozenset({Feature.CONV, Feature.DEPTHWISE, Feature.POOLS})
GRADIENTS = frozenset(
    {Feature.CONV, Feature.DEPTHWISE, Feature.BATCH, Feature.MOMENTUM, Feature.CLIP}
)


@dataclass(frozen=True, slots=True)
class Flash:
    """What a device must hold, beside its own program."""

    code: int  # of the kernel, and what the compiler's library adds
    layers: int
    weights: int  # canonical bytes of the round's base, which the update is told against

    @property
    def total(self) -> int:
        return self.code + self.layers + self.weights


def flash(job: Job, code: Mapping[str, float], structs: Structs) -> Flash:
    """Count the flash of a job. code: bytes by the name of code_parts()."""
    size = sum(code[part] for part in code_parts(job))
    return Flash(round(size), structs.layer * len(job.layers), packed_bytes(job.layers))


def code_parts(job: Job) -> Iterator[str]:
    """List what a build for this job has; in native/src/without.h two macros follow from others."""
    yield "base"
    yield from sorted(job.features)
    if job.features & SHAPES:
        yield "shapes"
    if job.features & GRADIENTS:
        yield "gradient"
    if job.pull:
        yield "pull"
    if job.normaliser:
        yield "normaliser"
