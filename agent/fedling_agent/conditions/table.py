"""The table of conditions: a new one is a row here and its reader's file.

[policy], `conditions`, `check`, the documentation, the decision and the simulator loop over the
rows. A task may ask for it once wire.messages.Conditions has a field of that name.
"""

from fedling_agent.conditions import budget, heat, hours, load, network, pause, power, seat, words
from fedling_agent.conditions.condition import (
    Asker,
    Bound,
    Condition,
    Direction,
    Lack,
    Readings,
    Reason,
    Roots,
    Switch,
    Unless,
)
from fedling_agent.conditions.owner import Owner

# --- the owner's word ------------------------------------------------------------------------


def _say_pause(reason: Reason) -> str:
    return f"{pause.WORDS} {reason.detail}"


PAUSE = Condition(
    name="pause",
    unit="",
    read=pause.read,
    trains=True,
    transfers=False,
    sends=True,
    limit=Unless(),
    code="paused-by-owner",
    word="paused by its owner",
    meaning="`fedling-agent pause` was typed; neither is its time over, nor was `resume` typed",
    say=_say_pause,
)


def paused(owner: Owner) -> Reason | None:
    """Why a device does nothing that its owner has paused; None: nobody has."""
    if owner.pause is None:
        return None
    signal = pause.read(Roots(owner=owner))
    return Reason(
        PAUSE, PAUSE.code, True, False, asker=Asker.OWNER, source=signal.source,
        detail=signal.detail,
    )  # fmt: skip


# --- power: a battery matters on battery only ------------------------------------------------


def on_mains(readings: Readings) -> bool:
    """A machine that lists no supply is one that is plugged in (docs/power.md)."""
    mains = readings.signals[MAINS.name]
    return mains.value is True or mains.lack is Lack.ABSENT


def _no_battery(readings: Readings) -> Reason:
    """Not on mains, and no battery that could be full enough."""
    mains = readings.signals[MAINS.name]
    return MAINS.lacking(mains) if mains.value is None else Reason(MAINS, MAINS.code, False)


def _say_mains(reason: Reason) -> str:
    return f"on battery, and the {reason.asker} asks for mains" if reason.asker else "not on mains"


MAINS = Condition(
    name="mains",
    unit="",
    read=power.mains,
    trains=True,
    transfers=True,
    limit=Switch(False, help="work only while on mains"),
    code="not-on-mains",
    word="not on mains",
    meaning="a battery discharges while policy or task ask for mains",
    asks=lambda task: task.mains,
    say=_say_mains,
)
BATTERY = Condition(
    name="battery",
    unit="%",
    read=power.battery,
    trains=True,
    transfers=True,
    limit=Bound(
        Direction.AT_LEAST,
        default=40,
        resume=45,
        low=0,
        high=100,
        help="unless it is known to be on mains, work only from this charge",
        resume_help="after the battery was too low, work only from this charge",
    ),
    code="battery-low",
    word="battery low",
    meaning="not known to be on mains, and the battery is below its limit",
    asks=lambda task: task.battery,
    exempt=on_mains,
    when_absent=_no_battery,
)

# --- heat, network ---------------------------------------------------------------------------

SUSPECT = 95  # degrees at which a board slows itself down, or its sensor is no sensor


def _say_heat(reason: Reason) -> str:
    """Name the zone, and how to leave out one that says so for ever."""
    said = f"{words.passed(reason)} in {reason.detail or reason.source}"
    if not reason.value or reason.value < SUSPECT:
        return said
    key = f'policy.zones = ["{heat.LEAVE_OUT}{reason.detail}"]'
    return f"{said}; a zone that always says so is left out by {key}"


def _say_network(reason: Reason) -> str:
    return f"no network: {reason.source}: {reason.detail} (policy.network asks for a way there)"


def _say_metered(reason: Reason) -> str:
    way = f"the way to {reason.source} leaves by {reason.detail}"
    return f"metered: {way} (policy.unmetered = false lets it)"


TEMPERATURE = Condition(
    name="temperature",
    unit="°C",
    read=heat.temperature,
    trains=True,
    transfers=False,
    limit=Bound(
        Direction.AT_MOST,
        default=70,
        resume=65,
        low=heat.COLDEST,
        high=heat.HOTTEST,
        help="train only up to this temperature",
        resume_help="after it was too hot, train only from this temperature down",
    ),
    code="too-hot",
    word="too hot",
    meaning="the hottest zone is above its limit",
    asks=lambda task: task.temperature,
    say=_say_heat,
    harmless=(Lack.ABSENT, Lack.UNREADABLE),
)
NETWORK = Condition(
    name="network",
    unit="",
    read=network.network,
    trains=False,
    transfers=True,
    limit=Switch(True, help="models and updates need a route to the MQTT broker"),
    code="no-network",
    word="no network",
    meaning="the MQTT broker is not connected, and no route leads there",
    say=_say_network,
    harmless=(Lack.ABSENT, Lack.UNTOLD),
)

UNMETERED = Condition(
    name="unmetered",
    unit="",
    read=network.unmetered,
    trains=False,
    transfers=True,
    limit=Switch(
        True,
        help="models and updates wait while the way to the MQTT broker leaves by an interface of"
        " `metered`, or by one that NetworkManager calls so",
    ),
    code="metered",
    word="metered network",
    meaning="the way to the MQTT broker leaves by an interface that `policy.metered` names, or"
    " NetworkManager calls metered",
    say=_say_metered,
)

# --- others on this machine ---------------------------------------------------------------------


def _say_load(reason: Reason) -> str:
    return f"{words.passed(reason)}: what others use of all processors, {reason.detail}"


def _say_attended(reason: Reason) -> str:
    return f"somebody is at this machine: {reason.detail} (policy.unattended asks for nobody)"


LOAD = Condition(
    name="load",
    unit="%",
    read=load.load,
    trains=True,
    transfers=False,
    limit=Bound(
        Direction.AT_MOST,
        default=100,
        resume=50,
        low=0,
        high=100,
        help="train only while others use no more of all processors together; 100: whatever they"
        " use",
        resume_help="after they used more, train only while they use no more than this",
        off=100,
    ),
    code="machine-busy",
    word="the machine is busy",
    meaning="others have used more of the processors than the limit, in the last minute",
    say=_say_load,
)

UNATTENDED = Condition(
    name="unattended",
    unit="",
    read=seat.unattended,
    trains=True,
    transfers=False,
    limit=Switch(
        False,
        help="train only while nobody is at the keyboard and screen of this machine, where"
        " systemd-logind knows that",
    ),
    code="attended",
    word="somebody is there",
    meaning="somebody uses the keyboard or screen of this machine, as systemd-logind says",
    say=_say_attended,
    harmless=(Lack.ABSENT, Lack.UNTOLD),
)

# --- the owner's day and its hours ------------------------------------------------------------


def _say_used(reason: Reason) -> str:
    limit = f"{reason.limit:,} {reason.unit}"
    return f"the day's {reason.condition.name} is used up: {reason.value:,} of {limit}"


WORK = Condition(
    name="work",
    unit="min",
    read=budget.work,
    trains=True,
    transfers=False,
    limit=Bound(
        Direction.AT_MOST,
        default=480,
        resume=480,
        low=0,
        high=1440,
        help="in 24 hours of running, train for so long of one core",
        resume_help="",
    ),
    code="work-used-up",
    word="the day's work is used up",
    meaning="training has taken the minutes of one core that the owner gives in 24 hours",
    say=_say_used,
)
TRAFFIC = Condition(
    name="traffic",
    unit="MB",
    read=budget.moved,
    trains=False,
    transfers=True,
    limit=Bound(
        Direction.AT_MOST,
        default=1000,
        resume=1000,
        low=1,
        high=1_000_000,
        help="in 24 hours of running, take part until so much was sent and received",
        resume_help="",
    ),
    code="traffic-used-up",
    word="the day's traffic is used up",
    meaning="so much was sent and received as the owner allows in 24 hours",
    say=_say_used,
)


def _say_off_hours(reason: Reason) -> str:
    return f"not at this hour: {reason.detail} ({reason.source})"


OFF_HOURS = Condition(
    name="off_hours",
    unit="",
    read=hours.off_hours,
    trains=True,
    transfers=False,
    limit=Unless(),
    code="off-hours",
    word="not at this hour",
    meaning="`policy.hours` names times of the day, and it is none of them",
    say=_say_off_hours,
)

TABLE: tuple[Condition, ...] = (
    PAUSE, MAINS, BATTERY, TEMPERATURE, NETWORK, UNMETERED, LOAD, UNATTENDED, WORK, TRAFFIC,
    OFF_HOURS,
)  # fmt: skip
