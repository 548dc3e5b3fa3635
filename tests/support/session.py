"""A session to be driven by hand."""

from dataclasses import replace

from fedling_agent.session.events import (
    Action,
    Allowed,
    Connected,
    Event,
    PlanSeen,
    ReceiptSeen,
    SendJoin,
    Tick,
    TicketSeen,
    UpdateSpooled,
)
from fedling_agent.session.machine import step
from fedling_agent.session.state import (
    Joining,
    Spooled,
    Timing,
    due,
    restore,
)
from fedling_native import Loss, dense
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import (
    Answer,
    Conditions,
    Plan,
    Receipt,
    Rest,
    TaskSpec,
    Ticket,
    Verdict,
)
from fedling_protocol.wire.messages import Training as HowToTrain

SPEC = TaskSpec("watch", "imu", 2, 1, 1, "device", ("a", "b"), (dense(2, 2),), Loss.SOFTMAX)
PLAN = Plan(
    b"plan 1", 1, 1, b"model 1", SPEC, HowToTrain(1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0),
    Conditions(False, 0, 99), 0, Codec.RAW_INT16, None, 1000,
)  # fmt: skip
NEXT = replace(PLAN, plan_id=b"plan 2", round=2, base_version=2, base_hash=b"model 2")
REST = Rest(2, b"model 2", SPEC, 1000, 60)
RETRY = 30_000
SEEN = PlanSeen(PLAN, finished=False, held=True)
ENTRY = Spooled(b"plan 1", b"update 1")
ALL = Allowed(True, True, True, True)


class Device:
    """A session at some time, with what it did last."""

    def __init__(self, begun: Plan | None = None, spool: tuple[Spooled, ...] = ()) -> None:
        self.state = restore(Timing(), b"seed of 16 bytes", begun, spool)
        self.now = 1_000_000

    def give(self, *events: Event) -> list[Action]:
        """The actions of the last of these events."""
        actions: list[Action] = []
        for event in events:
            self.state, actions = step(self.state, event, self.now)
        return actions

    def wait(self) -> list[Action]:
        """Until the next tick is due."""
        time = due(self.state)
        assert time is not None
        assert time > self.now
        self.now = time
        return self.give(Tick())

    def answer(
        self, answer: Answer, seconds: int, reason: str = "", here: bytes = b""
    ) -> list[Action]:
        """A ticket for the join that was sent last."""
        assert isinstance(self.state.phase, Joining)
        joining = self.state.phase
        return self.give(
            TicketSeen(Ticket(joining.plan_id, joining.nonce, answer, seconds, reason, here=here)),
        )

    def receipt(self, verdict: Verdict = Verdict.ACCEPTED) -> list[Action]:
        """Of the spooled update."""
        return self.give(ReceiptSeen(Receipt(b"plan 1", b"update 1", verdict, "", None)))


def joining() -> Device:
    device = Device()
    device.give(ALL, Connected(), SEEN)
    return device


def training() -> Device:
    device = joining()
    device.answer(Answer.GO, 600)
    return device


def sending() -> Device:
    device = training()
    device.give(UpdateSpooled(b"plan 1", b"update 1"))
    return device


def joins(actions: list[Action]) -> list[SendJoin]:
    return [action for action in actions if isinstance(action, SendJoin)]
