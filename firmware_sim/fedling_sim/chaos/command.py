"""`fedling-sim proxy`: a link that fails, between any MQTT client and any MQTT broker."""

import argparse
import json
import threading
import time
from contextlib import closing, suppress

from fedling_protocol.exits import Exit, Failure
from fedling_protocol.moments import moment
from fedling_sim.chaos.fault import End, Fault, Spell, flapping
from fedling_sim.chaos.messages import Habits, Moment
from fedling_sim.chaos.proxy import Proxy, Tell

CLIENT = "client"  # all clients share one link


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises Failure: an address cannot be listened on, or is unknown."""
    tell = _teller(as_json=args.json)
    habits = Habits(args.lost, args.doubled, args.late)
    mqtt = args.at is not None or habits != Habits()
    (host, port), (to_host, to_port) = args.listen, args.to
    try:
        proxy = Proxy(to_port, to_host, tell, mqtt=mqtt)
    except OSError as error:
        raise Failure(f"--to {to_host}: {error.strerror}", Exit.NOT_FOUND) from error
    with closing(proxy):
        port = _listen(proxy, host, port)
        if mqtt:
            proxy.have_habits(CLIENT, habits)
        _begin(proxy, args)
        with suppress(KeyboardInterrupt):  # so a proxy ends; SIGTERM is the same here
            tell(CLIENT, f"listening on {host}:{port}")
            threading.Event().wait()
        t = proxy.traffic(CLIENT)
    tell(CLIENT, f"{t.connections} connections, {t.up} bytes up, {t.down} bytes down")
    return Exit.OK


def _listen(proxy: Proxy, host: str, port: int) -> int:
    try:
        return proxy.add(CLIENT, host, port)
    except OSError as error:
        raise Failure(f"--listen {host}:{port}: {error.strerror}", Exit.FAILED) from error


def _begin(proxy: Proxy, args: argparse.Namespace) -> None:
    """Show the faults that were asked for, now or at a moment."""
    fault = Fault(
        args.delay, args.jitter, args.up_rate, args.down_rate, args.cut_after, args.cut_after,
        End(args.end), args.times, args.refuse, args.mute,
    )  # fmt: skip
    spells: list[Spell] = [(0.0, fault)]
    if args.at is not None:
        nothing_else = fault == Fault(end=fault.end)
        end = fault.end if nothing_else else None
        proxy.wait_for(CLIENT, Moment(None, args.at, 0.5, spells, end))
    elif args.flap is None:
        proxy.play(CLIENT, spells)
    else:
        proxy.play(CLIENT, flapping(args.seed, [fault], args.flap, args.flap))


def _teller(*, as_json: bool) -> Tell:
    def tell(_name: str, what: str) -> None:
        now = time.time()
        facts = {"time_ms": round(1000 * now), "what": what}
        print(json.dumps(facts) if as_json else f"{moment(now)} {what}", flush=True)

    return tell
