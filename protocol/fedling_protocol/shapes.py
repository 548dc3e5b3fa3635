"""What the fields of one message must be together, beyond the CDDL (SPEC.md section 3)."""

from collections.abc import Sequence

from fedling_native import Layer
from fedling_protocol.limits import MAX_VALUES, MAX_WEIGHTS
from fedling_protocol.messages import Answer, Model, Plan, Receipt, Rest, TaskSpec, Ticket, Verdict
from fedling_protocol.wire import refuse


def weights_size(layers: Sequence[Layer]) -> int:
    """Bytes of a model's weights (NUMERICS.md section 2), and of an update's vector."""
    return sum(2 * layer.inputs * layer.outputs + 4 * layer.outputs for layer in layers)


def check(message: object) -> None:
    """Refused(shape) if the fields, right each for itself, do not fit each other."""
    match message:
        case Plan():
            check_spec(message.spec)
            _check_cohort(message.cohort)
        case Rest():
            check_spec(message.spec)
        case Model():
            check_spec(message.spec)
            _check_model(message)
        case Ticket():
            if (message.answer is Answer.GO) != (message.reason == ""):
                refuse("a reason with go, or none with wait")
        case Receipt():
            if (message.verdict is Verdict.DUPLICATE) != (message.of is not None):
                refuse("a first verdict without duplicate, or duplicate without it")


def check_spec(spec: TaskSpec) -> None:
    """The layers make a chain from the window to the labels."""
    values = spec.window * spec.channels
    if values > MAX_VALUES:
        refuse(f"window * channels is more than {MAX_VALUES}")
    for layer in spec.layers:
        if layer.inputs != values:
            refuse("a layer's inputs are not the outputs before it")
        values = layer.outputs
    if values != len(spec.labels):
        refuse("the last layer has not one output a label")
    if spec.layers[-1].relu:
        refuse("the last layer has a ReLU")
    if len(set(spec.labels)) != len(spec.labels):
        refuse("a label twice")
    if weights_size(spec.layers) > MAX_WEIGHTS:
        refuse(f"weights of more than {MAX_WEIGHTS} bytes")


def _check_cohort(cohort: tuple[str, ...] | None) -> None:
    if cohort is not None and len(set(cohort)) != len(cohort):
        refuse("a device twice in the cohort")


def _check_model(model: Model) -> None:
    if len(model.exponents) != len(model.spec.layers):
        refuse("not one exponent a layer")
    if len(model.weights) != weights_size(model.spec.layers):
        refuse("weights of another length than the layers ask for")
