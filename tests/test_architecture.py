"""Imports run one way: native <- protocol <- agent, broker <- firmware_sim."""

import ast
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Component:
    """What one top-level folder may import beside the standard library and itself."""

    package: str
    above: frozenset[str]  # components of ours
    foreign: frozenset[str]  # packages of others


WIRE = {"cbor2", "cryptography"}
COMPONENTS = {
    "native": Component("fedling_native", frozenset(), frozenset({"cffi"})),
    "protocol": Component("fedling_protocol", frozenset({"native"}), frozenset(WIRE | {"paho"})),
    "agent": Component("fedling_agent", frozenset({"native", "protocol"}), frozenset(WIRE)),
    "broker": Component(
        "fedling_broker",
        frozenset({"native", "protocol"}),
        frozenset(WIRE | {"numpy", "rich", "onnx", "onnxruntime", "google"}),
    ),
    "firmware_sim": Component(
        "fedling_sim",
        frozenset({"native", "protocol", "agent", "broker"}),
        frozenset(WIRE | {"numpy", "rich", "matplotlib"}),
    ),
}
FOLDER_OF = {component.package: folder for folder, component in COMPONENTS.items()}

# The one file that knows paho: another MQTT library is a change of one file.
SHELL = "protocol/fedling_protocol/net/mqtt.py"

# State machines: time, radio, disk and dice come in as events and go out as actions.
PURE = ["agent/fedling_agent/session", "broker/fedling_broker/rounds"]
IMPURE = {
    *("asyncio", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile"),
    *("threading", "time", "uuid", "paho"),
}

# Virtual time: what happens there follows from a seed, not from this machine.
VIRTUAL = "firmware_sim/fedling_sim/virtual"
REAL = {
    *("asyncio", "multiprocessing", "os", "paho", "secrets", "select", "selectors", "signal"),
    *("socket", "subprocess", "threading", "time", "uuid"),
}


def imports_of(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, anywhere in it.

    Less typing_extensions below `if TYPE_CHECKING`: a type checker knows it by itself.
    """
    nodes: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(), str(path)), False)]
    while nodes:
        node, for_types = nodes.pop()
        for_types |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        nodes += [(child, for_types) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if not (for_types and node.module == "typing_extensions"):
                yield node.module


def wrong_imports(root: Path) -> list[str]:
    """Every import that the house does not allow, as "file imports module: rule"."""
    wrong = []
    for folder, component in COMPONENTS.items():
        for path in sorted((root / folder / component.package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            for module in imports_of(path):
                if rule := broken_rule(name, component, module.split(".")[0]):
                    wrong.append(f"{name} imports {module}: {rule}")
    return wrong


def broken_rule(name: str, component: Component, module: str) -> str | None:
    """The rule that file `name` breaks by importing `module`."""
    pure = any(name == f"{path}.py" or name.startswith(f"{path}/") for path in PURE)
    if pure and module in IMPURE:
        return "a state machine has no clock, no I/O and no dice"
    if module == component.package:
        return None
    if module in FOLDER_OF:
        return None if FOLDER_OF[module] in component.above else "imports run one way"
    if module in sys.stdlib_module_names:
        return None
    if module not in component.foreign:
        return f"{component.package} may use {', '.join(sorted(component.foreign))}"
    if module == "paho" and name != SHELL:
        return "one file imports paho"
    return None


def test_imports_run_one_way() -> None:
    assert wrong_imports(ROOT) == []


def test_virtual_time_asks_nothing_of_this_machine() -> None:
    files = sorted((ROOT / VIRTUAL).glob("*.py"))
    asked = {f"{path.name}: {name}" for path in files for name in imports_of(path)}
    assert len(files) >= 10
    assert {x for x in asked if x.split()[1].split(".")[0] in REAL} == set()


def test_every_package_is_known() -> None:
    found = {p.parent.name for p in ROOT.glob("*/fedling_*/__init__.py")}
    assert found == set(FOLDER_OF)


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        (
            "native/fedling_native/x.py",
            "import fedling_protocol.wire.topics",
            "imports run one way",
        ),
        ("agent/fedling_agent/x.py", "from fedling_broker import store", "imports run one way"),
        ("broker/fedling_broker/x.py", "def f():\n    import fedling_sim", "imports run one way"),
        ("agent/fedling_agent/x.py", "import numpy as np", "may use"),
        ("protocol/fedling_protocol/x.py", "import numpy", "may use"),
        ("native/fedling_native/x.py", "from numpy import int8", "may use"),
        ("broker/fedling_broker/x.py", "import paho.mqtt.client", "may use"),
        ("protocol/fedling_protocol/x.py", "import paho.mqtt.client", "one file imports paho"),
        ("agent/fedling_agent/session/x.py", "import time", "no clock"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, rule: str) -> None:
    for folder, component in COMPONENTS.items():
        source = ROOT / folder / component.package
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(source, tmp_path / folder / component.package, ignore=ignore)
    planted = tmp_path / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(line + "\n")
    assert [x for x in wrong_imports(tmp_path) if x.startswith(file)] != []
    assert all(rule in x for x in wrong_imports(tmp_path) if x.startswith(file))
