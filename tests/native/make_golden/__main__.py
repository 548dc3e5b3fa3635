"""Write the golden vectors of tests/native/golden/, or with --check tell which are out of date.

Run from the root of the repository: python -m tests.native.make_golden [--check]. The format is
golden/README.md. All random numbers come from a generator of this package, so that the files depend
on nothing but it and the reference.
"""

import sys

from tests.native.make_golden.files import FILES, GOLDEN, render, stale


def main() -> int:
    if "--check" in sys.argv[1:]:
        names = stale()
        print("golden vectors:", f"out of date: {', '.join(names)}" if names else "up to date")
        return 1 if names else 0
    for name, make in FILES.items():
        (GOLDEN / name).write_text(render(make()))
    print(f"wrote {len(FILES)} files, {sum((GOLDEN / n).stat().st_size for n in FILES)} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
