"""Which exception ends a command in which exit code (docs/exit-codes.md)."""

import sqlite3

from fedling_agent.service.control import Unavailable
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_sim.aggregator import AggregatorFailed
from fedling_sim.board.qemu import ImageHangs
from fedling_sim.board.selftest import BadReport
from fedling_sim.board.toolchain import BuildFailed, SourcesMissing, ToolMissing
from fedling_sim.device import DeviceFailed
from fedling_sim.fits import BatchRefused
from fedling_sim.mosquitto import MosquittoFailed, MosquittoMissing, PortTaken
from fedling_sim.process import ChildDied
from fedling_sim.run import OutTaken
from fedling_sim.sizing.costs import CostsMissing

EXITS: dict[type[Exception], Exit] = {
    SettingsError: Exit.BAD_CONFIG,
    MosquittoMissing: Exit.UNAVAILABLE,
    ToolMissing: Exit.UNAVAILABLE,
    SourcesMissing: Exit.UNAVAILABLE,
    BuildFailed: Exit.FAILED,
    ImageHangs: Exit.FAILED,
    BadReport: Exit.FAILED,
    MosquittoFailed: Exit.FAILED,
    PortTaken: Exit.FAILED,
    ChildDied: Exit.FAILED,
    DeviceFailed: Exit.FAILED,
    AggregatorFailed: Exit.FAILED,
    Unavailable: Exit.FAILED,
    OutTaken: Exit.FAILED,
    BatchRefused: Exit.USAGE,
    CostsMissing: Exit.NOT_FOUND,
    OSError: Exit.FAILED,
    sqlite3.Error: Exit.FAILED,
}


def exit_code(error: Exception) -> Exit | None:
    """None: nobody expected this."""
    return next((code for kind, code in EXITS.items() if isinstance(error, kind)), None)
