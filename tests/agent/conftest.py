"""What numpy writes is tested where it is: it is no package of a device; `make test` has it."""

from importlib.util import find_spec

ARRAYS = [
    "commands/test_arrays.py",
    "data/test_arrays.py",
    "data/test_npy.py",
    "data/test_npz.py",
]
collect_ignore = [] if find_spec("numpy") else ARRAYS
