"""What a cut in the middle of a model costs a device: the bytes that come twice.

    undisturbed_mb    what a device receives until it has a model of 16 MB, in chunks of 128 KiB
    resent_mb         what it receives more, if its link is cut in the middle of the model
    whole_resent_mb   the same where the model comes as one message
    ratio             resent_mb / whole_resent_mb

A real mosquitto, aggregator and agent; a proxy between mosquitto and agent counts the bytes.
"""

import argparse
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from bench.report import Report
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.wire.limits import MAX_PACKET
from fedling_sim.chaos.fault import Fault
from fedling_sim.chaos.proxy import Proxy
from tests.support.agent import Agent
from tests.support.fleet import ROOT, TASK, Aggregator
from tests.support.waiting import until

HIDDEN = 2850  # neurons, twice: with 8 inputs and 3 outputs weights of 16.3 MB
PACKET = 131_072
MIDDLE = 8_000_000  # bytes, after which the link is cut
LARGE = ("max_packet_size 100000000",)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "").parse_args()
    report = Report("chunks")
    received = {}
    for packet in (PACKET, MAX_PACKET):
        for cut in (False, True):
            received[packet, cut] = fetch(packet, cut)
            report.row(
                largest_packet=packet, cut=cut, received_mb=round(received[packet, cut] / 1e6, 3)
            )
    resent, whole = (
        received[packet, True] - received[packet, False] for packet in (PACKET, MAX_PACKET)
    )
    report.figure("undisturbed_mb", round(received[PACKET, False] / 1e6, 3))
    report.figure("resent_mb", round(resent / 1e6, 3))
    report.figure("whole_resent_mb", round(whole / 1e6, 3))
    report.figure("ratio", round(resent / whole, 3))
    report.finish()


def fetch(packet: int, cut: bool) -> int:
    """Have a new device fetch the model; the bytes that it received. cut: once, in the middle"""
    with (
        tempfile.TemporaryDirectory() as name,
        Mosquitto(Path(name) / "mosquitto", settings=LARGE) as mosquitto,
    ):
        directory = Path(name)
        aggregator = Aggregator(directory / "broker", mosquitto.port)
        config = directory / "broker" / "broker.toml"
        config.write_text(f"largest_packet = {packet}\n{config.read_text()}")
        task = TASK.replace("[5, 3]", f"[{HIDDEN}, {HIDDEN}, 3]").format(
            rounds=1, goal=1, cohort="[compression]\noff = true"
        )
        (directory / "task.toml").write_text(task)
        aggregator.run("task", "add", str(directory / "task.toml"))
        proxy = Proxy(mosquitto.port)
        agent = Agent(directory / "device", proxy.add("device"), policy="traffic = 1000")
        agent.believe(ROOT.public)
        facts = agent.json("init")
        aggregator.run("device", "add", facts["device"], facts["key"])
        aggregator.start()
        if cut:
            proxy.show("device", Fault(down_bytes=MIDDLE, times=1))
        agent.serve()
        try:
            until(lambda: holds_a_model(agent), says=agent.log_text)
            return proxy.traffic("device").down
        finally:
            agent.kill()
            aggregator.kill()
            proxy.close()


def holds_a_model(agent: Agent) -> bool:
    path = agent.state / "store.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT 1 FROM models").fetchall())


if __name__ == "__main__":
    main()
