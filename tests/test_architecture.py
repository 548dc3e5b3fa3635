"""Imports run one way: native <- protocol <- agent, broker <- firmware_sim; pure stays pure."""

import ast
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Component:
    """What one top-level folder may import beside the standard library and itself."""

    package: str
    above: frozenset[str]  # components of ours
    foreign: frozenset[str]  # packages of others


WIRE = {"cbor2", "cryptography", "nacl"}
COMPONENTS = {
    "native": Component("fedling_native", frozenset(), frozenset({"cffi"})),
    "protocol": Component("fedling_protocol", frozenset({"native"}), frozenset(WIRE | {"paho"})),
    "agent": Component(
        "fedling_agent", frozenset({"native", "protocol"}), frozenset(WIRE | {"jeepney"})
    ),
    "broker": Component(
        "fedling_broker",
        frozenset({"native", "protocol"}),
        frozenset(WIRE | {"numpy", "onnx", "onnxruntime", "google", "segno"}),
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

# State machines, and the arithmetic of sums and models: time, radio, disk and dice come in as
# events or arguments and go out as actions or results. That holds for whatever of ours they import,
# too. They may import the messages, which import fedling_native for the shapes of layers: behind it
# is C that allocates nothing, asks no clock and does no I/O, so that a result follows from the
# arguments alone. Of packages of others only the name is looked at: numpy computes, paho does not.
PURE = [
    "fedling_agent.session",
    "fedling_broker.rounds",
    "fedling_broker.aggregation",
    "fedling_broker.mosquitto.access",
    "fedling_broker.mosquitto.configuration",
    "fedling_broker.mosquitto.passwords",
]
IMPURE = {
    *("asyncio", "concurrent", "ctypes", "datetime", "fcntl", "http", "io", "logging", "mmap"),
    *("multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors", "shutil"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"),
    *("urllib", "uuid", "paho"),
}
IN_MEMORY = {"BytesIO"}  # of io: a file that is no file
IMPURE_CALLS = {"open", "input", "print", "__import__"}

# What the services of both ends stand on is given to them (their Ports).
GIVEN = {
    "asyncio",
    "os",
    "paho",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "threading",
    "time",
}
SOCKETS = {"control.py"}  # the agent's control socket, for commands of the same machine

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
    for node, for_types in nodes_in(path.read_text()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if not (for_types and node.module == "typing_extensions"):
                yield node.module


@cache
def nodes_in(text: str) -> list[tuple[ast.AST, bool]]:
    """What may bring in a module: imports and calls, and whether only a type checker reads it.

    Copies of the house differ in one file: the others are read once.
    """
    found: list[tuple[ast.AST, bool]] = []
    nodes: list[tuple[ast.AST, bool]] = [(ast.parse(text), False)]
    while nodes:
        node, for_types = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            found.append((node, for_types))
        run: list[ast.stmt] = []  # below `else:`
        only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.If):
            run = node.orelse
        for child in ast.iter_child_nodes(node):
            nodes.append((child, for_types or (only and child not in run)))
    return found


@cache
def name_of(call: ast.Call) -> str:
    """What is called, as it is written."""
    return ast.unparse(call.func)


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


def test_shells_are_given_their_time_dice_and_radio() -> None:
    """So that the same services run in virtual time."""
    folders = [ROOT / "agent/fedling_agent/service", ROOT / "broker/fedling_broker/service"]
    files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    taken = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in files
        for name in imports_of(path)
        if name.split(".")[0] in GIVEN and path.name not in SOCKETS
    }
    assert len(files) >= 20
    assert taken == set()


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
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, rule: str) -> None:
    copy_packages(tmp_path)
    planted = tmp_path / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(line + "\n")
    assert [x for x in wrong_imports(tmp_path) if x.startswith(file)] != []
    assert all(rule in x for x in wrong_imports(tmp_path) if x.startswith(file))


def copy_packages(root: Path) -> None:
    for folder, component in COMPONENTS.items():
        source = ROOT / folder / component.package
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(source, root / folder / component.package, ignore=ignore)


# --- what is pure --------------------------------------------------------------------------------


def file_of(root: Path, module: str) -> Path | None:
    """Of a Python module of ours."""
    package, *rest = module.split(".")
    if package not in FOLDER_OF:
        return None
    path = root.joinpath(FOLDER_OF[package], package, *rest)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def run_by(root: Path, module: str) -> Iterator[str]:
    """The modules that importing this one runs, but for those that only a type checker reads."""
    parts = module.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts)))  # the packages it lies in
    file = file_of(root, module)
    for node, for_types in nodes_in(file.read_text()) if file else []:
        if for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "io" and {alias.name for alias in node.names} <= IN_MEMORY:
                continue
            yield node.module
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in names if file_of(root, name))
        elif isinstance(node, ast.Call) and name_of(node) in IMPURE_CALLS:
            yield f"{name_of(node)}()"


def impure_ways(root: Path) -> list[str]:
    """Every way from a pure module to a clock, I/O or dice, as "a > b > time"."""
    ways = {module: module for package in PURE for module in modules_in(root, package)}
    waiting, wrong = list(ways), []
    while waiting:
        module = waiting.pop()
        for found in dict.fromkeys(run_by(root, module)):
            if found.split(".")[0] in IMPURE or found.endswith("()"):
                wrong.append(f"{ways[module]} > {found}")
            elif found not in ways and file_of(root, found):
                ways[found] = f"{ways[module]} > {found}"
                waiting.append(found)
    return sorted(wrong)


def modules_in(root: Path, package: str) -> list[str]:
    """The package and the modules below it."""
    first = file_of(root, package)
    assert first is not None, package
    files = sorted(first.parent.rglob("*.py"))
    names = [".".join(file.relative_to(first.parent).with_suffix("").parts) for file in files]
    return [f"{package}.{name}".removesuffix(".__init__") for name in names]


def test_what_is_pure_imports_nothing_impure_over_any_way() -> None:
    assert impure_ways(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "way"),
    [
        (
            "agent/fedling_agent/session/machine.py",
            "import time",
            "fedling_agent.session.machine > time",
        ),
        (
            "protocol/fedling_protocol/wire/messages.py",
            "def f():\n    from random import random",
            " > fedling_protocol.wire.messages > random",
        ),
        (
            "broker/fedling_broker/rounds/state.py",
            "from fedling_protocol.disk import durable",
            " > fedling_protocol.disk.durable > sqlite3",
        ),
        ("broker/fedling_broker/__init__.py", "import os", " > fedling_broker > os"),
        (
            "agent/fedling_agent/session/state.py",
            "X = open('x').read()",
            "fedling_agent.session.state > open()",
        ),
    ],
)
def test_an_impure_way_is_found(tmp_path: Path, file: str, line: str, way: str) -> None:
    copy_packages(tmp_path)
    with (tmp_path / file).open("a") as planted:
        planted.write(f"\n{line}\n")
    assert any(found.endswith(way) for found in impure_ways(tmp_path)), impure_ways(tmp_path)


def test_what_only_a_type_checker_reads_is_no_way(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    with (tmp_path / "agent/fedling_agent/session/state.py").open("a") as planted:
        planted.write("\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket\n")
    assert impure_ways(tmp_path) == []
