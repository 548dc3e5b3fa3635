"""The exceptions that only `fedling-sim` has, by exit code; the others: protocol/command."""

from fedling_agent.service.control import Unavailable
from fedling_broker.mosquitto.process import MosquittoFailed, MosquittoMissing, PortTaken
from fedling_protocol.exits import Exit
from fedling_sim.aggregator import AggregatorFailed
from fedling_sim.board.qemu import ImageHangs
from fedling_sim.board.selftest import BadReport
from fedling_sim.board.toolchain import BuildFailed, SourcesMissing, ToolMissing
from fedling_sim.device import DeviceFailed
from fedling_sim.fits import BatchRefused
from fedling_sim.places import OutTaken
from fedling_sim.process import ChildDied
from fedling_sim.sizing.costs import CostsMissing

EXITS: dict[type[Exception], Exit] = {
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
}
