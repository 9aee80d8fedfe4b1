"""A clip between keyframes: what is held does not move by a bit, what is free finds its place."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Bool
from scipy.spatial.transform import Rotation

from recon4d.optim.between import optimise_between
from recon4d.optim.calibrate import AlignOptions
from recon4d.scene import MotionMasks, Scene
from tests.synthetic import SyntheticScene, make_scene

FRAMES = 12
HELD = np.isin(np.arange(FRAMES), (0, 5, 11))
OPTIONS = AlignOptions(threads=1)


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(FRAMES, (128, 96), seed=2, noise_px=0.1)


def disturbed(scene: Scene, free: Bool[np.ndarray, " frames"]) -> Scene:
    """Free frames are turned by half a degree and moved by 2 cm, their depth is 10 % off."""
    rng = np.random.default_rng(6)
    poses, rho = scene.world_from_cam.copy(), scene.inverse_depth.copy()
    turn = Rotation.from_rotvec(rng.normal(0, np.radians(0.5), (FRAMES, 3))).as_matrix()
    poses[free, :3, :3] = poses[free, :3, :3] @ turn[free]
    poses[free, :3, 3] += rng.normal(0, 0.02, (FRAMES, 3))[free]
    rho[free] *= np.exp(rng.normal(0, 0.1, rho.shape))[free].astype(np.float32)
    return replace(scene, world_from_cam=poses, inverse_depth=rho, is_metric=False)


def solved(made: SyntheticScene, start: Scene, options: AlignOptions = OPTIONS) -> Scene:
    rows, cols = made.flow.confidence.shape[1:]
    still = MotionMasks(np.zeros((FRAMES, rows, cols), np.float32))
    video = made.video
    if options.own_focals:
        video = replace(video, intrinsics=None)
    return optimise_between(video, made.flow, start, still, HELD, options)


def test_keyframes_do_not_move_by_a_bit(made: SyntheticScene) -> None:
    start = disturbed(made.scene, ~HELD)
    found = solved(made, start)
    for name in ("world_from_cam", "inverse_depth", "intrinsics"):
        assert getattr(found, name)[HELD].tobytes() == getattr(start, name)[HELD].tobytes(), name
    assert found.intrinsics.tobytes() == start.intrinsics.tobytes()  # shared: held in all frames


def test_frames_between_find_their_place(made: SyntheticScene) -> None:
    found = solved(made, disturbed(made.scene, ~HELD))
    off = np.linalg.norm((found.world_from_cam - made.scene.world_from_cam)[:, :3, 3], axis=1)
    assert off.max() < 0.003  # they began 35 mm off; 0.1 px of noise over 192 samples
    ratio = np.log(found.inverse_depth / made.scene.inverse_depth)[~HELD]
    assert np.median(np.abs(ratio)) < 0.01  # it was 0.07


def test_own_focal_lengths_of_keyframes_do_not_move(made: SyntheticScene) -> None:
    start = disturbed(made.scene, ~HELD)
    wrong = np.where(HELD, 1.0, 1.03)[:, None] ** np.array([1, 1, 0, 0])
    start = replace(start, intrinsics=start.intrinsics * wrong)
    found = solved(made, start, replace(OPTIONS, own_focals=True))
    assert found.intrinsics[HELD].tobytes() == start.intrinsics[HELD].tobytes()
    error = np.abs(found.intrinsics[:, 0] / made.scene.intrinsics[:, 0] - 1)
    assert error.max() < 0.015  # 3 % before


def test_a_camera_that_stands_turns_alone(made: SyntheticScene) -> None:
    blind = replace(
        disturbed(made.scene, ~HELD),
        inverse_depth_std=np.full_like(made.scene.inverse_depth, np.inf),
    )
    found = solved(made, blind)
    assert np.isinf(found.inverse_depth_std).all()
    np.testing.assert_allclose(found.inverse_depth[~HELD], blind.inverse_depth[~HELD], rtol=1e-6)
