"""Poses on another clock, in another unit, or of another direction: `recon4d run --poses` names the likely cause."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.core.scene import Video
from recon4d.io.poses.times import other_clock
from recon4d.io.poses.trajectory import Trajectory, write_trajectory
from tests.media import write_images, write_video
from tests.synthetic import SyntheticScene, make_scene

COUNT, FPS = 10, 25
SECONDS = np.arange(COUNT) / FPS


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def world() -> SyntheticScene:
    return make_scene(COUNT, (160, 120), seed=3, plain_lens=True)


def refused(
    capsys: pytest.CaptureFixture[str], times: np.ndarray, poses: np.ndarray, start_s: float = 0.0
) -> str:
    """The sentence on a video whose clock begins at `start_s`."""
    write_video(Path("in.mkv"), world().video.images, (SECONDS + start_s).tolist())
    write_trajectory(Trajectory(times, poses), Path("poses.txt"))
    argv = ["run", "in.mkv", "--poses", "poses.txt", "--masks", "none", "--intrinsics", camera()]
    assert cli.main(argv) == 2
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in.mkv", "poses.txt"]
    return capsys.readouterr().err.splitlines()[-1]


def camera() -> str:
    known = world().video.intrinsics
    assert known is not None
    return ",".join(str(value) for value in (*known[:2], known[2] - 0.5, known[3] - 0.5))


def poses() -> np.ndarray:
    return world().scene.world_from_cam


def test_a_video_whose_clock_begins_later_is_named_with_the_offset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sentence = refused(capsys, SECONDS, poses(), start_s=0.153)
    assert "the video's times begin at 0.153000 s, the poses' at 0.000000 s" in sentence
    assert "add 0.153000 s to the poses' times" in sentence
    assert cli.main(["info", "in.mkv"]) == 0
    assert "the first at 0.153000 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("per_second", "name"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_times_in_another_unit_are_named(
    per_second: float, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, SECONDS * per_second, poses())
    assert f"look like {name}: divided by {per_second:g} they fit to 10 of 10 frames" in sentence


def test_nanoseconds_of_the_day_are_named_with_their_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sentence = refused(capsys, (SECONDS + 1403636579.75) * 1e9, poses())
    assert "look like nanoseconds" in sentence and "subtract 1403636579.75" in sentence


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_of_frames_in_the_place_of_times_are_named(
    first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, np.arange(first, first + COUNT, dtype=float), poses())
    assert (
        f"its times ({first}, {first + 1}, ... {first + 9}) look like numbers of frames" in sentence
    )
    assert "the video's are seconds (0.000000 to 0.360000); write the time of each" in sentence


def test_poses_that_no_frame_takes_are_counted_in_the_result_and_on_the_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_video(Path("in.mkv"), world().video.images, SECONDS.tolist())
    times = np.concatenate((SECONDS[:7], SECONDS + 0.02))
    write_trajectory(Trajectory(times, np.concatenate((poses()[:7], poses()))), Path("poses.txt"))
    argv = ["run", "in.mkv", "--poses", "poses.txt", "--masks", "none", "--intrinsics", camera()]
    assert cli.main([*argv, "--out", "out", "--loop", "0"]) == 0
    said = "7 of 17 given poses are at a frame's time (within 0.01 s)"
    assert said in capsys.readouterr().out
    codes = {
        entry["code"]: entry for entry in json.loads(Path("out/run.json").read_text())["warnings"]
    }
    assert said in codes["unused_poses"]["message"]


@pytest.mark.parametrize(
    ("convention", "answer"),
    [
        (np.linalg.inv, "inverted they fit: they are camera-from-world"),
        (lambda poses: poses @ np.diag((1.0, -1.0, -1.0, 1.0)), "with OpenGL's axes they fit"),
    ],
)
def test_poses_of_another_convention_are_named(
    convention: object, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(convention)
    sentence = refused(capsys, SECONDS, convention(poses()))
    assert "do not fit to what the video shows" in sentence and answer in sentence
    assert "1000%" not in sentence


def video_at(times_s: np.ndarray, first: int = 0) -> Video:
    count = len(times_s)
    return Video(
        images=np.zeros((count, 64, 64, 3), np.uint8),
        timestamps_s=times_s,
        sources=tuple(str(first + index) for index in range(count)),
        source_size=(64, 64),
        source_indices=tuple(range(first, first + count)),
    )


FRAMES = np.arange(24) / 15


@pytest.mark.parametrize(
    ("frames_s", "poses_s"),
    [
        (FRAMES, FRAMES),
        (FRAMES, FRAMES[[3]]),
        (FRAMES, FRAMES[7:]),
        (FRAMES[:12], FRAMES[5:]),  # the run takes fewer frames than have poses
        (FRAMES + 23 / 15, np.arange(60) / 15),  # a part of a longer recording, all on one clock
        (FRAMES + 1.53, np.arange(400) / 100),  # motion capture that began before the video
        (FRAMES, np.arange(1000) / 120 + 0.003),
        (FRAMES[:2], FRAMES[:2]),
        (np.arange(24.0), np.arange(24.0)),
        (FRAMES, np.arange(9.0)),  # one pose a second
        (FRAMES + 1.3e9, FRAMES + 1.3e9 + 0.002),
    ],
)
def test_times_that_may_be_right_are_let_through(frames_s: np.ndarray, poses_s: np.ndarray) -> None:
    assert other_clock(poses_s, video_at(frames_s)) is None


@pytest.mark.parametrize(
    ("frames_s", "poses_s", "answer"),
    [
        (FRAMES + 1.53, FRAMES, "add 1.530000 s"),  # 7 frames would get wrong poses
        (FRAMES + 23 / 15, FRAMES, "add 1.533333 s"),
        (FRAMES[:12] + 1.53, np.arange(60) / 15, "add 1.530000 s"),  # all would
        (FRAMES, FRAMES + 1.53, "add -1.530000 s"),
        (FRAMES, np.arange(1000) / 120 * 1e3, "look like milliseconds"),
        (FRAMES, np.arange(1000) / 120 * 1e9, "look like nanoseconds"),
    ],
)
def test_times_of_another_clock_are_named(
    frames_s: np.ndarray, poses_s: np.ndarray, answer: str
) -> None:
    found = other_clock(poses_s, video_at(frames_s))
    assert found is not None and answer in found


def test_a_run_that_starts_later_in_the_video_tells_no_offset() -> None:
    assert other_clock(FRAMES, video_at(FRAMES + 1.53, first=23)) is None


def test_folders_whose_names_are_times_are_described_with_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), world().video.images[:2], ["2.5.png", "2.6.png"])
    assert cli.main(["info", "in"]) == 0
    assert "the first at 2.500000 s" in capsys.readouterr().out
