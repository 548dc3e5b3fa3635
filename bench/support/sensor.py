"""A sensor for `fedling-agent ingest`: a line of NDJSON for each sample, at its time, for ever.

python -m bench.support.sensor 50 | fedling-agent ingest wrist --format ndjson
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")  # of acceleration and rotation
RESOLUTION = 0.01  # of each of them
LABELS = 3


def value_of(sample: int, channel: int) -> str:
    """What a sensor that is never still writes: -20 to 20, in hundredths."""
    return f"{(sample * 7919 + channel * 104_729) % 4001 / 100 - 20:.2f}"


def line(sample: int) -> str:
    """One sample, as a program that reads a sensor prints it."""
    values = {name: float(value_of(sample, c)) for c, name in enumerate(CHANNELS)}
    return json.dumps({"recording": "day", **values})


def csv_of(
    recordings: Iterable[str],
    samples: int,
    channels: Sequence[str] = CHANNELS,
    labels: int = LABELS,
) -> str:
    """CSV of recordings of so many samples each; all of a recording have one label."""
    lines = [",".join(("recording", "label", *channels))]
    for number, name in enumerate(recordings):
        for sample in range(number * samples, (number + 1) * samples):
            values = ",".join(value_of(sample, c) for c in range(len(channels)))
            lines.append(f"{name},label {number % labels},{values}")
    return "\n".join(lines) + "\n"


def main(rate: float) -> None:
    """rate: samples a second"""
    begun, sample = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, begun + sample / rate - time.monotonic()))
        print(line(sample), flush=True)
        sample += 1


if __name__ == "__main__":
    main(float(sys.argv[1]))
