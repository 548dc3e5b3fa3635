"""The words of the wire that stand both in topics and in messages (SPEC.md section 1)."""

import ipaddress
import re
from typing import Final

WIRE_VERSION: Final = 1
AGGREGATOR: Final = "aggregator"  # the id of the aggregator's certificate
AUTHORITY: Final = "authority"  # of that of the authority, which certifies devices

LABELS: Final = "[a-z0-9][a-z0-9-]{0,31}, but no id (16 of a-z2-7, aggregator, authority)"
NAME: Final = re.compile("[a-z0-9][a-z0-9-]{0,31}")  # of a fleet, a task, a stream, a device
DEVICE: Final = re.compile("[a-z2-7]{16}")
OWNER: Final = re.compile(f"{DEVICE.pattern}|{AGGREGATOR}|{AUTHORITY}")  # of a certificate
HOST: Final = re.compile("[A-Za-z0-9._:-]{1,253}")  # a name or an address, of either version


def is_name(text: str) -> bool:
    """Whether it may name a fleet or a stream."""
    return NAME.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether a person may call a device so: no word that stands for an id."""
    return is_name(text) and OWNER.fullmatch(text) is None


def is_device(text: str) -> bool:
    """Whether it has the form of a device id."""
    return DEVICE.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether it is a name, or an address of either version; a port behind it is neither."""
    return HOST.fullmatch(text) is not None and (":" not in text or is_ipv6(text))


def is_ipv6(text: str) -> bool:
    """Whether it is an address of version 6, without brackets."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
