"""What the fields of one message must be together, beyond the CDDL (SPEC.md section 3)."""

from functools import lru_cache
from typing import Final

from fedling_native import MAX_TERMS, Loss, NativeError, Normaliser, check_model, weights_size
from fedling_protocol.wire import work
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.fields import refuse
from fedling_protocol.wire.identity import is_tls_key
from fedling_protocol.wire.limits import (
    MAX_CHUNKS,
    MAX_STEP,
    MAX_TESTED,
    MAX_VALUES,
    MAX_WEIGHTS,
    MAX_WORK,
    PULL_ONE,
)
from fedling_protocol.wire.messages import (
    CODECS_OF,
    Answer,
    Certificate,
    Chunk,
    Enrol,
    Enrolled,
    Model,
    Plan,
    PlanKind,
    Receipt,
    Rest,
    Tasks,
    TaskSpec,
    Ticket,
    Training,
    Update,
    Verdict,
)
from fedling_protocol.wire.names import is_label

REMEMBERED: Final = 16  # specs of tasks that were checked; each of a few KB at most


def check(message: object) -> None:
    """Raise Refused(shape) if the fields, right each for itself, do not fit each other."""
    match message:
        case Plan():
            check_spec(message.spec)
            check_training(message.spec, message.training)
            _check_kind(message)
            _check_cohort(message.cohort)
            _check_chunked(message)
            _check_recent(message)
        case Rest():
            check_spec(message.spec)
            _check_chunked(message)
            _check_recent(message)
        case Tasks():
            if len({task.task for task in message.tasks}) != len(message.tasks):
                refuse("a task twice")
        case Model():
            check_spec(message.spec)
            _check_model(message)
        case Chunk():
            if len(message.data) >= message.size:
                refuse("a chunk that is no smaller than the whole")
        case Ticket():
            if (message.answer is Answer.GO) != (message.reason == ""):
                refuse("a reason with go, or none with wait")
            if message.here and message.answer is not Answer.GO:
                refuse("chunks of who is to wait")
        case Update():
            _check_tested(message)
            if not message.vector and message.codec is not Codec.CODED:
                refuse("a vector of no bytes")
        case Certificate():
            if 0 < message.until_s <= message.issued_s:
                refuse("it ends before it begins")
            _check_name(message.name)
        case Enrol():
            if (message.token_id is None) != (message.mac is None):
                refuse("a token without its code, or a code without a token")
            if not is_tls_key(message.tls_key):
                refuse("a key for TLS that is no point of P-256")
            _check_name(message.name)
        case Enrolled():
            _check_enrolled(message)
        case Receipt():
            if (message.verdict is Verdict.DUPLICATE) != (message.of is not None):
                refuse("a first verdict without duplicate, or duplicate without it")


@lru_cache(maxsize=REMEMBERED)
def check_spec(spec: TaskSpec) -> None:
    """Check that the layers are a model from window to labels. Allocates nothing of its size.

    Each plan, rest and model of a task says the same one: what was found good is remembered.
    """
    values = spec.window * spec.channels
    if values > MAX_VALUES:
        refuse(f"window * channels is more than {MAX_VALUES}")
    if spec.layers[0].inputs != values:
        refuse("the first layer does not read window * channels values")
    _check_layers(spec)
    if spec.loss is Loss.SOFTMAX and spec.layers[-1].outputs != len(spec.labels):
        refuse("the last layer has not one output a label")
    if len(set(spec.labels)) != len(spec.labels):
        refuse("a label twice")
    if weights_size(spec.layers) > MAX_WEIGHTS:
        refuse(f"weights of more than {MAX_WEIGHTS} bytes")
    _check_scale(spec)


@lru_cache(maxsize=REMEMBERED)
def check_training(spec: TaskSpec, training: Training) -> None:
    """Check that a step is one that the kernel takes, in memory that a device has."""
    if training.frozen >= len(spec.layers):
        refuse("no layer is left to be trained")
    if training.lr_q24 * training.proximal_q16 >= PULL_ONE:
        refuse("learning rate * mu is 1 or more")
    values = sum(layer.padded_inputs for layer in spec.layers) + spec.layers[-1].outputs
    if training.batch * values > MAX_STEP:
        refuse(f"batch * values of all layers is more than {MAX_STEP}")
    if training.batch * max(v.positions for v in spec.layers if v.weight_count) > MAX_TERMS:
        refuse(f"batch * positions of a layer is more than {MAX_TERMS}")
    if work.of_batch(spec.layers, training.batch) > MAX_WORK:
        refuse(f"a batch of more than {MAX_WORK} multiply-accumulates")


def _check_scale(spec: TaskSpec) -> None:
    if spec.scale is None:
        return
    if spec.normalise != "fleet":
        refuse("a scale of a task that is not normalised by the fleet's")
    if len(spec.scale) != spec.channels:
        refuse("not one scale a channel")
    try:
        Normaliser.from_tuples(spec.scale).apply(b"")
    except NativeError as error:
        refuse(f"scale: {error.meaning}")


def _check_kind(plan: Plan) -> None:
    """Check that a plan asks for what its kind can give."""
    if plan.codec not in CODECS_OF[plan.kind]:
        refuse("a codec of another kind of plan")
    if (plan.codec is Codec.CODED) != (plan.target is not None):
        refuse("a coded vector of no size, or a size of one that is not coded")
    if plan.kind is PlanKind.STATISTICS:
        if plan.spec.normalise != "fleet" or plan.spec.scale is not None:
            refuse("statistics of a task that has a scale, or wants none")
    elif plan.spec.normalise == "fleet" and plan.spec.scale is None:
        refuse("training without the fleet's scale")


def _check_layers(spec: TaskSpec, exponents: tuple[int, ...] | None = None) -> None:
    try:
        check_model(spec.layers, spec.loss, exponents)
    except NativeError as error:
        refuse(f"layers and loss: {error.meaning}")


def _check_cohort(cohort: tuple[str, ...] | None) -> None:
    if cohort is not None and len(set(cohort)) != len(cohort):
        refuse("a device twice in the cohort")


def _check_chunked(named: Plan | Rest) -> None:
    """Check that just those messages are cut that are larger than a chunk."""
    chunked = named.chunked
    if chunked is None:
        return
    pairs = ((named.model_size, chunked.model), (named.change_size, chunked.change))
    for size, whole in pairs:
        count = chunked.count(size or 0)
        if (count > 1) != (whole is not None):
            refuse("a message that is cut without its hash, or a hash of one that is not")
        if count > MAX_CHUNKS:
            refuse(f"a message of more than {MAX_CHUNKS} chunks")


def _check_recent(named: Plan | Rest) -> None:
    """Check that it is less to fetch the last changes than the whole model."""
    recent, newest = named.recent, named.change_size
    if recent is None:
        return
    if newest is None or (named.chunked is not None and named.chunked.change is not None):
        refuse("changes of before without the newest, or with one that is cut")
    if not newest < recent.size < named.model_size:
        refuse("changes that have no more bytes than the newest, or no fewer than the model")


def _check_tested(update: Update) -> None:
    """Check that a test can be so, whatever task it is of."""
    if update.tested is None:
        return
    if update.codec not in CODECS_OF[PlanKind.TRAIN]:
        refuse("a test in an update that trained nothing")
    if any(tested.right > tested.windows for tested in update.tested):
        refuse("more windows right than were tested")
    if not 1 <= sum(tested.windows for tested in update.tested) <= MAX_TESTED:
        refuse(f"a test of no window, or of more than {MAX_TESTED}")


def _check_name(name: str) -> None:
    if name and not is_label(name):
        refuse("a name that is an id")


def _check_enrolled(answer: Enrolled) -> None:
    if (answer.reason == "") != (answer.grant is not None):
        refuse("granted with a reason, or refused without one")
    grant = answer.grant
    if grant is not None and (grant.tls_certificate is None) != (grant.tls_ca is None):
        refuse("a certificate for TLS without its authority's, or the other way round")


def _check_model(model: Model) -> None:
    if len(model.exponents) != len(model.spec.layers):
        refuse("not one exponent a layer")
    _check_layers(model.spec, model.exponents)
    size, most = len(model.weights), weights_size(model.spec.layers)
    if size > most if model.packed else size != most:
        refuse("weights of another length than the layers ask for")
