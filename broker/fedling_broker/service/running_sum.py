"""The sum of a round that grows with each update, so that little is left to do at its end."""

from collections.abc import Callable, Iterable, Iterator

from fedling_broker.aggregation.limits import Limits
from fedling_broker.aggregation.reading import Base, Read
from fedling_broker.aggregation.sums import GroupSum, Sum
from fedling_broker.store.rounds import DecisionRow, Rounds
from fedling_broker.store.shelf import Damaged
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.worker import Failed, Worker
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Update

Then = Callable[[GroupSum], None]


@dataclass(frozen=True, slots=True)
class Lost:
    """An update that was accepted, and that the disk does not give back."""

    device: str
    why: str


def add(total: Sum, read: Read, limits: Limits) -> None:
    """Add what counts of an update."""
    weight = min(read.sizes.examples, limits.examples)
    total.add(read.vector, weight, limits.shares(read.sizes))


def read_stored(
    rounds: Rounds,
    base: Base,
    plan_id: bytes,
    members: Iterable[DecisionRow],
    lost: list[Lost] | None = None,
) -> Iterator[Read]:
    """Read the members' updates on disk, of the sizes that they had when they were accepted.

    lost: as in stored()
    """
    for member, update in stored(rounds, plan_id, members, lost):
        yield Read(base.vector(member.device, update), member.sizes)


def stored(
    rounds: Rounds,
    plan_id: bytes,
    members: Iterable[DecisionRow],
    lost: list[Lost] | None = None,
) -> Iterator[tuple[DecisionRow, Update]]:
    """Read the members' updates on disk, one after the other.

    lost: takes those that are not whole any more; None: raises Damaged. Raises Damaged, too, for as
    long as a disk that fails may give one back: it was receipted.
    """
    for member in members:
        try:
            update = opened(rounds.update(plan_id, member))
        except Damaged as damaged:
            if lost is None or rounds.may_come_back(plan_id, damaged):
                raise
            lost.append(Lost(member.device, str(damaged)))
            continue
        yield member, update


def opened(message: bytes) -> Update:
    """What was verified before it was stored."""
    update = payload.decode(Kind.UPDATE, envelope.parse(message, Kind.UPDATE).payload)
    assert isinstance(update, Update)
    return update


class RunningSum:
    """Of one round. After a start, what is on disk is added up again beside everything else."""

    def __init__(self, base: Base, limits: Limits | None) -> None:
        """limits: None: the round's own updates will set them, so nothing is added before."""
        self.base = base
        self.limits = limits
        self.lost: list[Lost] = []
        self._sum = Sum(base.layers, base.fraction)
        self._restoring = False
        self._wanted: Then | None = None

    def restore(
        self,
        worker: Worker,
        rounds: Rounds,
        plan_id: bytes,
        members: list[DecisionRow],
        failed: Failed,
    ) -> None:
        """Begin with the updates on disk; those that are damaged are in `lost`, and in no sum.

        One after another is read beside the loop, and added in it.
        """
        if members and self.limits is not None:
            self._restoring = True
            on_disk = read_stored(rounds, self.base, plan_id, members, self.lost)
            self._read_next(worker, on_disk, failed)

    def add(self, read: Read) -> None:
        """It was accepted."""
        if self.limits is not None:
            add(self._sum, read, self.limits)

    def when_whole(self, then: Then) -> None:
        """Give the sum, now or when all of it was added up again."""
        self._wanted = then
        if not self._restoring:
            self._give()

    def close(self) -> None:
        """Nobody wants it any more."""
        self._wanted = None
        self._restoring = False

    def _read_next(self, worker: Worker, on_disk: Iterator[Read], failed: Failed) -> None:
        def take(read: Read | None) -> None:
            if not self._restoring:  # closed meanwhile
                return
            if read is None:
                self._restoring = False
                self._give()
            else:
                self.add(read)
                self._read_next(worker, on_disk, failed)

        worker.do(lambda: next(on_disk, None), take, failed)

    def _give(self) -> None:
        if self._wanted is not None:
            self._wanted(self._sum.group())
