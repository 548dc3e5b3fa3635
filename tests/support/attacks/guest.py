"""Who stands at the listener for enrolment: without a token, or with one and other wishes."""

from contextlib import suppress

from tests.support.attacks.intruder import PutOff
from tests.support.attacks.stage import VICTIM_ID, Stage
from tests.support.attacks.table import Attack, Who


def enters_without_a_token(stage: Stage) -> bool:
    stage.begin()
    stage.invite()
    with suppress(PutOff):
        return stage.knock("guest").lives
    return False


def reads_more_than_its_answer(stage: Stage) -> bool:
    """Plans, models, or what others are told."""
    stage.begin()
    guest = stage.knock("guest", stage.invite())
    guest.subscribe("#")
    return guest.ping() != []


def takes_a_devices_place(stage: Stage) -> bool:
    """Client ids are those of both listeners."""
    stage.begin()
    login = stage.invite()
    stage.settle()
    stage.knock(VICTIM_ID, login).ping()
    stage.settle()
    return stage.device.service.connection.lost != ""


ATTACKS = (
    Attack(
        "enrolment-without-a-token",
        Who.STRANGER,
        enters_without_a_token,
        left_out=("allow_anonymous false", "password_file", "use_username_as_clientid"),
        guarded=True,
    ),
    Attack(
        "guest-reads-everything",
        Who.GUEST,
        reads_more_than_its_answer,
        left_out=("enrolment-access",),
        guarded=True,
    ),
    Attack(
        "guest-takes-a-place",
        Who.GUEST,
        takes_a_devices_place,
        left_out=("use_username_as_clientid",),
        guarded=True,
    ),
)
