"""The exceptions that only `fedling-broker` has, by exit code; the others: protocol/command."""

from fedling_broker.backup import StateExists
from fedling_broker.mosquitto.process import MosquittoMissing
from fedling_broker.onnx import OnnxError
from fedling_broker.store.devices import DeviceError
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.tasks import TaskExists
from fedling_protocol.exits import Exit

EXITS: dict[type[Exception], Exit] = {
    DeviceError: Exit.FAILED,
    TaskExists: Exit.FAILED,
    MosquittoMissing: Exit.UNAVAILABLE,
    StateExists: Exit.FAILED,
    OnnxError: Exit.FAILED,
    Damaged: Exit.FAILED,
}
