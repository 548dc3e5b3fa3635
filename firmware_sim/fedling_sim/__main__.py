"""The program `fedling-sim`, and `python -m fedling_sim`."""

import sys

from fedling_protocol.command import entry


def main() -> int:
    """Run one command. Returns its exit code."""
    return entry.begin("fedling_sim.cli")


if __name__ == "__main__":
    sys.exit(main())
