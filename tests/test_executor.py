"""Jobs in worker processes: all are done, in any order; what fails or dies is told; nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import pytest

from recon4d.core.errors import MissingDependencyError, WorkerError
from recon4d.run import executor as module
from recon4d.run.executor import DIED, executor
from tests import needs
from tests.media import write_images
from tests.synthetic import make_scene

NAMES = ("local", pytest.param("ray", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def ray_or_skip(request: pytest.FixtureRequest) -> None:
    if "name" in request.fixturenames and request.getfixturevalue("name") == "ray":
        needs.package("ray", "ray")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_all_jobs_are_done_and_watched(name: str, tmp_path: Path) -> None:
    folders = [tmp_path / str(k) for k in range(5)]
    counted: list[int] = []
    with executor(name, 2) as pool:
        pool.run(os.mkdir, folders[:3], lambda: counted.append(1))
        pool.run(os.mkdir, folders[3:], lambda: counted.append(1))
    assert all(folder.is_dir() for folder in folders)
    assert counted  # after jobs, and now and then meanwhile


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_the_error_of_a_job_is_raised_and_nobody_waits_for_the_others(
    name: str, tmp_path: Path
) -> None:
    begin_s = time.monotonic()
    with pytest.raises(FileNotFoundError), executor(name, 2) as pool:
        pool.run(os.rmdir, [tmp_path / "missing"])
    with pytest.raises(ValueError, match="non-negative"), executor(name, 2) as pool:
        pool.run(time.sleep, [-1, 600, 600])
    assert time.monotonic() - begin_s < 300  # the others would take ten minutes each
    assert not active_children()


def test_a_stopped_worker_does_not_keep_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.5)

    def stop() -> None:
        for process in active_children():
            os.kill(process.pid or 0, signal.SIGSTOP)

    def stop_and_interrupt() -> None:
        stop()
        raise KeyboardInterrupt

    begin_s = time.monotonic()
    with executor("local", 1) as pool:  # stopped without work
        pool.run(time.sleep, [0.0])
        stop()
    with pytest.raises(KeyboardInterrupt), executor("local", 1) as pool:
        pool.run(time.sleep, [600], stop_and_interrupt)
    assert time.monotonic() - begin_s < 60
    assert not active_children()


LONG = """
import sys
import recon4d
from recon4d.settings.optim import OptimConfig
optim = OptimConfig(clip_frames=12, clip_overlap=5, whole_frames=12)
def call(_):
    result = recon4d.reconstruct(sys.argv[1], masks="none", loop=0, intrinsics="110.08,111.36,64.14,46.54", optim=optim,
                                 workers=1)
    return len(result.sources)
"""
"""A script that divides a short video into clips."""


@pytest.fixture(scope="module")
def some_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(
        tmp_path_factory.mktemp("some"), make_scene(16, (128, 96), seed=5).video.images
    )


def printed_by(script: str, frames: Path, name: str, place: Path) -> str:
    """What a script prints that is run from a file, or from standard input where its name is `-`."""
    if name != "-":
        (place / name).write_text(script)
    done = subprocess.run(
        [sys.executable, name, str(frames)],
        input=script if name == "-" else "",
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [pytest.param("-", marks=pytest.mark.slow), "script.py"])
def test_workers_need_no_main_guard(name: str, some_frames: Path, tmp_path: Path) -> None:
    assert printed_by(LONG + "print(call(0))\n", some_frames, name, tmp_path) == "16\n"


@pytest.mark.slow
def test_clips_in_a_daemonic_pool(some_frames: Path, tmp_path: Path) -> None:
    pool = "from multiprocessing import get_context\nif __name__ == '__main__':\n"
    pool += "    with get_context('spawn').Pool(1) as pool:\n        print(pool.map(call, [0]))\n"
    assert printed_by(LONG + pool, some_frames, "script.py", tmp_path) == "[16]\n"


def test_a_worker_that_dies_is_told_in_a_sentence() -> None:
    with pytest.raises(WorkerError, match="--resume"), executor("local", 1) as pool:
        pool.run(signal.raise_signal, [signal.SIGKILL])
    assert "--workers 1" in DIED


def test_an_interrupt_ends_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait_for", interrupted)
    before, begin_s = set(active_children()), time.monotonic()
    with pytest.raises(KeyboardInterrupt), executor("local", 2) as pool:
        pool.run(time.sleep, [600, 600])
    assert time.monotonic() - begin_s < 300
    assert not set(active_children()) - before


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from recon4d.run.executor import executor\n"
        "if __name__ == '__main__':\n"
        "    with executor('local', 1) as pool:\n"
        f"        pool.run(os.mkdir, [{str(tmp_path / 'begun')!r}])\n"
        "        pool.run(time.sleep, [600])\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], start_new_session=True, env={**os.environ, "PYTHONPATH": "."}
    ) as parent:
        wait_for(lambda: (tmp_path / "begun").is_dir())
        parent.kill()
    wait_for(lambda: not session_members(parent.pid))


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with executor("local", 1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'recon4d\[ray\]'"),
        executor("ray", 2),
    ):
        pass


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.2)
    raise AssertionError("nothing happened within two minutes")


def session_members(session: int) -> list[int]:
    """Processes of a session that live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if os.getsid(int(folder.name)) == session and state != "Z":
                found.append(int(folder.name))
        except OSError:
            continue
    return found
