"""Freezes a training set when a plan is accepted, and makes the job that a child process trains."""

from fedling_agent.job import Job
from fedling_agent.store import Store
from fedling_protocol.messages import Plan, TaskSpec, Training

MAX_EXAMPLES = 65_536
MAX_BYTES = 64 * 2**20  # of frozen windows; the newest examples are taken


class Freezer:
    """Everything between "go" and a spooled update that is about files."""

    def __init__(self, store: Store, fleet: str, secret: bytes) -> None:
        """secret: the device's, for batch order and hold-out."""
        raise NotImplementedError

    def count(self, spec: TaskSpec, training: Training) -> int:
        """How many examples freeze() would take now; reads no samples. 0: stream unknown."""
        raise NotImplementedError

    def freeze(self, plan: Plan) -> Job:
        """Durably: windows, labels, normaliser, base weights, order seed. Again: the same job.

        Raises Missing (the base model is not here, no examples), BadInput (the stream does not
        fit the task), CannotWrite (nothing is frozen).
        """
        raise NotImplementedError

    def job(self, plan_id: bytes) -> Job | None:
        """The job of a frozen plan; what damaged files hold is made again from the recordings.

        None: not frozen, or beyond repair (then abort it).
        """
        raise NotImplementedError

    def abort(self, plan_id: bytes) -> None:
        """Forget checkpoint, frozen files and result; the plan may be frozen anew if it is open."""
        raise NotImplementedError

    def clean(self) -> None:
        """At start: remove the files of jobs that are not in work."""
        raise NotImplementedError
