"""What the runners of a device share: each is a port or a part with a test file of its own."""

from collections.abc import Callable

from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.service.books import Books
from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.floor import Floor
from fedling_agent.service.history import History
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.writer import Writer
from fedling_agent.session.state import Timing
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.personal_job import Maker
from fedling_agent.training.slot import Slot
from fedling_protocol.classes import dataclass
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire.topics import Topics


@dataclass(frozen=True, slots=True)
class Parts:
    """Given to each runner when it is made."""

    clock: Clock
    link: Link
    outbox: Outbox
    books: Books
    enrolment: Enrolment
    history: History
    writer: Writer
    store: Store
    floor: Floor
    freezer: Freezer
    maker: Maker | None  # of personal models; None: the owner wants none
    take_whole: Callable[[str, bytes], bool]  # as if it had come on a topic; False: it was refused
    topics: Topics
    identity: Identity
    slot: Slot
    watcher: Watcher
    policy: Policy
    timing: Timing
    dice: Callable[[int], bytes]  # os.urandom
    failed: Callable[[str, Exception], None]  # told what went wrong with a task
    changed: Callable[[], None]  # what the fleet hears of this device may be otherwise now
