"""`python -m fedling_broker`: the same as the command `fedling-broker`."""

import sys

from fedling_broker.cli import main

sys.exit(main())
