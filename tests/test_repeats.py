"""Repeated frames are processed once, and the result has all of them."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

import recon4d
from recon4d import cli
from recon4d.core.scene import Repeats
from recon4d.evaluate.stated import stated_poses
from recon4d.io.poses.trajectory import Trajectory
from recon4d.run.repeats import find_repeats, with_repeats
from tests.media import textured_frames, write_images
from tests.results import exact_result
from tests.synthetic import make_scene

Images = UInt8[np.ndarray, "frames height width 3"]
DOUBLED = np.arange(24) // 2
PULLDOWN = np.arange(30) - np.arange(30) // 5
FILM = np.repeat(np.arange(12), [2, 3] * 6)
"""24 frames per second shown as 60."""


def compressed(images: Images, noise: float = 0.5) -> Images:
    """As JPEG, with noise of its own in each: no two frames are bit for bit the same."""
    rng, out = np.random.default_rng(1), []
    for image in images:
        noisy = (image + rng.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
        data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        out.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)))
    return np.stack(out)


def tripod(count: int) -> Images:
    """A still picture with sensor noise, before which something walks."""
    still, rng = textured_frames(1, 256, 192)[0], np.random.default_rng(0)
    frames = rng.normal(0, 2, (count, 192, 256, 3)) + still
    walker = textured_frames(1, 60, 140, seed=4)[0]
    for at in range(count):
        frames[at, 40:180, 4 * at : 4 * at + 60] = walker
    return np.asarray(frames.clip(0, 255), np.uint8)


@pytest.mark.parametrize("shown", [DOUBLED, PULLDOWN, FILM], ids=["doubled", "pulldown", "film"])
@pytest.mark.parametrize("still", [False, True])
def test_repeated_frames_are_found_through_compression(shown: np.ndarray, still: bool) -> None:
    count = int(shown[-1]) + 1
    pictures = tripod(count) if still else textured_frames(count, 256, 192)
    found = find_repeats(compressed(pictures[shown]))
    np.testing.assert_array_equal(found[1:], np.diff(shown) == 0)
    assert not found[0]


def test_frames_dropped_here_and_there_are_found_where_the_camera_moves() -> None:
    shown = np.array([0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10])
    found = find_repeats(compressed(textured_frames(11, 256, 192)[shown]))
    np.testing.assert_array_equal(found[1:], np.diff(shown) == 0)


def test_a_picture_that_freezes_is_no_repeated_frame() -> None:
    moving = textured_frames(24, 256, 192)
    frozen, slow = moving.copy(), moving.copy()
    frozen[8:15], slow[8:14] = moving[8], moving[8]
    assert not find_repeats(frozen).any()
    assert np.flatnonzero(find_repeats(slow)).tolist() == [9, 10, 11, 12, 13]  # 10 shown as 60


def test_a_still_camera_repeats_nothing() -> None:
    rng, still = np.random.default_rng(0), textured_frames(1, 256, 192)
    noisy = (still + rng.normal(0, 2, (20, 192, 256, 3))).clip(0, 255).astype(np.uint8)
    same = np.repeat(still, 20, axis=0)
    for images in (same, same[:2], compressed(same), compressed(noisy), compressed(tripod(20))):
        assert not find_repeats(images).any()
    rests = tripod(20)
    rests[11] = rests[10]  # the walker rests for a moment
    assert not find_repeats(compressed(rests)).any()


def test_slow_motion_repeats_nothing() -> None:
    wide = textured_frames(1, 512, 384)[0]
    away_px = 20 * np.sin(np.linspace(0, 7, 60))  # there and back: it rests at the turns
    frames = [
        cv2.warpAffine(wide, np.array([[0.5, 0, x], [0, 0.5, 0]]), (256, 192)) for x in away_px
    ]
    assert not find_repeats(compressed(np.stack(frames))).any()


def test_the_result_has_all_frames() -> None:
    made = make_scene(3, (32, 24), seed=0)
    covariance = np.stack([np.eye(6) * k for k in range(3)])
    times_s = np.arange(5) / 10
    repeats = Repeats(np.array([0, 0, 1, 2, 2]), times_s, tuple("abcde"))
    result = dataclasses.replace(exact_result(made), pose_covariance=covariance)
    every = with_repeats(result, repeats)
    assert len(every) == 5 and every.sources == tuple("abcde")
    np.testing.assert_array_equal(every.depth[[0, 2, 3]], result.depth)
    np.testing.assert_array_equal(every.is_dynamic[4], result.is_dynamic[2])
    np.testing.assert_array_equal(every.world_from_cam[1], result.world_from_cam[0])
    assert every.pose_covariance is not None
    assert every.pose_covariance[:, 0, 0].tolist() == [0, 0, 1, 2, 0]
    assert repeats.places((0, 2)) == (0, 1, 3, 4) and repeats.first(2) == 3
    path = Trajectory(times_s, every.world_from_cam)
    moved = path.world_from_cam.copy()
    moved[:, 0, 3] += np.array([0, 0, 1e-3, 2e-3, 2e-3])
    found = stated_poses(
        Trajectory(times_s, moved), path, every.pose_covariance, scale=1.0, max_diff_s=0.01
    )
    assert found is not None and found.steps == 2


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str) -> None:
    monkeypatch.chdir(tmp_path)
    images = make_scene(10, (160, 120), seed=5).video.images
    write_images(Path("in"), images[DOUBLED[:20]])
    camera = "140,140,79.5,59.5"
    argv = ["run", "in", "--masks", "residual", "--loop", "0", "--intrinsics", camera]
    assert cli.main([*argv, *options]) == 0


def test_a_run_names_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path)
    said = json.loads(Path("in_recon4d/run.json").read_text())
    (found,) = [warning for warning in said["warnings"] if warning["code"] == "repeated_frames"]
    assert found["frames"] == list(range(1, 20, 2)) and said["frames"] == said["posed"] == 20
    assert f"warning:    {found['message']}" in capsys.readouterr().out
    result = recon4d.load("in_recon4d")
    assert len(result) == 20 and len(set(result.sources)) == 20
    for values in (result.world_from_cam, result.depth, result.is_dynamic, result.intrinsics):
        np.testing.assert_array_equal(values[::2], values[1::2])
    apart = np.linalg.norm(np.diff(result.world_from_cam[::2, :3, 3], axis=0), axis=1)
    assert apart.min() > 0
    assert cli.main(["export", "in_recon4d", "--to", "nerfstudio", "--depth-size", "original"]) == 0


def test_lost_frames_are_those_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = make_scene(6, (160, 120), seed=5).video.images[DOUBLED[:12]]
    images[8:10] = 0
    write_images(Path("in"), images)
    options = ["--masks", "none", "--loop", "0", "--intrinsics", "140,140,79.5,59.5"]
    assert cli.main(["run", "in", *options]) == 0
    warnings = json.loads(Path("in_recon4d/run.json").read_text())["warnings"]
    (lost,) = [warning for warning in warnings if warning["code"] == "lost_frames"]
    assert lost["frames"] == [8, 9]
    assert lost["message"].startswith("Frames 8 to 9 could not be tracked: their poses")


@pytest.mark.slow
def test_clips_of_a_long_video_have_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("whole_frames=8", "clip_frames=8", "clip_overlap=3")
    run(monkeypatch, tmp_path, *(word for each in short for word in ("--set", f"optim.{each}")))
    said = json.loads(Path("in_recon4d/run.json").read_text())
    assert said["frames"] == 20 and len(said["clips"]) > 1
    assert said["clips"][-1]["frames"][1] == 18 and set(said["keyframes"]) <= set(range(0, 20, 2))
    result = recon4d.load("in_recon4d")
    for values in (result.world_from_cam, result.depth, result.is_dynamic, result.images):
        np.testing.assert_array_equal(values[::2], values[1::2])
