"""The program `fedling-agent`, and `python -m fedling_agent`."""

import sys

from fedling_protocol.command import entry


def main() -> int:
    """Run one command. Returns its exit code."""
    return entry.begin("fedling_agent.cli")


if __name__ == "__main__":
    sys.exit(main())
