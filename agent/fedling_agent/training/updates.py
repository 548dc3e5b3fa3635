"""From a finished training to the signed message that is sent, once and for all."""

from fedling_agent.store.identity import Identity
from fedling_agent.training.job import Job, Result
from fedling_protocol.classes import dataclass
from fedling_protocol.wire import coding, envelope
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Hits, Plan, Update
from fedling_protocol.wire.topics import Topics


@dataclass(frozen=True, slots=True)
class Made:
    """An update as it is sent, and of the vector in it, before it was coded, what `replay` has."""

    envelope: bytes
    vector_hash: bytes  # SHA-256
    tested: tuple[Hits, ...] | None  # what it says of its test


def make_update(plan: Plan, job: Job, result: Result, topics: Topics, identity: Identity) -> Made:
    """Sign what a training gave; the same bits whenever it is asked for.

    A job of an older release has its result as it was trained: that is coded here.
    """
    vector = result.vector
    if job.recipe.coding is None:
        vector = coding.encode(plan, identity.device, job.recipe.exponents, vector)
    update = Update(
        plan.plan_id,
        plan.base_version,
        plan.base_hash,
        min(result.examples, plan.training.weight_cap),
        plan.codec,
        vector,
        result.saturated,
        1,
        result.tested,
    )
    topic = topics.of(Kind.UPDATE, plan.spec.task, identity.device, plan.plan_id, 0)
    return Made(
        envelope.seal(update, topics.bound(topic), identity.key), result.vector_hash, result.tested
    )
