"""What a device is asked to train: all that its costs depend on."""

from enum import StrEnum

from fedling_broker.tasks.task_file import Normalise, Task
from fedling_native import Kind, Layer, Loss
from fedling_protocol.classes import dataclass


class Feature(StrEnum):
    """What a build of the kernel can leave out, with -DFDL_WITHOUT_..."""

    CONV = "conv"
    DEPTHWISE = "depthwise"
    POOLS = "pools"
    SIGMOID = "sigmoid"
    VALUES = "values"
    MOMENTUM = "momentum"
    CLIP = "clip"
    BATCH = "batch"  # more than one example a step
    ODD_ROWS = "odd_rows"  # of weights
    CODEC = "codec"  # no job of a board sends its updates so
    TRELLIS = "trellis"


@dataclass(frozen=True, slots=True)
class Job:
    """A model and how it is trained."""

    layers: tuple[Layer, ...]
    loss: Loss
    batch: int = 1  # examples in a step
    frozen: int = 0  # so many of the first layers are not trained
    momentum: bool = False
    clip: bool = False
    pull: bool = False  # the proximal term
    normaliser: bool = False  # the device scales its samples

    @property
    def inputs(self) -> int:
        """How many values an example has."""
        return self.layers[0].inputs

    @property
    def target_bytes(self) -> int:
        """How many bytes the target of an example has."""
        outputs = self.layers[-1].outputs
        return {Loss.SOFTMAX: 1, Loss.SIGMOID: outputs, Loss.SQUARED: 2 * outputs}.get(self.loss, 0)

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    @property
    def bias_count(self) -> int:
        return sum(layer.bias_count for layer in self.layers)

    @property
    def features(self) -> frozenset[Feature]:
        """List what a build for this job cannot leave out."""
        kinds = {layer.kind for layer in self.layers}
        uses = {
            Feature.CONV: Kind.CONV in kinds,
            Feature.DEPTHWISE: Kind.DEPTHWISE in kinds,
            Feature.POOLS: bool(kinds & {Kind.MAX_POOL, Kind.AVERAGE_POOL}),
            Feature.SIGMOID: self.loss is Loss.SIGMOID,
            Feature.VALUES: self.loss in (Loss.SQUARED, Loss.RECONSTRUCTION),
            Feature.MOMENTUM: self.momentum,
            Feature.CLIP: self.clip,
            Feature.BATCH: self.batch > 1,
            Feature.ODD_ROWS: any(run_length(layer) % 2 for layer in self.layers),
        }
        return frozenset(feature for feature, used in uses.items() if used)

    @property
    def left_out(self) -> tuple[str, ...]:
        """List the macros of a build for this job."""
        return tuple(f"FDL_WITHOUT_{x.upper()}" for x in Feature if x not in self.features)


def run_length(layer: Layer) -> int:
    """Count the weights of a row that meet one run of memory; 0 for pools."""
    if layer.kind is Kind.DENSE:
        return layer.channels
    return layer.kernel[1] * layer.channels if layer.weight_count else 0


def job_of(task: Task) -> Job:
    """Make the job of a task."""
    spec, training = task.spec, task.training
    return Job(
        spec.layers,
        spec.loss,
        training.batch,
        training.frozen,
        momentum=training.momentum > 0,
        clip=training.clip_q16 > 0,
        pull=training.proximal_q16 > 0,
        normaliser=spec.normalise != Normalise.NONE,
    )
