"""A clip between keyframes: what is held does not move by a bit, what is free finds its place."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from jaxtyping import Bool, TypeCheckError
from scipy.spatial.transform import Rotation

from recon4d.core.errors import ConfigError
from recon4d.core.scene import MotionMasks, Scene
from recon4d.optim import setting
from recon4d.optim.align import optimise, static_problem
from recon4d.optim.between import optimise_between, setting_between
from recon4d.optim.objective.camera_terms import MOVE, Linear, Rows
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.sample_terms import OfDepth
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions
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
    return optimise_between(setting_between(video, made.flow, start, still, HELD, options), start)


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


@dataclass(frozen=True)
class Still:
    """A made-up term: the centres of all cameras are drawn to the origin of the world."""

    reach: ClassVar[int] = 0
    is_measured: ClassVar[bool] = True
    weight_px: float

    def linear(self, state: State) -> Linear:
        rotation = state.cam_from_world[:, :3, :3]
        centre = -(rotation.mT @ state.cam_from_world[:, :3, 3:])[..., 0]
        weight = centre.new_full((), self.weight_px**2)
        frames = torch.arange(len(centre), device=centre.device)[:, None]
        rows = Rows(frames, centre, -rotation.mT[:, None], MOVE, weight)
        return Linear(0.5 * weight * centre.square().sum(), (rows,))

    def of(self, frames: torch.Tensor) -> "Still":
        return self


def test_a_term_of_ones_own_moves_what_is_free_and_lowers_its_stated_deviation(
    made: SyntheticScene,
) -> None:
    start, term = disturbed(made.scene, ~HELD), Still(1e6)
    rows, cols = made.flow.confidence.shape[1:]
    still = MotionMasks(np.zeros((FRAMES, rows, cols), np.float32))
    task = setting_between(made.video, made.flow, start, still, HELD, OPTIONS, terms=(term,))
    found = optimise_between(task, start)
    centres = found.world_from_cam[:, :3, 3]
    assert np.abs(centres[~HELD]).max() < 0.2 * np.abs(made.scene.world_from_cam[:, :3, 3]).max()
    assert (centres[HELD] == start.world_from_cam[HELD, :3, 3]).all()
    stiff, free = (
        optimise(made.video, made.flow, made.scene, still, OPTIONS, terms=terms)
        for terms in ((Still(1e4),), ())
    )
    moves = []
    for scene in (stiff, free):
        assert scene.pose_covariance is not None
        moves.append(np.trace(scene.pose_covariance[1:, 3:, 3:], axis1=1, axis2=2))
    assert np.median(moves[0]) < 0.1 * np.median(moves[1])


@pytest.mark.parametrize("between", [True, False])
def test_the_device_of_the_options_is_where_the_solver_runs(
    made: SyntheticScene, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    """`meta` is a device without numbers: what is sent there is seen, and cannot come back."""
    seen = []

    def solve_there(problem: Problem, start: State, freedom: object, options: object) -> State:
        seen.append((problem.weight.device.type, start.inverse_depth.device.type))
        raise Ended

    class Ended(Exception):
        pass

    monkeypatch.setattr(setting, "solve", solve_there)
    rows, cols = made.flow.confidence.shape[1:]
    still = MotionMasks(np.zeros((FRAMES, rows, cols), np.float32))
    options = replace(OPTIONS, device="meta")
    with pytest.raises(Ended):
        if between:
            task = setting_between(made.video, made.flow, made.scene, still, HELD, options)
            optimise_between(task, made.scene)
        else:
            optimise(made.video, made.flow, made.scene, still, options)
    assert seen == [("meta", "meta")]


@dataclass(frozen=True)
class Near:
    """A made-up term of samples: their inverse depth is drawn to one value."""

    wanted: torch.Tensor
    """(frames, samples)."""

    def linear(self, state: State, frames: slice) -> OfDepth:
        error = 1e3 * (state.inverse_depth[frames] - self.wanted[frames])
        cost = 0.5 * error.square().sum(dtype=torch.float64)
        return OfDepth(cost, torch.full_like(error, 1e6), 1e3 * error)

    def of(self, frames: torch.Tensor) -> "Near":
        return Near(self.wanted[frames])

    def chosen(self, samples: torch.Tensor | slice) -> "Near":
        return Near(self.wanted[:, samples])


def test_a_term_of_samples_of_ones_own_is_followed_and_carries_into_windows(
    made: SyntheticScene,
) -> None:
    rows, cols = made.flow.confidence.shape[1:]
    still = MotionMasks(np.zeros((FRAMES, rows, cols), np.float32))
    wanted = torch.from_numpy(1.05 * made.scene.inverse_depth)
    found = optimise(made.video, made.flow, made.scene, still, OPTIONS, terms=(Near(wanted),))
    np.testing.assert_allclose(found.inverse_depth, wanted.numpy(), rtol=0.01)
    problem = static_problem(made.video, made.flow, made.scene, still, OPTIONS)
    part = problem.with_terms(Near(wanted), Still(1.0)).window(2, 7).thinned(3)
    (near,) = part.sample_terms
    assert isinstance(near, Near) and torch.equal(near.wanted, wanted[2:7, ::3])
    assert part.camera_terms == (Still(1.0),)
    with pytest.raises(
        (ConfigError, TypeCheckError)
    ):  # the second is the tests' own, and comes first
        problem.with_terms("gravity")  # type: ignore[arg-type]
