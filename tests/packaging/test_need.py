import shutil
import subprocess
from pathlib import Path

from tests.support.tools import as_nobody

NEED = Path(__file__).parent.parent.parent / "packaging" / "need"


def run_need(path: Path, name: str) -> subprocess.CompletedProcess[str]:
    """packaging/need as a user who is not root, with no program but id."""
    (path / "id").symlink_to(shutil.which("id") or "id")
    path.chmod(0o755)
    return subprocess.run(
        [*as_nobody(), "/bin/sh", str(NEED), name],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_need_without_root_says_what_to_install(tmp_path: Path) -> None:
    done = run_need(tmp_path, "gcc")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "sudo apt-get install gcc" in done.stderr


def test_need_of_what_is_here_is_silent(tmp_path: Path) -> None:
    (tmp_path / "gcc").symlink_to("/bin/true")
    done = run_need(tmp_path, "gcc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
