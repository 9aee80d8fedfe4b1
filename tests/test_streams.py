"""Standard streams that are closed, full, or poor in characters, and a second Ctrl-C: no traceback, and the result."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.media import write_images
from tests.synthetic import make_scene

ROOT = Path(__file__).parents[1]
PROGRAM = f"{shlex.quote(sys.executable)} -m recon4d"
NO_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line of a shell; `recon4d` in it is this program."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; recon4d() {{ {PROGRAM} "$@"; }}; {command}'],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        "--version >&-",
        "--version >&- 2>&-",
        "--version <&- >&- 2>&-",
        "--help | true",
        "--help >&-",
        pytest.param("--version 2>/dev/full", marks=NO_FULL),
        pytest.param("--help >/dev/full", marks=NO_FULL),
        pytest.param("--version >/dev/full", marks=NO_FULL),
        "models list | head -n 1 >/dev/null",
    ],
)
def test_output_that_nobody_reads_is_no_failure(words: str) -> None:
    done = shell(f"recon4d {words}")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "end", ["2>&-", pytest.param("2>/dev/full", marks=[NO_FULL, pytest.mark.slow])]
)
def test_an_error_that_nobody_reads_keeps_its_exit_code(end: str) -> None:
    done = shell(f"recon4d run missing.mp4 {end}")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


@NO_FULL
def test_a_full_disk_is_told_where_the_output_is_all_there_is() -> None:
    done = shell("recon4d models list >/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(b"recon4d: error: standard output cannot be written")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "surroundings",
    [{"PYTHONIOENCODING": "ascii"}, pytest.param({"LC_ALL": "C"}, marks=pytest.mark.slow)],
)
def test_characters_that_the_terminal_lacks_are_escaped(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "caf\u00e9"
    write_images(folder, make_scene(6, (128, 96), seed=5).video.images[:3])
    done = shell(f"recon4d info {shlex.quote(str(folder))}", **surroundings)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\xe9" in done.stdout or "caf\u00e9".encode() in done.stdout


def test_a_run_ends_with_its_result_whatever_the_streams(tmp_path: Path) -> None:
    write_images(tmp_path / "in", make_scene(6, (128, 96), seed=5).video.images)
    full = ">/dev/full" if Path("/dev/full").exists() else ">&-"
    place = shlex.quote(str(tmp_path))
    done = shell(
        f"cd {place} && recon4d run in --masks none --loop 0 --intrinsics 110,111,64,46 {full} 2>&-"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "in_recon4d/run.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "in_recon4d"]


SLOW_TO_END = """
import sys, threading, time
from recon4d import cli; from recon4d.cli import commands
def work(arguments):
    threading.Thread(target=time.sleep, args=(60,)).start()  # as a pool that computes
    print("begun", flush=True)
    time.sleep(60)
commands.COMMANDS["info"] = work
sys.argv = ["recon4d", "info", "x"]
sys.exit(cli.main())
"""


def test_a_second_interrupt_ends_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_END],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == b"recon4d: interrupted\n"
        begin_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - begin_s < 10
        assert process.stderr.read() == b""
