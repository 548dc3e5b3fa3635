"""What a wheel and an sdist hold, built from a copy of the tree."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TREE = ["native", "protocol", "agent", "broker", "firmware_sim", "packaging"]
FILES = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"]
READ = ["bench", "docs", "examples", "packaging", "tests"]  # what a person reads
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md", "SECURITY.md"]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def copy_tree(folder: Path) -> None:
    """Copy what the distributions are made of."""
    ignore = shutil.ignore_patterns("*.so", "*.o", "__pycache__", "*.egg-info", "build")
    for name in {*TREE, *READ}:
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in FILES + PAGES:
        shutil.copy(ROOT / name, folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel and one sdist."""
    copy = tmp_path_factory.mktemp("tree")
    copy_tree(copy)
    for command in ("sdist", "bdist_wheel"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "setup.py", "--quiet", command, "-d", "dist"],
            cwd=copy,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return copy / "dist"


def the_only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_wheel_serves_every_python_from_3_11(built: Path) -> None:
    name = the_only(built, "*.whl").name
    assert re.fullmatch(r"fedling-[\d.]+-cp311-abi3-linux_\w+\.whl", name)


def test_wheel_holds_packages_and_no_c(built: Path) -> None:
    names = zipfile.ZipFile(the_only(built, "*.whl")).namelist()
    names = [name for name in names if ".data/data/" not in name]
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {path.parent.name for path in ROOT.glob("*/fedling_*/__init__.py")}
    suffixes = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert suffixes - {".pyi"} == {".json", ".py", ".so", ".typed"}
    assert {x.split("/")[0] for x in names if x.endswith("py.typed")} == tops


def test_wheel_brings_units_and_users_along(built: Path) -> None:
    wheel = zipfile.ZipFile(the_only(built, "*.whl"))
    data = [name for name in wheel.namelist() if ".data/data/" in name]
    brought = {name.split(".data/data/")[1]: wheel.read(name) for name in data}
    units = {unit.name: unit for unit in (ROOT / "packaging/systemd").glob("*.service")}
    expected = {f"lib/systemd/system/{name}": unit.read_bytes() for name, unit in units.items()}
    users = (ROOT / "packaging/sysusers.d/fedling.conf").read_bytes()
    assert brought == expected | {"lib/sysusers.d/fedling.conf": users}


def test_wheel_asks_a_device_for_cffi_and_the_wire_only(built: Path) -> None:
    wheel = zipfile.ZipFile(the_only(built, "*.whl"))
    (path,) = (x for x in wheel.namelist() if x.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(path))
    needs = metadata.get_all("Requires-Dist") or []
    plain = [x for x in needs if "extra ==" not in x]
    agent = [x.split(";")[0].strip() for x in needs if re.search(r"extra == .agent.", x)]
    assert [re.split(r"\W", x)[0] for x in plain] == ["cffi"]
    assert {re.split(r"[^\w-]", x)[0] for x in agent} == {"cbor2", "cryptography", "paho-mqtt"}


def test_sdist_holds_the_sources_of_the_core(built: Path) -> None:
    with tarfile.open(the_only(built, "*.tar.gz")) as sdist:
        names = sdist.getnames()
    inside = {name.split("/", 1)[1] for name in names if "/" in name}
    kernel = [*(ROOT / "native/include").rglob("*.h"), *(ROOT / "native/src").rglob("*.[ch]")]
    sources = {path.relative_to(ROOT).as_posix() for path in kernel}
    assert "native/src/loops/plain.c" in sources
    assert sources <= inside
    assert {"native/build_core.py", "native/flags.mk", "LICENSE"} <= inside
    assert not [name for name in inside if name.endswith((".so", ".o"))]


def test_sdist_holds_all_that_its_documents_name(built: Path) -> None:
    """Who has an archive only reads what who has a clone reads."""
    with tarfile.open(the_only(built, "*.tar.gz")) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
        pages = {name for name in names if name.endswith(".md")}
        assert {"README.md", "docs/operations.md", "protocol/SPEC.md", *PAGES} <= pages
        top = the_only(built, "*.tar.gz").name.removesuffix(".tar.gz")
        for page in sorted(pages):
            file = sdist.extractfile(f"{top}/{page}")
            assert file is not None
            for link in LINK.findall(file.read().decode()):
                target = (ROOT / page).parent.joinpath(link).resolve()
                if target.exists():  # else another test says so
                    assert target.relative_to(ROOT).as_posix() in names, f"{page}: {link}"
    units = {f"packaging/systemd/{unit.name}" for unit in (ROOT / "packaging/systemd").iterdir()}
    assert units | {"examples/watch/task.toml", "examples/watch/stream.toml"} <= names


@pytest.mark.parametrize("compiler", ["/nowhere/gcc", "no-such-gcc"])
def test_a_machine_without_a_compiler_is_told_what_to_install(
    tmp_path: Path, compiler: str
) -> None:
    """As pip says it on a board for which there is no wheel."""
    copy_tree(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "--quiet", "bdist_wheel"],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"CC": compiler},
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        f"fedling's core is C, and there is no C compiler ({compiler}); on Debian and "
        "Raspberry Pi OS: sudo apt-get install gcc python3-dev"
    )
