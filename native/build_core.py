"""Build fedling_native._core: Python sees exactly what native/include/fedling.h declares."""

import re
from pathlib import Path

from cffi import FFI

NATIVE = Path("native")  # setuptools runs from the project root
HEADER = NATIVE / "include" / "fedling.h"

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
CPLUSPLUS = re.compile(r"^#\s*ifdef __cplusplus\n.*?^#\s*endif[^\n]*\n", re.DOTALL | re.MULTILINE)
CONSTANT = re.compile(r"#\s*define (\w+) +\(?(-?\d+|0x[0-9A-Fa-f]+)[uUlL]*\)?$")


def declarations(header: str) -> str:
    """What cffi can parse of a header: its declarations and its integer #defines."""
    text = CPLUSPLUS.sub("", COMMENT.sub("", header).replace("\\\n", " "))
    kept = []
    for line in text.splitlines():
        if not line.startswith("#"):
            kept.append(line)
        elif constant := CONSTANT.match(line.rstrip()):
            kept.append(f"#define {constant[1]} {constant[2]}")
    return "\n".join(kept)


def flags(name: str) -> list[str]:
    """The words of one variable of flags.mk."""
    text = (NATIVE / "flags.mk").read_text()
    match = re.search(rf"^{name} = (.*)$", text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"native/flags.mk: {name} is missing")
    return match[1].split()


ffi = FFI()
ffi.cdef(declarations(HEADER.read_text()))
ffi.set_source(
    "fedling_native._core",
    '#include "fedling.h"',
    sources=sorted(str(p) for p in (NATIVE / "src").rglob("*.c")),
    depends=sorted(str(p) for p in NATIVE.rglob("*.h")),
    include_dirs=[str(NATIVE / "include")],
    define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one abi3 wheel for 3.11 and later
    # Warnings are not asked for here: cffi's own C would drown ours. `make check` asks.
    # No debug symbols: a megabyte on every device.
    extra_compile_args=[*flags("FDL_CFLAGS"), "-g0"],
)
