"""Types docs/debian.md into a Debian, and writes what it answers; an answer that agrees stays.

python -m tests.packaging.make_debian
"""

import tempfile
from pathlib import Path

from tests.packaging.test_debian import DOCUMENT, bring
from tests.support.machine import WITH_APT, machine
from tests.support.transcript import Teller

PATIENCE_S = 30.0  # for an answer that may be another one now


def main() -> None:
    with tempfile.TemporaryDirectory() as name, machine(Path(name), WITH_APT) as pi:
        teller = Teller(pi, DOCUMENT.read_text(), patience_s=PATIENCE_S, anew=True)
        bring(pi)
        for section in teller.untold:
            teller.tell(section)
        DOCUMENT.write_text(teller.text)


if __name__ == "__main__":
    main()
