"""python -m tests.native.fuzz [HARNESS...] --seconds N: fuzz for long, and keep what is new.

Each harness runs for that time, from the cases in corpus/HARNESS; that folder then becomes the
smallest set of cases that reaches all that was reached. Where a promise is broken the folder stays
as it was, and the bytes that led there are in the file crash-... of the working directory.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.native.fuzz.build import HARNESSES, build_fuzzers, corpus
from tests.native.fuzz.counted import LONGEST


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.native.fuzz")
    parser.add_argument("harness", nargs="*", default=[], choices=[*HARNESSES, []])
    parser.add_argument("--seconds", type=int, default=600, help="for each harness (600)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this case, fuzz nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        programs = build_fuzzers(Path(folder), arguments.harness or HARNESSES)
        broken = []
        for name, program in programs.items():
            if arguments.replay:
                done = subprocess.run([program, arguments.replay]).returncode == 0
            else:
                done = fuzz(program, corpus(name), Path(folder, "found", name), arguments.seconds)
            if not done:
                broken.append(name)
    if broken:
        print(f"fuzz: a promise is broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def fuzz(program: Path, kept: Path, found: Path, seconds: int) -> bool:
    """Whether nothing was broken; if so, the kept cases are replaced by the smallest set."""
    found.mkdir(parents=True)
    limits = [f"-max_len={LONGEST}", f"-max_total_time={seconds}", "-timeout=30"]
    if subprocess.run([program, *limits, found, kept]).returncode != 0:
        return False
    smallest = found.with_name(f"{found.name}-smallest")
    smallest.mkdir()
    merge = ["-set_cover_merge=1", "-use_counters=0", "-verbosity=0"]
    subprocess.run([program, *merge, smallest, kept, found], check=True)
    shutil.rmtree(kept)
    shutil.copytree(smallest, kept)
    print(f"{kept.name}: {len(list(kept.iterdir()))} cases")
    return True


if __name__ == "__main__":
    sys.exit(main())
