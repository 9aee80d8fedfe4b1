"""What a caller has set of torch, a forked process, limits of files and memory: a run is as ever, or says why not."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d import cli
from recon4d.cli.limits import ADDRESS_SPACE_MB
from recon4d.core.arrays import map_array, save_array
from recon4d.core.parallel import own_torch
from recon4d.run.overall import Overall, Watch, noting_progress
from tests.media import write_images
from tests.synthetic import make_scene

ROOT = Path(__file__).parents[1]
CALL = """
import os, signal, sys, torch, recon4d
def call():
    result = recon4d.reconstruct("in", loop=0, masks="none", readout=0.0,
                                 intrinsics="110.08,111.36,64.64,46.04")
    return result.world_from_cam.tobytes() + result.depth.tobytes()
wanted = call()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_images(folder / "in", make_scene(4, (128, 96), seed=5).video.images)
    return folder


def printed_by(script: str, place: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_caller_has_set_of_torch_changes_nothing(place: Path) -> None:
    script = CALL + (
        "for dtype in (torch.float64, torch.float16):\n"
        "    torch.set_default_dtype(dtype)\n"
        "    assert call() == wanted and torch.get_default_dtype() == dtype\n"
        "torch.set_default_dtype(torch.float32)\n"
        "with torch.inference_mode():\n"
        "    assert call() == wanted\n"
        "torch.set_default_device('meta')\n"
        "assert call() == wanted and torch.get_default_device().type == 'meta'\n"
        "print('same')\n"
    )
    assert printed_by(script, place) == "same\n"


@pytest.mark.slow
def test_a_child_that_was_forked_after_a_call_can_call(place: Path) -> None:
    script = CALL + (
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(60)\n"
        "    os._exit(0 if call() == wanted else 3)\n"
        "print(os.waitpid(child, 0)[1], call() == wanted)\n"
    )
    assert printed_by(script, place) == "0 True\n"


def test_torch_is_as_before() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with own_torch():
            assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_maps_keep_no_file_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system has no /proc")
    wanted = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    save_array(tmp_path / "a.npy", wanted)
    save_array(tmp_path / "empty.npy", wanted[:0])
    before = len(os.listdir("/proc/self/fd"))
    maps = [map_array(tmp_path / name) for name in ("a.npy", "empty.npy") for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    np.testing.assert_array_equal(maps[0], wanted)
    assert maps[-1].shape == (0, 3, 4) and maps[-1].dtype == np.float16
    maps[0][:] = 0  # copied on writing
    np.testing.assert_array_equal(maps[1], wanted)


def test_too_little_address_space_is_told_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    low = (ADDRESS_SPACE_MB - 1) << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (low, resource.RLIM_INFINITY))
    assert cli.main(["run", "missing.mp4"]) == 2
    err = capsys.readouterr().err
    assert f"needs {ADDRESS_SPACE_MB} or more" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "recon4d", "run", "x.mp4"],
        ["-m", "recon4d", "info", "/"],
        ["-c", "import recon4d; recon4d.load('x')"],
    ],
)
def test_a_working_folder_that_was_removed_is_told_first(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir ../gone && exec "$@"', "sh", sys.executable, *words],
        cwd=tmp_path / "gone",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (
        "the working folder of this process cannot be reached (No such file or directory); was it"
    )
    assert said in done.stderr and "MKL" not in done.stderr
    if "-m" in words:
        assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_plan_tells_the_share_of_the_whole() -> None:
    told: list[tuple[str, float]] = []
    overall = Overall((("a", 1.0), ("b", 2.0), ("b", 2.0), ("c", 5.0)), lambda *it: told.append(it))
    with overall("a", 2) as counter:
        counter.advance()
    with overall("b", 1), overall("unknown", 4) as counter:
        counter.advance()
    with overall("c", 1):  # the second b did not come
        pass
    assert told[:3] == [("a", 0.0), ("a", 0.05), ("a", 0.1)]
    assert told[-2:] == [("c", 0.5), ("c", 1.0)]
    shares = [share for _, share in told]
    assert shares == sorted(shares)


def test_workers_tell_how_far_they_are_inside_a_clip(tmp_path: Path) -> None:
    notes = [tmp_path / "0/alone.share", tmp_path / "1/alone.share"]
    counted: list[int] = []

    class Count:
        def advance(self, count: int = 1) -> None:
            counted.append(count)

    watch = Watch(Count(), notes)
    watch()
    assert counted == []
    progress = noting_progress(notes[0], (("flow", 1.0), ("masks", 3.0)))
    with progress("flow", 2) as counter:
        counter.advance()
        watch()
    watch()
    watch()
    assert counted == [125, 125]
