"""A simulated device: a session, the disk and the training child that its shell would have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fedling_agent.session.events import (
    Allowed,
    AskPlan,
    CancelFetch,
    CancelUpdate,
    Connected,
    Disconnected,
    Enrolled,
    Erase,
    FetchModel,
    ModelComing,
    ModelStored,
    PauseTraining,
    PlanOver,
    PlanSeen,
    ReceiptSeen,
    RestSeen,
    SendJoin,
    SendUpdate,
    StartTraining,
    Tick,
    TicketSeen,
    TrainingFailed,
    UpdateLost,
    UpdateSent,
    UpdateSpooled,
)
from fedling_agent.session.state import Session, Spooled, due
from fedling_protocol.wire.messages import Answer, Plan, Receipt, Rest, Ticket, Verdict
from tests.support.schedules.faults import Fault
from tests.support.schedules.node import Node
from tests.support.schedules.violation import must

if TYPE_CHECKING:
    from tests.support.schedules.world import World

TICK = Tick()


class Device(Node):
    """On its disk: begun, frozen, checkpoint, spool, over, models, erasing. The rest is lost."""

    CRASHES = (Fault.AGENT_KILLED, Fault.DEVICE_POWER_CUT)

    state: Session

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        # the disk
        self.begun: Plan | None = None
        self.frozen = 0  # stands for the frozen training set of `begun`
        self.checkpoint = 0  # batches
        self.spool: tuple[Spooled, ...] = ()
        self.over: dict[bytes, tuple[bytes | None, Verdict | None]] = {}
        self.models: set[int] = set()
        self.erasing = False
        # the world around it, which survives its crashes
        self.certified = world.random() < 0.85
        self.train = world.random() < 0.95
        self.transfer = world.random() < 0.95
        self.enough = world.random() < 0.95
        self.takes_part = True  # not paused by its owner
        # memory
        self.child = 0  # number of the child; 0: none runs
        self.ending = 0  # number of a child that ends after its batch
        self.children = 0
        self.batches = 0  # done by this child or its checkpoint
        slow = world.choose(1, 5, 20)
        self.batch_ms = world.slowest_ms * slow
        world.seen[Fault.SLOW] += slow == 20
        self.fetching: FetchModel | None = None
        self.moving = 0  # number of the transfer that is under way; 0: none
        self.transfers = 0
        # the judge's notes
        self.signed: dict[bytes, bytes] = {}  # plan: update hash
        self.joins: dict[bytes, int] = {}  # nonce: when it was sent
        self.leave: dict[bytes, int] = {}  # plan: until when the best ticket is good, in truth

    # --- the process ---

    def step(self, event: Any, now_ms: int) -> list[Any]:
        self.state, actions = self.world.machines.session(self.state, event, now_ms)
        must(len(self.state.spool) <= 1 and len(actions) <= 5, "a session grows")
        return actions

    def due(self) -> int | None:
        return due(self.state)

    def on_timer(self, due: int) -> None:
        if self.up and self.tick_at == due:
            self.tick_at = None
            self.give(TICK)

    def start(self) -> None:
        """As after a power cut: everything comes from the disk."""
        if self.up:
            return
        self.up = True
        seed = self.world.random().hex().encode()
        world = self.world
        self.state = world.machines.restore(world.timing, seed, self.begun, self.spool)
        self.world.after(self.world.delay(), self.connect, self.connection)
        if self.erasing:
            self.erase()
        self.tell_conditions()

    def crash(self, reboot: bool) -> None:
        super().crash(reboot)
        self.child = self.ending = self.moving = 0
        self.fetching = None

    def connect(self, connection: int) -> None:
        if self.up and not self.connected and connection == self.connection:
            self.connected = True
            self.connection += 1
            self.world.retained_to(self)
            self.give(Connected())

    def disconnect(self) -> None:
        if self.connected:
            self.connected = False
            self.connection += 1
            self.fetching = None
            self.moving = 0
            self.give(Disconnected())
            self.world.after(self.world.delay() * 2, self.connect, self.connection)

    def tell_conditions(self) -> None:
        """Conditions changed, or the process is new: then nothing forbidden may go on."""
        if self.up:
            train = self.train and self.takes_part
            self.give(Allowed(train, self.transfer, self.may_send, self.enough))
        if self.up and not self.transfer:
            must(not self.fetching, "a fetch goes on against conditions")
        if self.up and not self.may_send:
            must(not self.moving, "an update goes on against conditions")
        if self.up and not (self.train and self.takes_part):
            must(not self.child, "training goes on against conditions")

    @property
    def may_send(self) -> bool:
        return self.transfer and self.takes_part

    def enrol(self) -> None:
        if not self.certified:
            self.certified = True
            if self.connected:
                self.give(Enrolled())

    def plans(self) -> list[bytes]:
        """What has seen its examples, and is not over."""
        begun = [self.begun.plan_id] if self.begun else []
        return [*begun, *(entry.plan_id for entry in self.spool)]

    def erase(self) -> None:
        """The shell deletes the examples after the actions; then the erasure is complete."""
        self.erasing = True
        if self.up:
            self.give(Erase())
        if self.up:
            gone = not (self.begun or self.spool or self.child or self.ending or self.moving)
            must(gone, "erased, but not gone")
            self.erasing = False

    # --- messages ---

    def on_plan_topic(self, plan: Plan | Rest) -> None:
        if not self.connected:
            return
        held = plan_version(plan) in self.models
        if isinstance(plan, Rest):
            self.give(RestSeen(plan, held))
        else:
            self.give(PlanSeen(plan, plan.plan_id in self.over, held))

    def on_ticket(self, ticket: Ticket) -> None:
        if not self.connected:
            return
        if ticket.answer is Answer.GO and ticket.nonce in self.joins:
            end = self.joins[ticket.nonce] + ticket.seconds * 1000
            self.leave[ticket.plan_id] = max(end, self.leave.get(ticket.plan_id, 0))
        self.give(TicketSeen(ticket))

    def on_receipt(self, receipt: Receipt) -> None:
        if self.connected:
            self.give(ReceiptSeen(receipt))

    def send_join(self, action: SendJoin) -> None:
        world = self.world
        must(self.connected and self.may_send, "a join against conditions")
        must(action.nonce not in self.joins, "a nonce comes twice")
        self.joins[action.nonce] = world.now
        world.faults.may_follow(self, 2 * world.slowest_ms)
        world.carry(world.aggregator.on_join, self, action)

    def ask_plan(self, action: AskPlan) -> None:
        self.world.retained_to(self)

    # --- transfers ---

    def fetch_model(self, action: FetchModel) -> None:
        must(self.connected and self.transfer, "a fetch against conditions")
        must(not self.fetching, "two fetches at once")
        self.fetching = action
        self.world.faults.may_follow(self, self.world.slowest_ms)
        if action.version in self.models:
            self.world.after(0, self.model_arrived, action)
        else:
            self.look_for_model()

    def look_for_model(self) -> None:
        """Subscribed: as soon as the MQTT broker has the model, its bytes begin to come."""
        if self.fetching and self.fetching.version in self.world.broker.models:
            self.world.after(self.world.delay(), self.chunk_arrived, self.fetching)
            self.world.after(self.world.delay() * 3, self.model_arrived, self.fetching)

    def chunk_arrived(self, fetch: FetchModel) -> None:
        if self.fetching is fetch:
            self.give(ModelComing(fetch.version))

    def model_arrived(self, fetch: FetchModel) -> None:
        if self.fetching is fetch:
            self.fetching = None
            self.models.add(fetch.version)
            self.give(ModelStored(fetch.version, fetch.model_hash))

    def cancel_fetch(self, action: CancelFetch) -> None:
        self.fetching = None

    def send_update(self, action: SendUpdate) -> None:
        world = self.world
        must(self.connected and self.may_send, "an update is sent against conditions")
        must(Spooled(action.plan_id, action.update_hash) in self.spool, "sent, but not spooled")
        must(self.leave.get(action.plan_id, 0) > world.now, "sent without a good ticket")
        if world.faults.damages(self, action.plan_id):
            self.pending.append(UpdateLost(action.plan_id, action.update_hash))
            return
        self.transfers += 1
        self.moving = self.transfers
        world.faults.may_follow(self, 2 * world.slowest_ms)
        lasts_ms = world.delay() * 3
        world.faults.may_cut(self, lasts_ms)
        world.faults.may_lose(self, lasts_ms)
        world.after(lasts_ms, self.update_moved, action, self.moving)

    def update_moved(self, action: SendUpdate, transfer: int) -> None:
        """The last byte is with the MQTT broker; its PUBACK comes at once."""
        if self.moving == transfer:
            self.moving = 0
            self.world.carry(self.world.aggregator.on_update, self, action)
            if not self.world.machines.keeps_sent:
                self.spool = tuple(e for e in self.spool if e.plan_id != action.plan_id)
            self.give(UpdateSent(action.plan_id))

    def cancel_update(self, action: CancelUpdate) -> None:
        self.moving = 0

    # --- training ---

    def start_training(self, action: StartTraining) -> None:
        world, plan = self.world, action.plan
        must(plan.plan_id not in self.over, "a finished plan is trained again")
        must(plan.base_version in self.models, "training without its base model")
        must(not self.child, "two children")
        if self.begun is None:
            must(self.leave.get(plan.plan_id, 0) > world.now, "begun without a good ticket")
            self.begun, self.frozen, self.checkpoint = plan, world.between(1, 2**60), 0
        must(self.begun.plan_id == plan.plan_id, "two plans are begun")
        if self.ending:  # it has not finished its batch yet
            self.child, self.ending = self.ending, 0
            return
        self.children += 1
        self.child, self.batches = self.children, self.checkpoint
        world.faults.may_follow(self, 2 * self.batch_ms)
        world.faults.may_lose(self, self.batch_ms)
        self.begin_batch(self.child)

    def begin_batch(self, child: int) -> None:
        must(self.train, "a batch against conditions")
        self.world.after(1 + int(self.batch_ms * self.world.random()), self.end_batch, child)

    def end_batch(self, child: int) -> None:
        if child not in (self.child, self.ending) or not self.begun:
            return
        self.batches += 1
        if child == self.ending:
            self.ending, self.checkpoint = 0, self.batches
        if self.batches < 1 + self.begun.round % 3:
            if self.child:
                self.begin_batch(child)
        elif self.world.faults.training_fails(self, self.begun.plan_id):
            self.child = 0
            self.give(TrainingFailed(self.begun.plan_id, "planted"))
        else:
            self.finish(self.begun)

    def finish(self, plan: Plan) -> None:
        """Sign and spool, in one transaction. Nobody may ever sign two updates for one plan."""
        update_hash = self.frozen.to_bytes(8, "big") + plan.plan_id  # the same integers, always
        must(self.signed.setdefault(plan.plan_id, update_hash) == update_hash, "two updates")
        self.spool = (*self.spool, Spooled(plan.plan_id, update_hash))
        self.begun, self.child = None, 0
        self.give(UpdateSpooled(plan.plan_id, update_hash))

    def pause_training(self, action: PauseTraining) -> None:
        """The child finishes its batch; it may have been the last one."""
        self.child, self.ending = 0, self.child

    def plan_over(self, action: PlanOver) -> None:
        plan_id = action.plan_id
        self.world.aggregator.check_over(self, action)
        if self.begun and self.begun.plan_id == plan_id:
            self.begun, self.child, self.ending = None, 0, 0
        self.spool = tuple(entry for entry in self.spool if entry.plan_id != plan_id)
        self.over.setdefault(plan_id, (action.update_hash, action.verdict))

    ACTIONS: ClassVar[dict[type, Callable[..., None]]] = {
        SendJoin: send_join,
        AskPlan: ask_plan,
        FetchModel: fetch_model,
        CancelFetch: cancel_fetch,
        StartTraining: start_training,
        PauseTraining: pause_training,
        SendUpdate: send_update,
        CancelUpdate: cancel_update,
        PlanOver: plan_over,
    }

    # --- the end ---

    def at_rest(self) -> bool:
        return not self.begun and not self.spool

    def check_end(self, folded: dict[tuple[str, bytes], bytes]) -> None:
        """Takes this device's updates out of `folded`."""
        for plan_id, update_hash in self.signed.items():
            must(plan_id in self.over, "a finished update without a receipt")
            known, verdict = self.over[plan_id]
            must(verdict is None or known == update_hash, "a receipt of another update")
            counted = folded.pop((self.name, plan_id), None)
            if verdict is Verdict.ACCEPTED:
                must(counted == update_hash, "accepted, but in no sum")
            else:
                must(verdict is None or counted is None, "counted, but not accepted")


def plan_version(plan: Plan | Rest) -> int:
    return plan.version if isinstance(plan, Rest) else plan.base_version
