"""The talk of a device that enrols: whatever happens in it, it ends, and says something useful."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.enrol import machine
from fedling_agent.enrol.asking import Denied, Granted
from fedling_agent.enrol.machine import (
    ASKS,
    CONNECTIONS,
    Action,
    Answered,
    Ask,
    Begun,
    Connect,
    Connected,
    Event,
    GiveUp,
    Keep,
    Lost,
    Silence,
    State,
    step,
)
from fedling_protocol.wire.messages import Certificate, EnrolReason, Grant, Role

OWN = Certificate(bytes(32), Role.DEVICE, "home", "a" * 16, 1)
GRANTED = Granted(Grant(bytes(32), b"a", b"b", b"c", "h", 8883), OWN, ())
REASONS = st.sampled_from([*EnrolReason, "of a later version"])
TO_CONNECT = st.just(Connected()) | st.builds(Lost, st.just("refused"))
TO_ASK = (
    st.builds(Lost, st.just("gone"))
    | st.builds(Silence, st.sampled_from(["", "token"]))
    | st.builds(Answered, st.builds(Denied, REASONS.map(str), st.booleans()))
    | st.just(Answered(GRANTED))
)


def after(*events: Event) -> tuple[State, Action]:
    state, action = step(State(), Begun())
    for event in events:
        state, action = step(state, event)
    return state, action


@given(st.data())
def test_talk_ends_whatever_happens_in_it(data: st.DataObject) -> None:
    state, action = step(State(), Begun())
    steps = 0
    while isinstance(action, Connect | Ask):
        event = data.draw(TO_CONNECT if isinstance(action, Connect) else TO_ASK)
        state, action = step(state, event)
        steps += 1
    assert steps <= CONNECTIONS * (ASKS + 1)
    if isinstance(action, GiveUp):
        assert action.words
        assert "\n" not in action.words
    else:
        assert action == Keep(GRANTED)


def test_answer_that_is_believed_is_kept_at_once() -> None:
    assert after(Connected(), Answered(GRANTED))[1] == Keep(GRANTED)
    assert after(Connected(), Silence(), Answered(GRANTED))[1] == Keep(GRANTED)
    assert after(Connected(), Lost("gone"), Connected(), Answered(GRANTED))[1] == Keep(GRANTED)


def test_a_question_that_nobody_heard_is_asked_again_soon_and_then_ever_later() -> None:
    """The aggregator may listen a moment after it was asked: ten seconds were waited then."""
    asked = [after(Connected(), *[Silence()] * n)[1] for n in range(ASKS)]
    waits = [ask.wait_s for ask in asked if isinstance(ask, Ask)]
    assert waits == sorted(waits)
    assert waits[0] <= 1
    assert sum(waits) >= 30
    assert after(Connected(), Silence(), Lost("gone"), Connected())[1] == asked[0]


def test_each_connection_is_told_how_many_there_were() -> None:
    assert after()[1] == Connect(0)
    assert after(Lost("a"), Lost("b"))[1] == Connect(2)


@pytest.mark.parametrize("reason", EnrolReason)
def test_every_no_has_a_sentence(reason: EnrolReason) -> None:
    assert reason in machine.WORDS
    answer = Answered(Denied(reason, proven=True))
    _, action = after(Connected(), *[answer] * (1 if reason is not EnrolReason.BUSY else ASKS))
    assert action == GiveUp(machine.WORDS[reason], reason)


def test_no_of_anybody_is_told_as_that() -> None:
    _, action = after(Connected(), Answered(Denied("token used up", proven=False)))
    assert isinstance(action, GiveUp)
    assert "did not prove" in action.words


def test_what_was_not_believed_is_named_when_nothing_better_came() -> None:
    _, action = after(Connected(), Silence("signature"), *[Silence()] * (ASKS - 1))
    assert isinstance(action, GiveUp)
    assert "(signature)" in action.words


def test_mute_aggregator_is_told_from_a_broker_that_is_not_there() -> None:
    _, mute = after(Connected(), *[Silence()] * ASKS)
    _, gone = after(*[Lost("no route")] * CONNECTIONS)
    assert isinstance(mute, GiveUp)
    assert isinstance(gone, GiveUp)
    assert "does `fedling-broker serve` run?" in mute.words
    assert gone.words.startswith("no route; if the token may be old, or its port wrong")


def test_machine_is_pure() -> None:
    text = Path(machine.__file__).read_text()
    imports = {line.split()[1].split(".")[0] for line in text.splitlines() if "import " in line}
    assert imports & {"time", "os", "random", "socket", "secrets", "pathlib", "threading"} == set()
