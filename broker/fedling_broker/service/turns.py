"""Group commit: all that happens between two commits is one transaction, and answers wait for it.

Calls run one after another inside an open transaction, for a few milliseconds a turn of the loop;
then the logs of updates and the transaction are made durable beside the loop, while further
messages are received and verified; then the answers go out. So an answer speaks only of what is on
disk, and the price of a commit is shared by all who wait for it.

    run(call)     call it inside a transaction: soon, or when the commit under way is done
    then(answer)  inside a call: call this when the transaction is on disk
    part()        inside a call: what raises in it is undone, with its answers, and nothing else

Whoever touches the database does so in such a call. What a failed commit would have made durable is
lost, and with it all that memory made of it: the owner is told, forgets its machines, and begins
anew from what is on disk. So it is with whatever else a call raises.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fedling_broker.store.store import Store
from fedling_protocol.disk.database import Transaction
from fedling_protocol.disk.errors import Busy, writing
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker

Call = Callable[[], None]

SLICE_S = 0.005  # calls, or answers, run for so long, then the loop serves others
LONGEST_S = 0.05  # a transaction takes calls in for so long: they came while the disk was busy
BUSY_S = 0.01  # an admin verb writes: the next try is after so long


class Turns:
    """The one writer of the running aggregator's store.

    first: called at the beginning of each transaction, in it
    refused: told when the disk could not be written, or what else went wrong
    """

    def __init__(
        self,
        clock: Clock,
        disk: Worker,
        store: Store,
        first: Call,
        refused: Callable[[Exception], None],
    ) -> None:
        self._clock = clock
        self._disk = disk
        self._store = store
        self._first = first
        self._refused = refused
        self._calls: deque[Call] = deque()
        self._answers: list[Call] = []  # of the transaction that is open
        self._due: deque[Call] = deque()  # answers about what is on disk
        self._open: Transaction | None = None
        self._began = 0.0
        self._changes = 0
        self._planned = False
        self._sending = False
        self._committing = False
        self._drained: Call | None = None

    def run(self, call: Call) -> None:
        """Call it inside a transaction, soon; in the order of these calls."""
        self._calls.append(call)
        self._plan(0.0)

    def then(self, answer: Call) -> None:
        """Call it when what this transaction has done is on disk; never if it cannot be."""
        self._answers.append(answer)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Undo what is written and to be answered inside, if it raises; inside a call."""
        assert self._open is not None
        answers = len(self._answers)
        try:
            with self._open.part():
                yield
        except BaseException:
            del self._answers[answers:]
            raise

    def drain(self, then: Call) -> None:
        """Tell when all that was asked for is on disk and answered, or was refused."""
        self._drained = then
        self._plan(0.0)

    # --- a turn ----------------------------------------------------------------------------------

    def _plan(self, delay_s: float) -> None:
        if not self._planned and not self._committing:
            self._planned = True
            self._clock.after(delay_s, self._turn)

    def _turn(self) -> None:
        self._planned = False
        if self._committing:  # it was planned by a call of the turn before
            return
        try:
            if self._calls and self._open is None and not self._begin():
                self._plan(BUSY_S)
                return
            more = bool(self._calls) and self._run_calls()
        except Exception as error:  # noqa: BLE001 (told to the owner, which begins anew)
            self._fail(error)
        else:
            if more:
                self._plan(0.0)
            else:
                self._end()

    def _run_calls(self) -> bool:
        """Whether this transaction goes on in the next turn."""
        until = self._clock.now() + SLICE_S
        while self._calls:
            self._calls.popleft()()
            if self._clock.now() >= until:
                break
        return bool(self._calls) and self._clock.now() < self._began + LONGEST_S

    def _begin(self) -> bool:
        """Whether we are the one writer now; an admin verb may be."""
        try:
            self._open = self._store.database.begin("the database", wait=False)
        except Busy:
            return False
        self._began = self._clock.now()
        self._changes = self._open.connection.total_changes
        self._first()
        return True

    def _end(self) -> None:
        """Make it durable, if anything was written."""
        transaction, self._open = self._open, None
        answers, self._answers = self._answers, []
        writes = self._store.rounds.take_writes()
        if transaction is None:
            self._on_committed(answers)
        elif not writes and transaction.connection.total_changes == self._changes:
            transaction.roll_back()
            self._on_committed(answers)
        else:
            self._committing = True
            self._disk.do(
                lambda: make_durable(writes, transaction),
                lambda _: self._on_committed(answers),
                self._on_failed,
            )

    def _on_committed(self, answers: list[Call]) -> None:
        self._committing = False
        self._due.extend(answers)
        if self._calls:
            self._plan(0.0)
        if not self._sending:
            self._send()

    def _send(self) -> None:
        self._sending = False
        until = self._clock.now() + SLICE_S
        while self._due and self._clock.now() < until:
            self._answer(self._due.popleft())
        if self._due:
            self._send_later()
        self._tell_drained()

    def _answer(self, answer: Call) -> None:
        try:
            answer()
        except Exception as error:  # noqa: BLE001 (told to the owner, which begins anew)
            self._refused(error)

    def _send_later(self) -> None:
        if not self._sending:
            self._sending = True
            self._clock.after(0.0, self._send)

    def _tell_drained(self) -> None:
        busy = self._calls or self._due or self._planned or self._committing or self._open
        if self._drained is not None and not busy:
            drained, self._drained = self._drained, None
            drained()

    # --- what cannot be written ------------------------------------------------------------------

    def _on_failed(self, error: Exception) -> None:
        self._committing = False
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.drop()
        self._refused(error)
        self._tell_drained()

    def drop(self) -> None:
        """Forget what is not on its way to the disk yet, and whoever waits for it."""
        self._calls.clear()
        self._answers.clear()
        self._store.rounds.forget_logs()
        transaction, self._open = self._open, None
        if transaction is not None:
            transaction.roll_back()


def make_durable(writes: Sequence[Call], transaction: Transaction) -> None:
    """Updates first, then the facts about them. Raises CannotWrite; then nothing is kept."""
    try:
        with writing("the updates"):
            for write in writes:
                write()
    except BaseException:
        transaction.roll_back()
        raise
    transaction.commit()
