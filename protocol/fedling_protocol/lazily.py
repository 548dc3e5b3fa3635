"""A module that is read when something of it is used: libraries import more than a device needs."""

import importlib
import sys
from _thread import allocate_lock
from types import ModuleType
from typing import Any

_changing = allocate_lock()  # sys.modules, by several threads


def load(name: str) -> None:
    """Have `import name` read nothing until somebody asks for an attribute of the module.

    Its package is imported at once. What is assigned to an attribute before it is read is lost.
    importlib's own LazyLoader is none for a module that others import: from a second `import` on,
    its spec is looked at, and that reads it.
    """
    if name in sys.modules:
        return
    package, _, last = name.rpartition(".")
    stand_in = ModuleType(name)

    def attribute(word: str) -> Any:
        with _changing:
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
        return getattr(importlib.import_module(name), word)

    vars(stand_in)["__getattr__"] = attribute  # PEP 562
    if package:
        setattr(importlib.import_module(package), last, stand_in)
    sys.modules[name] = stand_in
