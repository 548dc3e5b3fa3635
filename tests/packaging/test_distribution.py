"""What wheels and sdists hold: an sdist is made of a copy of the tree, its wheel of the sdist."""

import email
import re
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.distributions import FOLDERS, PAGES, ROOT, build, copy_tree, project

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PACKAGES = {
    "fedling": {"fedling_native", "fedling_protocol", "fedling_agent"},
    "fedling-broker": {"fedling_broker"},
    "fedling-sim": {"fedling_sim"},
}
NEEDS = {
    "fedling": {"cffi"},
    "fedling-broker": {"fedling", "numpy", "segno"},
    "fedling-sim": {"fedling-broker", "matplotlib", "rich"},
}
BROUGHT = {
    "fedling": ("agent/systemd", {"fedling-agent.service", "fedling.conf"}),
    "fedling-broker": ("broker/systemd", {"fedling-broker.service", "fedling-broker.conf"}),
}
SYSTEMD = {".service": "lib/systemd/system", ".conf": "lib/sysusers.d"}

of_each = pytest.mark.parametrize("name", FOLDERS)


@dataclass(frozen=True, slots=True)
class Built:
    """A distribution in both forms."""

    sdist: Path
    wheel: Path

    def archived(self) -> set[str]:
        """The files of the sdist."""
        with tarfile.open(self.sdist) as sdist:
            return {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}

    def installed(self) -> dict[str, bytes]:
        """The files of the wheel."""
        with zipfile.ZipFile(self.wheel) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}

    def below(self, folder: str) -> dict[str, bytes]:
        """The files of the wheel in its .dist-info or .data, by their names there."""
        found = {name.partition(f"{folder}/")[2]: text for name, text in self.installed().items()}
        return {name: text for name, text in found.items() if name}

    def packaged(self) -> set[str]:
        """The files of the wheel that are importable or beside what is."""
        return {x for x in self.installed() if not re.match(r"[^/]*\.(dist-info|data)/", x)}

    def needs(self, extra: str = "") -> list[str]:
        """What it asks for, without an extra or by one."""
        metadata = email.message_from_bytes(self.below(".dist-info")["METADATA"])
        asked = [x.partition(";") for x in metadata.get_all("Requires-Dist") or []]
        found = re.compile(r"extra == .([\w-]+)")
        extras = [(need.strip(), found.search(marker)) for need, _, marker in asked]
        return [need for need, which in extras if (which[1] if which else "") == extra]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """All distributions, by name; the one that archives the others' folders last."""
    folder = tmp_path_factory.mktemp("built")
    tree = copy_tree(folder / "tree")
    return {name: make(tree / FOLDERS[name], folder / name) for name in reversed(FOLDERS)}


def make(source: Path, folder: Path) -> Built:
    sdist = build("sdist", source, folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, build("wheel", unpacked, folder / "wheel"))


def names(needs: list[str]) -> set[str]:
    """The distributions that are asked for."""
    return {re.split(r"[^\w-]", need)[0] for need in needs}


def test_device_installs_no_server(built: dict[str, Built]) -> None:
    """No package, program, unit or user of the aggregator's or of the simulator's, and no numpy."""
    device = built["fedling"]
    said = device.below(".dist-info")
    scripts = re.findall(r"^(\S+) = ", said["entry_points.txt"].decode(), re.MULTILINE)
    assert [x for x in device.installed() if re.search(r"fedling[_-](broker|sim)", x)] == []
    assert scripts == ["fedling-agent"]
    assert names(device.needs()) == {"cffi"}
    assert names(device.needs("agent")) == {"cbor2", "cryptography", "paho-mqtt", "pynacl"}
    assert b"numpy" not in said["METADATA"].partition(b"\n\n")[0]


def test_wheel_of_a_device_serves_every_python_from_3_11(built: dict[str, Built]) -> None:
    name = built["fedling"].wheel.name
    assert re.fullmatch(r"fedling-[\d.]+-cp311-abi3-linux_\w+\.whl", name)


@pytest.mark.parametrize("name", ["fedling-broker", "fedling-sim"])
def test_wheel_without_c_serves_every_machine(built: dict[str, Built], name: str) -> None:
    assert built[name].wheel.name.endswith("-py3-none-any.whl")


@of_each
def test_wheel_holds_its_packages_and_no_c(built: dict[str, Built], name: str) -> None:
    packaged = built[name].packaged()
    suffixes = {".json", ".py", ".pyi", ".so", ".typed"}
    assert {x.split("/")[0] for x in packaged} == PACKAGES[name]
    assert {x for x in packaged if Path(x).suffix not in suffixes} == set()
    assert {x.split("/")[0] for x in packaged if x.endswith("py.typed")} == PACKAGES[name]
    kept = {x for x in sources(name) if Path(x).suffix in suffixes}
    assert {x for x in packaged if not x.endswith(".so")} == kept


def sources(name: str) -> set[str]:
    """The files of its packages in the tree."""
    folders = [path for path in ROOT.glob("*/fedling_*/") if path.name in PACKAGES[name]]
    files = [(file, folder.parent) for folder in folders for file in folder.rglob("*.*")]
    return {f.relative_to(at).as_posix() for f, at in files if f.suffix not in (".so", ".pyc")}


def test_every_package_is_in_one_wheel() -> None:
    ours = sorted(path.parent.name for path in ROOT.glob("*/fedling_*/__init__.py"))
    assert sorted(package for packages in PACKAGES.values() for package in packages) == ours


@of_each
def test_wheel_brings_its_unit_and_user_along(built: dict[str, Built], name: str) -> None:
    folder, files = BROUGHT.get(name, ("", set()))
    expected = {f"{SYSTEMD[Path(x).suffix]}/{x}": (ROOT / folder / x).read_bytes() for x in files}
    assert built[name].below(".data/data") == expected


@of_each
def test_wheel_asks_for_what_it_imports(built: dict[str, Built], name: str) -> None:
    assert names(built[name].needs()) == NEEDS[name]


@of_each
def test_all_are_of_one_version_and_ask_for_it(built: dict[str, Built], name: str) -> None:
    version = project("fedling")["version"]
    assert project(name)["version"] == version
    ours = [need for need in built[name].needs() if need.startswith("fedling")]
    assert [need for need in ours if not need.endswith(f"=={version}")] == []


def test_aggregator_asks_for_what_a_device_has(built: dict[str, Built]) -> None:
    """It speaks MQTT, too: the wire's packages are the extra's."""
    asked = [need.partition("==")[0] for need in built["fedling-broker"].needs()]
    assert "fedling[agent]" in asked
    assert names(built["fedling-broker"].needs("onnx")) == {"onnx", "onnxruntime"}


@of_each
def test_both_forms_have_the_licence(built: dict[str, Built], name: str) -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert built[name].below(".dist-info")["licenses/LICENSE"] == text
    with tarfile.open(built[name].sdist) as sdist:
        member = sdist.getmember(f"{built[name].sdist.name.removesuffix('.tar.gz')}/LICENSE")
        assert member.isfile()


def test_sdist_holds_the_sources_of_the_core(built: dict[str, Built]) -> None:
    inside = built["fedling"].archived()
    kernel = [*(ROOT / "native/include").rglob("*.h"), *(ROOT / "native/src").rglob("*.[ch]")]
    expected = {path.relative_to(ROOT).as_posix() for path in kernel}
    assert "native/src/loops/plain.c" in expected
    assert expected <= inside
    assert {"native/build_core.py", "native/flags.mk"} <= inside
    assert not [name for name in inside if re.search(r"\.(s?o|pyc)$|/.*\.egg-info/", name)]


def test_sdist_holds_all_that_its_documents_name(built: dict[str, Built]) -> None:
    """Who has an archive only reads what who has a clone reads."""
    path, inside = built["fedling"].sdist, built["fedling"].archived()
    pages = {name for name in inside if name.endswith(".md")}
    assert {"docs/operations.md", "protocol/SPEC.md", *PAGES} <= pages | {"LICENSE"}
    with tarfile.open(path) as sdist:
        for page in sorted(pages):
            file = sdist.extractfile(f"{path.name.removesuffix('.tar.gz')}/{page}")
            assert file is not None
            for link in LINK.findall(file.read().decode()):
                target = (ROOT / page).parent.joinpath(link).resolve()
                if target.exists():  # else another test says so
                    assert target.relative_to(ROOT).as_posix() in inside, f"{page}: {link}"
    projects = {f"{folder}/pyproject.toml" for folder in FOLDERS.values() if folder}
    assert projects | {"examples/watch/task.toml", "examples/watch/stream.toml"} <= inside


@pytest.mark.parametrize("compiler", ["/nowhere/gcc", "no-such-gcc"])
def test_a_machine_without_a_compiler_is_told_what_to_install(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip says it on a board for which there is no wheel."""
    monkeypatch.setenv("CC", compiler)
    tree = copy_tree(tmp_path / "tree")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        build("wheel", tree, tmp_path / "wheel")
    assert failed.value.stderr.strip().splitlines()[-1] == (
        f"fedling's core is C, and there is no C compiler ({compiler}); on Debian and "
        "Raspberry Pi OS: sudo apt-get install gcc python3-dev"
    )
