"""The talk of a device that enrols, as a pure state machine: one event in, one action out.

Whoever drives it does what it says and tells what came of that; there is no clock, no network and
no randomness here. The question is always the same one, so that it may be asked again after
whatever was lost: a message, the answer to it, the connection, this process.
"""

from collections.abc import Mapping
from dataclasses import replace

from fedling_agent.enrol.asking import Denied, Granted
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import EnrolReason

CONNECTIONS = 6  # tries; each takes another place among those who enrol with this token
# For an answer to each question on one connection. The first ones may come before the aggregator
# listens, as when both were started by one person, and cost three hundred bytes each.
WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0)
ASKS = len(WAITS_S)


@dataclass(frozen=True, slots=True)
class Begun:
    """Nothing has happened yet."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The MQTT broker lets us ask, and will bring the answer."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no connection, or none any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came that is believed. disbelieved: why what came is not"""

    disbelieved: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """Something came that is believed, or a no, which anybody could have said if it is unproven."""

    answer: Granted | Denied


Event = Begun | Connected | Lost | Silence | Answered


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect, after a pause that grows. tries: how often that was done"""

    tries: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask, and listen so long."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Write the answer down: from then on nobody need be asked any more."""

    granted: Granted


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It does not work: a sentence that says what to do. reason: the aggregator's word, if any"""

    words: str
    reason: str = ""


Action = Connect | Ask | Keep | GiveUp
WRONG_TOKEN = "if the token may be old, or its port wrong ([enrolment] in broker.toml)"
INVITE = "the operator makes a token with: fedling-broker device invite"
WORDS: Mapping[str, str] = {
    EnrolReason.TOKEN_UNKNOWN: f"the fleet knows no such token; {INVITE}",
    EnrolReason.TOKEN_USED: f"the token was used up by other devices; {INVITE}",
    EnrolReason.TOKEN_LATE: f"the token is too old; {INVITE}",
    EnrolReason.REVOKED: (
        "this device's key was revoked; to come in with a new one, as a new device, add --again"
    ),
    EnrolReason.NAME_TAKEN: "another device has this name; choose another one with --name",
    EnrolReason.NOT_ENROLLED: f"the fleet does not know this device; {INVITE}",
    EnrolReason.BY_HAND: (
        "this fleet certifies its devices by hand: give the operator what `fedling-agent init`"
        " prints"
    ),
    EnrolReason.BUSY: "the aggregator is busy; try again in some minutes",
}


@dataclass(frozen=True, slots=True)
class State:
    """How far the talk has come."""

    connections: int = 0
    asks: int = 0  # on the present connection
    disbelieved: str = ""  # why the last answer was not believed
    denied: str = ""  # the last no that may be a yes soon


def step(state: State, event: Event) -> tuple[State, Action]:
    """Say what to do next."""
    match event:
        case Begun():
            return _connect(state)
        case Connected():
            return _ask(replace(state, asks=0))
        case Lost(reason):
            if state.connections < CONNECTIONS:
                return _connect(state)
            return state, GiveUp(f"{reason}; {WRONG_TOKEN}: {INVITE}")
        case Silence(disbelieved):
            return _again(replace(state, disbelieved=disbelieved or state.disbelieved))
        case Answered(answer):
            if isinstance(answer, Granted):
                return state, Keep(answer)
            if answer.for_now and state.asks < ASKS:
                return _again(replace(state, denied=answer.reason))
            return state, _no(answer)


def _connect(state: State) -> tuple[State, Action]:
    return replace(state, connections=state.connections + 1, asks=0), Connect(state.connections)


def _ask(state: State) -> tuple[State, Action]:
    return replace(state, asks=state.asks + 1), Ask(WAITS_S[state.asks])


def _again(state: State) -> tuple[State, Action]:
    if state.asks < ASKS:
        return _ask(state)
    if state.denied:
        return state, _no(Denied(state.denied, proven=True))
    if state.disbelieved:
        return state, GiveUp(
            f"an answer came that is not believed ({state.disbelieved}): somebody on the way may"
            " have changed it, or the token is another fleet's"
        )
    return state, GiveUp(
        "the MQTT broker is there, the aggregator does not answer: does `fedling-broker serve` run?"
    )


def _no(denied: Denied) -> GiveUp:
    words = WORDS.get(denied.reason, f"not enrolled: {denied.reason}")
    doubt = "" if denied.proven else " (whoever said so did not prove that they have the token)"
    return GiveUp(words + doubt, denied.reason)
