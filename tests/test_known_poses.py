"""Known poses: reading, the term, finding the wrong ones, and what they do for the cameras."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from recon4d.core.errors import InputError
from recon4d.core.geometry import exp_se3, invert_rigid
from recon4d.core.scene import KnownPoses, MotionMasks, Scene
from recon4d.io.poses import read_known_poses
from recon4d.io.poses.trajectory import Trajectory, write_trajectory
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.objective.terms import known_pose
from recon4d.optim.register import Tolerance, register
from recon4d.optim.setting import AlignOptions
from tests.paths import centres, path_length, relative_ate
from tests.synthetic import SyntheticScene, make_scene

FRAMES = 12
WIDE = torch.float64
ONE_THREAD = AlignOptions(threads=1)


@cache
def world() -> SyntheticScene:
    """Noisy flow: the estimate without known poses is off by more than rounding."""
    return make_scene(FRAMES, (208, 160), seed=3, plain_lens=True, noise_px=0.3)


def elsewhere() -> np.ndarray:
    """The true poses in another frame and unit."""
    poses = world().scene.world_from_cam.copy()
    turn = Rotation.from_euler("xyz", (20, -100, 50), degrees=True).as_matrix()
    poses[:, :3, :3] = turn @ poses[:, :3, :3]
    poses[:, :3, 3] = 7.0 * poses[:, :3, 3] @ turn.T + (3.0, -200.0, 1.0)
    return np.asarray(poses)


def given(poses: np.ndarray, frames: list[int], sigma: float = 0.0) -> KnownPoses:
    is_given = np.isin(np.arange(FRAMES), frames)
    kept = np.where(is_given[:, None, None], poses, np.eye(4))
    return KnownPoses(kept, is_given, sigma)


def reconstruct(known: KnownPoses | None, *, unknown_focal: bool = False) -> Scene:
    truth = world()
    video = replace(truth.video, poses=known)
    if unknown_focal:
        video = replace(video, intrinsics=None)
    still = MotionMasks(np.zeros((FRAMES, *truth.flow.confidence.shape[1:]), np.float32))
    start = initial_scene(video, truth.flow, ONE_THREAD)
    return optimise(video, truth.flow, start, still, ONE_THREAD)


def ate_as_it_is(found: Scene, wanted: np.ndarray) -> float:
    """Part of the path, without any alignment."""
    apart = centres(found.world_from_cam) - centres(wanted)
    return float(np.sqrt((apart**2).sum(1).mean())) / path_length(wanted)


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return exp_se3(torch.randn((count, 6), generator=g, dtype=WIDE))


def test_the_term_is_zero_at_the_given_pose() -> None:
    poses = random_poses(5)
    residual, _ = known_pose(poses, invert_rigid(poses))
    torch.testing.assert_close(residual, torch.zeros_like(residual), rtol=0, atol=1e-12)


@pytest.mark.parametrize("apart", [0.0, 1e-5, 0.3, 2.5])
def test_the_derivative_of_the_term_matches_finite_differences(apart: float) -> None:
    poses = random_poses(5)
    off = exp_se3(apart * torch.nn.functional.normalize(torch.ones((5, 6), dtype=WIDE), dim=1))
    wanted, step = invert_rigid(off @ poses), 1e-6
    _, jacobian = known_pose(poses, wanted)
    for axis in range(6):
        twist = torch.zeros(6, dtype=WIDE)
        twist[axis] = step
        ahead, _ = known_pose(exp_se3(twist) @ poses, wanted)
        back, _ = known_pose(exp_se3(-twist) @ poses, wanted)
        # central differences: step^2 and rounding / step; near half a turn the map is steep
        torch.testing.assert_close(
            jacobian[..., axis], (ahead - back) / (2 * step), rtol=1e-6, atol=1e-6
        )


def test_a_similarity_is_found_exactly_and_wrong_poses_do_not_bend_it() -> None:
    found, wanted = world().scene.world_from_cam, elsewhere()
    path = path_length(wanted)
    wanted[[2, 7], :3, 3] += 0.1 * path * np.array([[0.6, 0.8, 0], [0, 0, 1.0]])
    wanted[4, :3, :3] = wanted[4, :3, :3] @ Rotation.from_euler("y", 5, degrees=True).as_matrix()
    tolerance = Tolerance(extent=path_length(found), depth=2.0)
    registration = register(found, wanted, tolerance)
    assert np.flatnonzero(~registration.fits).tolist() == [2, 4, 7]
    assert registration.similarity.scale == pytest.approx(7.0, rel=1e-9)
    moved = registration.similarity.poses(found)
    np.testing.assert_allclose(moved, elsewhere(), atol=1e-9)


def test_two_poses_are_enough_for_frame_and_scale() -> None:
    found, wanted = world().scene.world_from_cam, elsewhere()
    registration = register(found[[1, 9]], wanted[[1, 9]], Tolerance(extent=0.5, depth=2.0))
    np.testing.assert_allclose(registration.similarity.poses(found), wanted, atol=1e-9)


@pytest.mark.parametrize("mistake", ["other path", "other axes"])
def test_poses_of_something_else_are_refused(mistake: str) -> None:
    found, wanted = world().scene.world_from_cam, elsewhere()
    if mistake == "other axes":
        wanted = wanted @ np.diag([1.0, -1.0, -1.0, 1.0])
    else:
        wanted = wanted[np.random.default_rng(0).permutation(FRAMES)]
    with pytest.raises(InputError, match="do not fit to what the video shows"):
        register(found, wanted, Tolerance(extent=path_length(found), depth=2.0))


def test_exact_poses_are_held_to_the_last_bit_and_help_the_others() -> None:
    wanted = elsewhere()
    held = [0, 4, 8, 11]
    free, known = reconstruct(None), reconstruct(given(wanted, held))
    np.testing.assert_allclose(known.world_from_cam[held], wanted[held], rtol=0, atol=1e-9)
    assert known.is_pose_trusted is not None
    assert np.flatnonzero(known.is_pose_trusted).tolist() == held
    assert known.notices == ()
    # measured .0020 and .0024: the other frames keep the noise of their own flow
    assert relative_ate(known.world_from_cam, wanted) < relative_ate(free.world_from_cam, wanted)
    assert ate_as_it_is(known, wanted) < 3e-3


@pytest.mark.slow
def test_poses_tell_the_focal_length() -> None:
    wanted = elsewhere()
    true_px = world().scene.intrinsics[0, 0]
    off = [
        abs(reconstruct(known, unknown_focal=True).intrinsics[0, 0] / true_px - 1)
        for known in (None, given(wanted, [0, 3, 6, 9, 11]))
    ]
    assert off[1] < off[0]


@pytest.mark.parametrize("sigma_part", [0.005, pytest.param(0.0, marks=pytest.mark.slow)])
def test_two_of_ten_poses_that_are_moved_are_named_and_not_absorbed(sigma_part: float) -> None:
    wanted = elsewhere()
    path = path_length(wanted)
    wrong = wanted.copy()
    wrong[[3, 8], :3, 3] += 0.1 * path * np.array([[0.6, 0.8, 0], [0, 0, 1.0]])
    found = reconstruct(given(wrong, list(range(10)), sigma_part * path))
    notice = {one.code: one for one in found.notices}["poses_dropped"]
    assert notice.frames == (3, 8)
    # without known poses the same flow gives .0024 after alignment
    assert ate_as_it_is(found, wanted) < 4e-3


def test_uncertain_poses_give_frame_and_scale_and_are_weighed_against_the_flow() -> None:
    wanted = elsewhere()
    rng = np.random.default_rng(5)
    sigma = 0.02 * path_length(wanted)
    noisy = wanted.copy()
    noisy[:, :3, 3] += rng.normal(0, sigma, (FRAMES, 3))
    found = reconstruct(given(noisy, list(range(FRAMES)), sigma))
    given_off = float(np.sqrt(((noisy - wanted)[:, :3, 3] ** 2).sum(1).mean()))
    apart = np.linalg.norm(centres(found.world_from_cam) - centres(wanted), axis=1)
    # seven numbers of the frame are left of the noise, of 36
    assert float(np.sqrt((apart**2).mean())) < 0.75 * given_off
    assert relative_ate(found.world_from_cam, wanted) < 3e-3
    assert found.notices == ()


def test_one_pose_gives_the_frame_and_says_that_it_tells_no_scale() -> None:
    wanted = elsewhere()
    found = reconstruct(given(wanted, [5]))
    np.testing.assert_allclose(found.world_from_cam[5], wanted[5], atol=1e-9)
    assert [notice.code for notice in found.notices] == ["poses_without_scale"]


def test_a_turning_camera_gets_orientation_and_centre() -> None:
    truth = make_scene(8, (208, 160), seed=5, path="turning")
    turn = Rotation.from_euler("xyz", (20, -100, 50), degrees=True).as_matrix()
    wanted = truth.scene.world_from_cam.copy()
    wanted[:, :3, :3] = turn @ wanted[:, :3, :3]
    wanted[:, :3, 3] = (5.0, 6.0, 7.0)
    is_given = np.arange(8) < 3
    video = replace(truth.video, poses=KnownPoses(wanted, is_given))
    found = initial_scene(video, truth.flow, ONE_THREAD)
    np.testing.assert_allclose(found.world_from_cam, wanted, atol=1e-3)  # half-precision flow
    assert [notice.code for notice in found.notices] == ["no_parallax", "poses_without_path"]


def written(path: Path, times_s: np.ndarray, poses: np.ndarray) -> Path:
    write_trajectory(Trajectory(times_s, poses), path)
    return path


def test_poses_find_their_frames_by_time(tmp_path: Path) -> None:
    poses = world().scene.world_from_cam
    times = np.array([0.004, 3 / 30, 5 / 30 + 0.012, 99.0])  # frames 0, 3, none, none
    file = written(tmp_path / "poses.txt", times, poses[[0, 3, 5, 6]])
    found = read_known_poses(file, 0.5, world().video)
    assert np.flatnonzero(found.is_given).tolist() == [0, 3] and found.sigma == 0.5
    np.testing.assert_allclose(found.world_from_cam[[0, 3]], poses[[0, 3]], atol=1e-8)


def test_a_denser_file_gives_every_frame_the_nearest_pose(tmp_path: Path) -> None:
    times = np.arange(200)[::-1] / 120 + 0.001  # not sorted
    poses = np.tile(np.eye(4), (200, 1, 1))
    poses[:, 0, 3] = times
    found = read_known_poses(written(tmp_path / "poses.txt", times, poses), 0.0, world().video)
    assert found.is_given.all()
    np.testing.assert_allclose(found.world_from_cam[:, 0, 3], np.arange(FRAMES) / 30 + 0.001)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("9.0 0 0 0 0 0 0 1\n9.1 0 0 0 0 0 0 1", r"\(9.000000 to 9.100000 s\).*\(0.000000 to 0.3"),
        ("0.0 0 0 0 0 0 0 1\n0.0 1 0 0 0 0 0 1", "2 poses at 0.000000 s"),
        ("0.0 0 0 0 0 0 0", "line 1: found 7 values, needed 8"),
        ("0.0 0 0 0 0 0 x 1", "line 1: found 'x', a number was needed"),
        ("0.0 0 0 0 0 0 0 2", "the quaternion has length 2, needed 1"),
        ("# nothing", "has no poses"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "poses.txt"
    file.write_text(lines)
    with pytest.raises(InputError, match=message):
        read_known_poses(file, 0.0, world().video)


def test_a_pose_that_did_not_fit_to_a_worse_estimate_is_used_when_it_fits() -> None:
    """Right poses are dropped where the start was bad (movers, before there are masks); wrong ones stay out."""
    wanted, at = elsewhere(), [0, 3, 5, 8, 11]
    wanted[5, :3, 3] += 0.1 * path_length(wanted) * np.array([0.6, 0.8, 0])
    made = replace(world().video, poses=given(wanted, at))
    start = initial_scene(made, world().flow, ONE_THREAD)
    assert start.is_pose_trusted is not None
    assert np.flatnonzero(start.is_pose_trusted).tolist() == [0, 3, 8, 11]
    worse = replace(start, is_pose_trusted=start.is_pose_trusted & (np.arange(FRAMES) != 11))
    still = MotionMasks(np.zeros_like(world().flow.confidence[:FRAMES], dtype=np.float32))
    better = optimise(made, world().flow, worse, still, ONE_THREAD)
    assert better.is_pose_trusted is not None
    assert np.flatnonzero(better.is_pose_trusted).tolist() == [0, 3, 8, 11]
    np.testing.assert_allclose(better.world_from_cam[11], wanted[11], rtol=0, atol=1e-9)
