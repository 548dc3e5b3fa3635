"""The kinds of messages: one row each, from which topics, envelopes, trust and payloads follow."""

from enum import Enum, StrEnum
from typing import Final

from fedling_protocol.wire import records
from fedling_protocol.wire.fields import Record
from fedling_protocol.wire.limits import (
    MAX_ENROLLED,
    MAX_LARGE,
    MAX_PLAN,
    MAX_ROOTS,
    MAX_SMALL,
)


class Signer(StrEnum):
    """Whose key signs a kind of message; what devices do not sign is for devices."""

    ROOT = "root"  # and the authority, for devices
    NEWEST = "newest root"  # the last one of the chain that the message itself tells
    AGGREGATOR = "aggregator"
    DEVICE = "device"


_ROOT, _NEWEST, _AGGREGATOR, _DEVICE = Signer


class Kind(Enum):
    """What one kind of message is.

    word:     what counters and refusals call it
    topic:    what stands behind <root>/1/<fleet>/; of parts in braces topics.py knows the form
    signer:   whose key signs it
    largest:  bytes of its envelope, at most
    retained: the MQTT broker keeps the last one for whoever subscribes later
    standing: its reader keeps it subscribed; if not, it subscribes when it wants one
    records:  what it carries; of several the word at key 1 tells which one. Chunks are a kind, and
              take the place of updates as well
    """

    # fmt: off
    #         word           topic                                   signer       largest
    #         retained, standing, records
    KEYS    = ("certificate", "keys/{owner}",                         _ROOT,       MAX_SMALL,
               True,  True,  (records.CERTIFICATE,))
    STATE   = ("state",       "state/{device}",                       _DEVICE,     MAX_SMALL,
               True,  False, (records.STATE,))
    TASKS   = ("tasks",       "tasks/list",                           _AGGREGATOR, MAX_PLAN,
               True,  True,  (records.TASKS,))
    PLAN    = ("plan",        "{task}/plan/{plan_kind}",              _AGGREGATOR, MAX_PLAN,
               True,  True,  (records.PLAN, records.REST))
    MODEL   = ("model",       "{task}/model/{version}",               _AGGREGATOR, MAX_LARGE,
               True,  False, (records.MODEL,))
    CHANGE  = ("change",      "{task}/change/{version}",              _AGGREGATOR, MAX_LARGE,
               True,  False, (records.CHANGE,))
    CHUNK   = ("chunk",       "{task}/chunk/{whole}/{version}/{chunk}", _AGGREGATOR, MAX_LARGE,
               True,  False, (records.CHUNK,))
    JOIN    = ("join",        "{task}/join/{device}",                 _DEVICE,     MAX_SMALL,
               False, True,  (records.JOIN,))
    TICKET  = ("ticket",      "{task}/ticket/{device}",               _AGGREGATOR, MAX_SMALL,
               False, True,  (records.TICKET,))
    UPDATE  = ("update",      "{task}/up/{device}/{plan_id}/{chunk}", _DEVICE,     MAX_LARGE,
               False, True,  (records.UPDATE, records.CHUNK))
    RECEIPT = ("receipt",     "{task}/receipt/{device}",              _AGGREGATOR, MAX_SMALL,
               False, True,  (records.RECEIPT,))
    ROOTS   = ("roots",       "roots/list",                           _NEWEST,     MAX_ROOTS,
               True,  True,  (records.ROOTS,))
    ENROL   = ("enrol",       "enrol/{device}",                       _DEVICE,     MAX_SMALL,
               False, True,  (records.ENROL,))
    ENROLLED = ("enrolled",   "enrolled/{device}",                    _AGGREGATOR, MAX_ENROLLED,
               False, True,  (records.ENROLLED,))
    # fmt: on

    def __init__(
        self,
        word: str,
        topic: str,
        signer: Signer,
        largest: int,
        retained: bool,
        standing: bool,
        records: tuple[Record, ...],
    ) -> None:
        self.word: Final = word
        self.topic: Final = topic
        self.signer: Final = signer
        self.largest: Final = largest
        self.retained: Final = retained
        self.standing: Final = standing
        self.records: Final = records

    def __str__(self) -> str:
        return self.word

    def __repr__(self) -> str:
        return f"Kind.{self.name}"

    @property
    def from_device(self) -> bool:
        """Whether devices send it; otherwise they receive it."""
        return self.signer is Signer.DEVICE
