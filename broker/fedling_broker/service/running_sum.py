"""The sum of a round that grows with each update, so that little is left to do at its end."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fedling_broker.aggregation import limits
from fedling_broker.aggregation.limits import Limits, Sizes
from fedling_broker.aggregation.sums import GroupSum, Sum
from fedling_broker.aggregation.vectors import decode
from fedling_broker.store.rounds import DecisionRow, Rounds
from fedling_broker.store.shelf import Damaged
from fedling_native import Layer, parameter_counts
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.slices import Sliced, Slices
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Update

Then = Callable[[GroupSum], None]


@dataclass(frozen=True, slots=True)
class Lost:
    """An update that was accepted, and that the disk does not give back."""

    device: str
    why: str


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a round's updates change."""

    layers: Sequence[Layer]
    exponents: Sequence[int]

    def measure(self, update: Update) -> Sizes:
        """How large an update is, whatever counts of it. Raises ValueError as decode() does."""
        vector = decode(update.codec, update.vector, parameter_counts(self.layers))
        return limits.measure(self.layers, self.exponents, vector, update.weight)


def add(total: Sum, update: Update, sizes: Sizes, limits: Limits) -> None:
    """Add what counts of an update."""
    weight = min(update.weight, limits.examples)
    total.add(update.codec, update.vector, weight, limits.shares(sizes))


def add_up(
    rounds: Rounds,
    plan_id: bytes,
    members: Iterable[DecisionRow],
    sizes: Callable[[DecisionRow, Update], Sizes],
    limits: Limits,
    total: Sum,
    lost: list[Lost] | None = None,
) -> Slices[None]:
    """Add the members' updates on disk. sizes: tells how large one is

    lost: takes those that are not whole any more; None: raises Damaged. Raises it as stored() does.
    """
    for member, update in stored(rounds, plan_id, members, lost):
        add(total, update, sizes(member, update), limits)
        yield


def stored(
    rounds: Rounds,
    plan_id: bytes,
    members: Iterable[DecisionRow],
    lost: list[Lost] | None = None,
) -> Iterator[tuple[DecisionRow, Update]]:
    """Read the members' updates on disk, one after the other. lost: as in add_up()

    Raises Damaged, too, for as long as a disk that fails may give one back: it was receipted.
    """
    for member in members:
        try:
            update = read(rounds.update(plan_id, member))
        except Damaged as damaged:
            if lost is None or rounds.may_come_back(plan_id, damaged):
                raise
            lost.append(Lost(member.device, str(damaged)))
            continue
        yield member, update


def read(message: bytes) -> Update:
    """What was verified before it was stored."""
    update = payload.decode(Kind.UPDATE, envelope.parse(message, Kind.UPDATE).payload)
    assert isinstance(update, Update)
    return update


def as_stored(member: DecisionRow, _update: Update) -> Sizes:
    """It was measured when it was accepted."""
    return member.sizes


class RunningSum:
    """Of one round. After a start, what is on disk is added up again beside everything else."""

    def __init__(self, base: Base, limits: Limits | None) -> None:
        """limits: None: the round's own updates will set them, so nothing is added before."""
        self.base = base
        self.limits = limits
        self.lost: list[Lost] = []
        self._sum = Sum(base.layers)
        self._slices: Sliced[None] | None = None
        self._wanted: Then | None = None

    def restore(
        self,
        clock: Clock,
        rounds: Rounds,
        plan_id: bytes,
        members: list[DecisionRow],
        failed: Callable[[Exception], None],
    ) -> None:
        """Begin with the updates on disk; those that are damaged are in `lost`, and in no sum."""
        if members and self.limits is not None:
            slices = add_up(rounds, plan_id, members, as_stored, self.limits, self._sum, self.lost)
            self._slices = Sliced(clock, slices, lambda _: self._on_restored(), failed)

    def add(self, update: Update) -> Sizes:
        """It was accepted; tell how large it is."""
        sizes = self.base.measure(update)
        if self.limits is not None:
            add(self._sum, update, sizes, self.limits)
        return sizes

    def when_whole(self, then: Then) -> None:
        """Give the sum, now or when all of it was added up again."""
        self._wanted = then
        if self._slices is None:
            self._on_restored()

    def close(self) -> None:
        """Nobody wants it any more."""
        self._wanted = None
        if self._slices is not None:
            self._slices.cancel()

    def _on_restored(self) -> None:
        self._slices = None
        if self._wanted is not None:
            self._wanted(self._sum.group())
