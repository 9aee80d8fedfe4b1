"""What a machine lacks: how it is said by the viewers, by install.sh, and at the end of a test run."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from recon4d import cli
from recon4d.core.errors import MissingDependencyError
from recon4d.results.folder import write_result
from recon4d.viewer import packages
from recon4d.viewer.packages import import_package, lacking
from tests import needs
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import make_scene
from tests.without_libraries import block

ROOT = Path(__file__).parents[1]
NO_USB = "libusb-1.0.so.0: cannot open shared object file"


def break_imports(monkeypatch: pytest.MonkeyPatch, said: str, *missing: str) -> None:
    """Let imports fail with an error, on a machine that lacks these libraries."""

    real = importlib.import_module

    def fail(name: str, package: str | None = None) -> ModuleType:
        if name in packages.FEATURES:
            raise ImportError(said)
        return real(name, package)

    monkeypatch.setattr("importlib.import_module", fail)
    monkeypatch.setattr(packages, "_loads", lambda library: library not in missing)


@pytest.mark.parametrize(
    ("found", "missing", "said"),
    [
        (NO_USB, (), "(libusb-1.0.so.0); install them (on Debian and Ubuntu: apt-get install libusb-1.0-0)"),
        (NO_USB, ("libusb-1.0.so.0", "libEGL.so.1"), "apt-get install libegl1 libusb-1.0-0)"),
        ("No module named 'open3d'", ("libEGL.so.1",), 'pip install "recon4d[view]"'),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(
    found: str, missing: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_imports(monkeypatch, found, *missing)
    with pytest.raises(MissingDependencyError, match="open3d") as raised:
        import_package("open3d")
    assert said in str(raised.value)


def test_one_line_says_what_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as complete:
        complete.setattr("importlib.import_module", lambda name: None)
        assert lacking() == "nothing is missing on this machine"
    break_imports(monkeypatch, NO_USB, "libGL.so.1", "libusb-1.0.so.0")
    line = lacking()
    assert line.startswith("the desktop viewer (recon4d view RESULT) lacks system libraries")
    assert "apt-get install libgl1 libusb-1.0-0" in line and "\n" not in line


@pytest.mark.parametrize("way", [(), ("--web",)])
def test_a_folder_is_judged_before_the_viewer_is_imported(
    way: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    break_imports(monkeypatch, NO_USB)
    assert cli.main(["view", str(tmp_path), *way]) == 2
    assert "is not a result of recon4d" in capsys.readouterr().err
    write_result(exact_result(make_scene(FRAMES, SIZE, seed=9)), tmp_path / "result")
    assert cli.main(["view", str(tmp_path / "result"), *way]) == 2
    assert "apt-get install libusb-1.0-0" in capsys.readouterr().err


def test_without_a_screen_no_library_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    break_imports(monkeypatch, NO_USB)
    write_result(exact_result(make_scene(FRAMES, SIZE, seed=9)), tmp_path / "result")
    assert cli.main(["view", str(tmp_path / "result")]) == 2
    assert "use --web for a browser or --png FILE" in capsys.readouterr().err


def test_open3d_is_hidden_as_a_missing_library_hides_it(tmp_path: Path) -> None:
    block(tmp_path)
    code = f"import site; site.addsitedir({str(tmp_path)!r})\nimport open3d"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {NO_USB}")


def test_reasons_are_added_up_in_one_line() -> None:
    reasons = [
        *[needs.NO_SHARED] * 4,
        "needs Xvfb (apt-get install xvfb)",
        "root may write everywhere",
    ]
    assert needs.summary([]) is None
    assert needs.summary(reasons) == (
        "6 tests skipped: 4 need ../shared (the test material, a folder beside the clone), "
        "1 needs Xvfb (apt-get install xvfb), 1 because root may write everywhere"
    )


# install.sh

FAKE_PYTHON = """#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip install"*) [ -z "${FAIL:-}" ] || { echo "ERROR: no torch here" >&2; exit 1; }
        echo "Collecting torch"
        echo "  Downloading torch-2.13.0.whl (183.0 MB)"
        echo "  Downloading six.whl (12 kB)" ;;
    *"pip config get global.index-url"*) [ -n "${INDEX:-}" ] && echo "$INDEX" ;;
    *packages*) echo "nothing is missing on this machine" ;;
    --version) echo "Python 3.11.0" ;;
esac
"""
FAKE_UV = """#!/bin/sh
echo "uv $* index=${UV_DEFAULT_INDEX:-} more=${UV_INDEX:-} ${UV_INDEX_STRATEGY:-}" >>"$CALLS"
case "$1" in
    --version) echo "uv 9.9" ;;
    venv) mkdir -p .venv/bin && cp "$FAKES/python3" .venv/bin/python ;;
esac
"""


class Installer:
    """install.sh in a folder of its own, with a Python that writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.root, self.fakes, self.calls = folder / "clone", folder / "bin", folder / "calls"
        self.root.mkdir()
        self.fakes.mkdir()
        for name in ("install.sh", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.add("python3", FAKE_PYTHON)

    def add(self, name: str, script: str) -> None:
        (self.fakes / name).write_text(script)
        (self.fakes / name).chmod(0o755)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "PYTHON"))}
        places = {"PATH": f"{self.fakes}:/usr/bin:/bin", "FAKES": str(self.fakes)}
        places["CALLS"] = str(self.calls)
        return subprocess.run(
            ["sh", str(self.root / "install.sh"), *words],
            env=clean | places | variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path)


def test_install_says_what_it_does_in_a_few_lines_and_then_nothing_more(
    installer: Installer,
) -> None:
    done = installer.run(UV="")
    first, size, fetching, installed, last = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert first == "install.sh: recon4d [all] into .venv, with Python 3.11.0 and pip"
    assert "GB to fetch" in size and "fetching torch-2.13.0.whl, 183.0 MB" in fetching
    assert (
        "183 MB fetched" in installed and last == "install.sh: nothing is missing on this machine"
    )
    assert "pip install torch==2.13.0 -e .[all]" in installer.calls.read_text()
    again = installer.run()
    assert again.stdout == "install.sh: .venv is up to date\n" and again.returncode == 0
    assert installer.calls.read_text() == ""


def test_install_shows_all_that_pip_said_where_it_fails_and_can_go_on(installer: Installer) -> None:
    done = installer.run("dev", UV="", FAIL="yes")
    assert done.returncode == 1 and "ERROR: no torch here" in done.stderr
    assert "is not complete; the same command goes on" in done.stderr
    assert "installed in" not in done.stdout
    assert installer.run("dev", UV="").returncode == 0


def test_install_takes_uv_where_it_is_and_lets_it_look_where_pip_would(
    installer: Installer,
) -> None:
    installer.add("uv", FAKE_UV)
    assert installer.run(PIP_EXTRA_INDEX_URL="http://b", INDEX="http://a").returncode == 0
    calls = installer.calls.read_text()
    assert (
        "uv pip install --python .venv/bin/python torch==2.13.0 -e .[all] index=http://a" in calls
    )
    assert "more=http://b unsafe-best-match" in calls and "-m pip install" not in calls


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("all",), {}, "unknown word 'all'"),
        ((), {"PYTHON": "python0"}, "'python0' is not Python 3.11 or newer"),
    ],
)
def test_install_refuses_what_it_cannot_use(
    installer: Installer, words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = installer.run(*words, **variables)
    assert done.returncode == 2 and said in done.stderr and not (installer.root / ".venv").exists()
