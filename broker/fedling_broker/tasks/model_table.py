"""The table [model] of a task file: layers as people write them become layers of the kernel."""

from enum import StrEnum
from math import prod

from fedling_native import (
    MAX_VALUES,
    MAX_WIDTH,
    VALID,
    Layer,
    Loss,
    Shape,
    average_pool,
    conv,
    dense,
    depthwise,
    max_pool,
    same,
)
from fedling_protocol.classes import dataclass
from fedling_protocol.settings import setting
from fedling_protocol.wire import limits as limit

Size = int | tuple[int, ...]  # along time, or height and width


class LossWord(StrEnum):
    """What training makes small."""

    SOFTMAX = "softmax"
    RECONSTRUCTION = "reconstruction"


class Padding(StrEnum):
    """What a window reads at the border."""

    VALID = "valid"  # nothing beyond it
    SAME = "same"  # zeros, so that stride 1 changes no length


class Whole(StrEnum):
    """A layer that needs no number."""

    AVERAGE_POOL = "average_pool"


def check_size(value: int) -> str | None:
    """Make a check for `setting`, of each number of a Size."""
    return None if 1 <= value <= limit.MAX_KERNEL else f"1 to {limit.MAX_KERNEL}"


@dataclass(frozen=True, slots=True)
class LayerTable:
    """A layer that looks at one window after the other."""

    conv: int | None = setting(
        None, help="the layer is a convolution with so many filters", low=1, high=limit.MAX_SIDE
    )
    depthwise: Size | None = setting(
        None,
        help="the layer is depthwise: a filter of this size for each channel",
        check=check_size,
    )
    max_pool: Size | None = setting(
        None, help="the layer takes the largest value of windows of this size", check=check_size
    )
    kernel: Size | None = setting(
        None, help="the size of a convolution's filters", check=check_size
    )
    stride: Size | None = setting(
        None,
        help="the step from one window to the next; by default 1, of max_pool its size",
        check=check_size,
    )
    padding: Padding = setting(
        Padding.VALID, help='at the border; "same": zeros, so that stride 1 changes no length'
    )

    def __post_init__(self) -> None:
        kinds = (self.conv, self.depthwise, self.max_pool)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("allowed: one of conv, depthwise, max_pool")
        if (self.conv is None) != (self.kernel is None):
            raise ValueError("kernel: allowed with conv, and needed there")

    @property
    def size(self) -> Size:
        """The size of the window, whichever key says it."""
        size = self.kernel or self.depthwise or self.max_pool
        assert size is not None  # __post_init__
        return size


@dataclass(frozen=True, slots=True)
class ModelTable:
    """[model]: layers, loss and shape of the model."""

    layers: tuple[int | Whole | LayerTable, ...] = setting(
        help="each is the outputs of a dense layer, `average_pool`, or a table; all but the last"
        " end in a ReLU",
        low=1,
        high=limit.MAX_LAYERS,
    )
    loss: LossWord = setting(
        LossWord.SOFTMAX,
        help="what is made small; softmax: one output a label; reconstruction: the input once more",
    )
    shape: tuple[int, ...] = setting(
        (), help="height, width and channels of an example; without it 1, window, channels"
    )


def loss_of(model: ModelTable) -> Loss:
    """Find the loss as the kernel calls it."""
    return Loss.SOFTMAX if model.loss is LossWord.SOFTMAX else Loss.RECONSTRUCTION


def layers_of(model: ModelTable, window: int, channels: int) -> tuple[Layer, ...]:
    """Make every layer, each with the shape that the one before it leaves.

    Raises ValueError: which layer cannot be, and what would fit.
    """
    shape = shape_of(model, window, channels)
    flat, layers = shape[0] == 1, []
    for number, entry in enumerate(model.layers):
        try:
            layer = layer_of(entry, shape, flat, relu=number < len(model.layers) - 1)
            check_bounds(layer)
        except ValueError as error:
            raise ValueError(f"model.layers[{number}]: {error}") from error
        layers.append(layer)
        shape = layer.out_shape
    return tuple(layers)


def shape_of(model: ModelTable, window: int, channels: int) -> Shape:
    """Find height, width, channels of the input. Raises ValueError."""
    if not model.shape:
        return 1, window, channels
    values = window * channels
    fits = len(model.shape) == 3 and min(model.shape) >= 1 and prod(model.shape) == values
    if not fits:
        raise ValueError(
            f"model.shape = {list(model.shape)}: allowed: [height, width, channels] of the"
            f" {values} values of a window"
        )
    height, width, depth = model.shape
    return height, width, depth


def layer_of(entry: int | Whole | LayerTable, shape: Shape, flat: bool, *, relu: bool) -> Layer:
    """Make one layer. flat: a number is a size along time, not a square. Raises ValueError."""
    if isinstance(entry, Whole):
        return average_pool(shape)
    if isinstance(entry, int):
        check_outputs(entry)
        return dense(prod(shape), entry, relu=relu)
    kernel = pair(entry.size, flat)
    default = entry.size if entry.max_pool is not None else 1
    stride = pair(entry.stride or default, flat)
    pad = same(shape, kernel, stride) if entry.padding is Padding.SAME else VALID
    if entry.padding is Padding.VALID:
        check_kernel(kernel, shape)
    if entry.conv is not None:
        return conv(shape, entry.conv, kernel, stride, pad=pad, relu=relu)
    if entry.depthwise is not None:
        return depthwise(shape, kernel, stride, pad=pad, relu=relu)
    return max_pool(shape, kernel, stride, pad=pad)


def pair(size: Size, flat: bool) -> tuple[int, int]:
    """Part a size into height and width. Raises ValueError."""
    if isinstance(size, int):
        return (1 if flat else size), size
    if len(size) != 2:
        raise ValueError(f"{list(size)}: allowed: a number, or [height, width]")
    return size[0], size[1]


def check_kernel(kernel: tuple[int, int], shape: Shape) -> None:
    """Check a window. Raises ValueError if it is larger than what it would slide over."""
    for size, left, what in zip(kernel[::-1], shape[1::-1], ("values", "rows"), strict=True):
        if size > left:
            raise ValueError(f"kernel {size} is longer than the {left} {what} left")


def check_outputs(count: int) -> None:
    """Check a number of outputs. Raises ValueError if no dense layer has so many."""
    if not 1 <= count <= limit.MAX_SIDE:
        raise ValueError(f"{count} outputs: allowed: 1 to {limit.MAX_SIDE}")


def check_bounds(layer: Layer) -> None:
    """Check sums and tensors. Raises ValueError if one is larger than the kernel holds."""
    if layer.span > MAX_WIDTH:
        raise ValueError(f"an output reads {layer.span} values: allowed: at most {MAX_WIDTH}")
    if layer.outputs > MAX_VALUES:
        raise ValueError(f"{layer.outputs} outputs: allowed: at most {MAX_VALUES}")
