"""What a device knows of its place in the fleet, after each thing that it may hear."""

import pytest

from fedling_agent.service.enrolment import DOUBT, Enrolment
from fedling_agent.store.identity import Identity
from tests.support.device import SECRET
from tests.support.service import DEVICE

# What is heard, whether the last was news; then enrolled, was_enrolled, revoked.
HEARD = {
    (): (False, False, False, False),
    ("certified",): (True, True, False, False),
    ("certified", "certified"): (False, True, False, False),
    ("denied",): (False, False, False, False),
    ("certified", "denied"): (True, False, True, False),
    ("certified", "denied", "denied"): (False, False, True, False),
    ("certified", "denied", "certified"): (True, True, False, False),
    ("taken_back",): (True, False, False, True),
    ("certified", "taken_back"): (True, False, False, True),
    ("certified", "taken_back", "taken_back"): (False, False, False, True),
    ("taken_back", "certified"): (True, True, False, False),
}


@pytest.mark.parametrize("heard", HEARD)
def test_what_is_heard_last_counts(heard: tuple[str, ...]) -> None:
    enrolment, news = Enrolment(Identity(DEVICE, SECRET)), False
    for what in heard:
        news = getattr(enrolment, what)()
    found = (news, enrolment.enrolled, enrolment.was_enrolled, enrolment.revoked)
    assert found == HEARD[heard]


def test_key_is_shown_by_who_is_not_enrolled_or_begins_to_doubt_it() -> None:
    enrolment, key = Enrolment(Identity(DEVICE, SECRET)), DEVICE.public
    assert [enrolment.key(tries) for tries in (0, DOUBT)] == [key, key]
    enrolment.certified()
    assert [enrolment.key(n) for n in (0, DOUBT - 1, DOUBT)] == [None, None, key]
    enrolment.taken_back()
    assert enrolment.key(0) == key
