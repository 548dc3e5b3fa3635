"""From the updates of a statistics round to the model that knows the scale. It asks no database."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedling_broker.aggregation import scale
from fedling_broker.service.fold import Made
from fedling_broker.service.running_sum import Lost, stored
from fedling_broker.store.models import STATISTICS, ModelRow, Models
from fedling_broker.store.rounds import DecisionRow, Rounds
from fedling_broker.store.shelf import Damaged
from fedling_native import Normaliser, Sums
from fedling_protocol.wire import digest, sums
from fedling_protocol.wire.messages import Scale, TaskSpec


def measured(
    rounds: Rounds,
    plan_id: bytes,
    members: Iterable[DecisionRow],
    lost: list[Lost] | None = None,
) -> list[tuple[str, Sums]]:
    """Read the members' updates on disk: the sums of each device.

    lost: takes those that are not whole any more; None: raises Damaged. Raises Damaged if none is
    left, as when the task was removed meanwhile by another process.
    """
    found = [
        (member.device, sums.unpack(update.vector))
        for member, update in stored(rounds, plan_id, members, lost)
    ]
    if not found:
        raise Damaged(f"{rounds.log(plan_id)}: no update of the round of statistics is whole")
    return found


def measure(
    models: Models,
    spec: TaskSpec,
    base: ModelRow,
    state: bytes,
    devices: Sequence[tuple[str, Sums]],
    *,
    limited: bool,
) -> Made:
    """Make the base once more, with the scale; the same files again if a crash came between.

    state: the name of the server's state, which stays; devices: what each measured; limited: as in
    scale.total_of(). Runs beside the loop. Raises Damaged, CannotWrite.
    """
    each = [one for _, one in devices]
    total = scale.total_of(each, limited=limited)
    far = scale.far_off(each) if limited else []
    made = replace(base, version=base.version + 1, scale=scale_of(total))
    weights = models.bytes_of(base, spec)
    made = replace(made, model_hash=digest.model_hash(made.spec(spec), made.exponents, weights))
    models.weights.put(weights, made.model_hash)
    sum_hash = models.sums.put(sums.pack(total))
    held = sorted(name for (name, _), is_far in zip(devices, far, strict=False) if is_far)
    parameters = json.dumps({"limited": limited, "far": held})
    return Made(made, total.count, sum_hash, state, STATISTICS, parameters)


def scale_of(total: Sums) -> tuple[Scale, ...]:
    """Tell by which scale samples with these sums are read. Raises NativeError: none have such."""
    return tuple(Scale(*channel) for channel in Normaliser.of(total).to_tuples())


def total_of(data: bytes) -> Sums:
    """Read a total from the journal's files. Raises Damaged."""
    try:
        return sums.unpack(data)
    except ValueError as error:
        raise Damaged(f"statistics: {error}") from error
