"""The exceptions that only `fedling-agent` has, by exit code; the others: protocol/command."""

from fedling_agent.service.control import Forbidden, Unavailable
from fedling_protocol.exits import Exit

EXITS: dict[type[Exception], Exit] = {
    Forbidden: Exit.NOT_ALLOWED,
    Unavailable: Exit.UNAVAILABLE,
}
