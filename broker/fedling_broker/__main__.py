"""The program `fedling-broker`, and `python -m fedling_broker`."""

import sys

from fedling_protocol.command import entry


def main() -> int:
    """Run one command. Returns its exit code."""
    return entry.begin("fedling_broker.cli")


if __name__ == "__main__":
    sys.exit(main())
