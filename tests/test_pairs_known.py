"""What is known beforehand helps the alignment of pairs: intrinsics, and poses of some frames; wrong ones are named."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float64

from recon4d.core.errors import ConfigError, InputError
from recon4d.core.scene import KnownPoses
from recon4d.optim.pairwise import AlignedPairs, PairOptions, align_pairs
from tests.pairs_world import FOCAL, HEIGHT, WIDTH, PairsWorld
from tests.paths import relative_ate

INTRINSICS = (FOCAL, FOCAL, WIDTH / 2 + 0.5, HEIGHT / 2 + 0.5)


@pytest.fixture(scope="module")
def world() -> PairsWorld:
    return PairsWorld(noise=3.0)


@pytest.fixture(scope="module")
def aligned(world: PairsWorld) -> AlignedPairs:
    return align_pairs(world.pairs)


def elsewhere(poses: Float64[np.ndarray, "frames 4 4"]) -> Float64[np.ndarray, "frames 4 4"]:
    """The same cameras in another frame, 2.5 times as large."""
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    out = poses.copy()
    out[:, :3, :3] = turn @ poses[:, :3, :3]
    out[:, :3, 3] = 2.5 * poses[:, :3, 3] @ turn.T + np.array([4.0, -1.0, 2.0])
    return out


def given(world: PairsWorld, frames: list[int], sigma: float = 0.0) -> KnownPoses:
    poses = elsewhere(world.world_from_cam)
    is_given = np.isin(np.arange(world.frames), frames)
    return KnownPoses(np.where(is_given[:, None, None], poses, np.eye(4)), is_given, sigma)


def centre_error(found: AlignedPairs, world: PairsWorld) -> float:
    """Root mean square of the camera centres' errors in the given frame, with nothing fitted, in its unit."""
    off = found.world_from_cam[:, :3, 3] - elsewhere(world.world_from_cam)[:, :3, 3]
    return float(np.sqrt((off**2).sum(1).mean()))


def test_known_intrinsics_are_kept(world: PairsWorld) -> None:
    found = align_pairs(world.pairs, PairOptions(intrinsics=INTRINSICS))
    assert (found.focal_px == FOCAL).all()
    assert found.notices == ()


def test_a_wrong_focal_length_is_kept_and_bends_the_depth(
    world: PairsWorld, aligned: AlignedPairs
) -> None:
    wrong = (1.2 * FOCAL, 1.2 * FOCAL, *INTRINSICS[2:])
    found = align_pairs(world.pairs, PairOptions(intrinsics=wrong))
    assert found.focal_px[0] == pytest.approx(1.2 * FOCAL)

    def error(result: AlignedPairs) -> float:
        scale = np.median(world.depth) / np.median(result.depth)
        return float(np.abs(scale * result.depth / world.depth - 1).mean())

    assert error(found) > 2 * error(aligned)


@pytest.mark.parametrize("bad", [(0.0, 60.0, 32.0, 24.0), (60.0, np.nan, 32.0, 24.0)])
def test_intrinsics_that_are_none_are_refused(bad: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match="positive focal lengths are needed"):
        PairOptions(intrinsics=bad)


def test_exact_poses_are_kept_and_the_result_is_in_their_frame_and_scale(world: PairsWorld) -> None:
    known = given(world, [0, 3, 7])
    found = align_pairs(world.pairs, PairOptions(poses=known))
    np.testing.assert_allclose(
        found.world_from_cam[known.is_given], known.world_from_cam[known.is_given], atol=1e-9
    )
    # the path is 2.2 long; without given poses the centres are off by some 0.1 % of it
    assert centre_error(found, world) < 0.01
    assert np.median(found.depth) == pytest.approx(2.5 * np.median(world.depth), rel=0.01)
    assert found.notices == ()


def test_uncertain_poses_draw_but_do_not_hold(world: PairsWorld) -> None:
    known = given(world, [0, 2, 5, 7], sigma=0.02)
    found = align_pairs(world.pairs, PairOptions(poses=known))
    off = found.world_from_cam[known.is_given] - known.world_from_cam[known.is_given]
    assert 1e-7 < np.abs(off).max() < 0.02
    assert centre_error(found, world) < 0.02


def test_given_poses_that_are_moved_are_named_and_not_absorbed(world: PairsWorld) -> None:
    known = given(world, [0, 1, 3, 4, 6, 7])
    poses = known.world_from_cam.copy()
    poses[[1, 6], :3, 3] += [0.2, 0.1, 0.0]  # 10 % of the path
    found = align_pairs(world.pairs, PairOptions(poses=replace(known, world_from_cam=poses)))
    assert [(notice.code, notice.frames) for notice in found.notices] == [("poses_dropped", (1, 6))]
    assert centre_error(found, world) < 0.01


def test_poses_of_another_number_of_frames_or_without_a_value_are_refused(
    world: PairsWorld,
) -> None:
    known = given(world, [0, 3])
    short = KnownPoses(known.world_from_cam[:5], known.is_given[:5])
    with pytest.raises(InputError, match=r"need \(8, 4, 4\)"):
        align_pairs(world.pairs, PairOptions(poses=short))
    broken = known.world_from_cam.copy()
    broken[3, 0, 0] = np.nan
    with pytest.raises(InputError, match="given poses are not finite"):
        align_pairs(world.pairs, PairOptions(poses=replace(known, world_from_cam=broken)))


def test_poses_of_another_video_are_refused(world: PairsWorld) -> None:
    known = given(world, list(range(8)))
    rng = np.random.default_rng(0)
    poses = known.world_from_cam[rng.permutation(8)]
    with pytest.raises(InputError):
        align_pairs(world.pairs, PairOptions(poses=replace(known, world_from_cam=poses)))


def test_frames_of_a_zoom_have_focal_lengths_of_their_own() -> None:
    world = PairsWorld(seed=3, zoom=1.5)
    found = align_pairs(world.pairs, PairOptions(own_focals=True))
    np.testing.assert_allclose(found.focal_px, world.focal_px, rtol=0.01)
    assert relative_ate(found.world_from_cam, world.world_from_cam) < 0.005
    scale = np.median(world.depth) / np.median(found.depth)
    assert np.mean(np.abs(scale * found.depth / world.depth - 1)) < 0.01


def test_own_focal_lengths_of_one_lens_are_nearly_the_same(world: PairsWorld) -> None:
    found = align_pairs(world.pairs, PairOptions(own_focals=True))
    np.testing.assert_allclose(found.focal_px, FOCAL, rtol=0.01)
    with pytest.raises(ConfigError, match="set one of them"):
        PairOptions(own_focals=True, intrinsics=INTRINSICS)
