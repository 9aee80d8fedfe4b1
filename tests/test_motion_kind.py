"""What kind of motion a video shows: turning, zoom, and the order of depth where there is little parallax."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.core.pinhole import project_array, rays_array
from recon4d.core.sampling import sample_px
from recon4d.core.scene import Flow, MotionMasks, Notice, Scene, Video
from recon4d.flow import window_pairs
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.dense import densify
from recon4d.optim.objective.problem import build_problem
from recon4d.optim.setting import AlignOptions
from recon4d.optim.start.kind import DEPTH_ORDER, Explanation, _order_notices
from recon4d.optim.start.turning import turn_between
from recon4d.run.focal_source import UNSURE_FOCAL, motion_kind
from recon4d.run.spread import depth_spread
from tests.synthetic import Path, make_scene

SIZE, FRAMES = (160, 120), 14
AUTO = AlignOptions(threads=1, grid_px=8, finds_zoom=True)
NOISE_PX = 0.15
"""Of the flow: what DIS has on textured video."""


def found_in(
    path: Path, zoom: float, seed: int = 1, size: tuple[int, int] = SIZE, frames: int = FRAMES
) -> tuple[Scene, Scene]:
    """First cameras of a rendered video of which nothing is known, and the true ones."""
    truth = make_scene(frames, size, seed, noise_px=NOISE_PX, plain_lens=True, path=path, zoom=zoom)
    video = replace(truth.video, intrinsics=None)
    return initial_scene(video, truth.flow, AUTO), truth.scene


def test_a_camera_that_turns_and_zooms_takes_no_walk() -> None:
    found, truth = found_in("turning", zoom=1.5)
    assert motion_kind(found) == "turning and zooming"
    np.testing.assert_array_equal(found.world_from_cam[:, :3, 3], 0)
    change = found.intrinsics[:, 0] / found.intrinsics[0, 0]
    wanted = truth.intrinsics[:, 0] / truth.intrinsics[0, 0]
    # flow of .15 px over 96 px to the border is .2 % between neighbours; the chain of 20 adds up to a few times that
    np.testing.assert_allclose(change, wanted, rtol=0.02)


def test_a_camera_that_turns_does_not_zoom() -> None:
    found, _ = found_in("turning", zoom=1.0, frames=10)
    assert motion_kind(found) == "turning"
    assert not found.zooms


def test_a_camera_that_stands_is_still() -> None:
    found, _ = found_in("still", zoom=1.0, frames=8)
    assert motion_kind(found) == "still"
    intrinsics = found.intrinsics.copy()
    intrinsics[:, :2] *= np.linspace(1, 2, len(intrinsics))[:, None]
    assert motion_kind(replace(found, intrinsics=intrinsics)) == "still and zooming"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_camera_that_is_carried_moves_and_does_not_zoom(seed: int) -> None:
    found, _ = found_in("carried", zoom=1.0, seed=seed)
    assert motion_kind(found) == "moving"


@pytest.mark.slow
def test_a_zoom_of_a_moving_camera_is_found() -> None:
    found, truth = found_in("carried", 1.5, size=(192, 144), frames=20)
    assert motion_kind(found) == "moving and zooming"
    change = found.intrinsics[:, 0] / found.intrinsics[0, 0]
    wanted = truth.intrinsics[:, 0] / truth.intrinsics[0, 0]
    # before there are masks and long flow, steps forwards take a part of the zoom
    np.testing.assert_allclose(change, wanted, rtol=0.15)


def test_what_is_forced_is_not_asked() -> None:
    truth = make_scene(10, SIZE, 1, noise_px=NOISE_PX, plain_lens=True, path="turning", zoom=1.5)
    video = replace(truth.video, intrinsics=None)
    assert not initial_scene(video, truth.flow, replace(AUTO, finds_zoom=False)).zooms


def followed_world(seed: int) -> tuple[Video, Flow]:
    """Ground that is near below and far above, and a walker whom the camera follows: with him in the middle of the
    picture, the reverse order of depth explains one thing more."""
    rng = np.random.default_rng(seed)
    (width, height), focal = (256, 144), 300.0
    camera = np.array([focal, focal, width / 2, height / 2])
    grid = sample_px(height // 2, width // 2).astype(np.float64)
    inverse_depth = np.maximum(grid[..., 1] / height - 0.3, 0.005) * 0.6
    walker = (abs(grid[..., 0] - 128) < 18) & (abs(grid[..., 1] - 70) < 45)
    pairs = window_pairs(FRAMES)
    edges = np.concatenate((pairs, pairs[:, ::-1]))
    bob = rng.normal(0, 0.7, (FRAMES, 2))
    flow = np.zeros((len(edges), *grid.shape), np.float32)
    for at, (a, b) in enumerate(edges.tolist()):
        flow[at] = _moved(grid, inverse_depth, camera, b - a) - grid
        flow[at][walker] = bob[b] - bob[a]
    flow += rng.normal(0, 0.05, flow.shape)
    return _textured(rng, (width, height)), _sure_flow(edges, flow)


def _textured(rng: np.random.Generator, size: tuple[int, int]) -> Video:
    texture = rng.integers(0, 255, (1, size[1], size[0], 3), np.uint8).repeat(FRAMES, axis=0)
    names = tuple(str(at) for at in range(FRAMES))
    return Video(texture, np.arange(FRAMES) / 25.0, names, size)


def _sure_flow(edges: np.ndarray, flow: np.ndarray) -> Flow:
    return Flow(edges, flow.astype(np.float16), np.full(flow.shape[:3], 255, np.uint8))


def _moved(
    grid: Float64[np.ndarray, "rows cols 2"],
    inverse_depth: Float64[np.ndarray, "rows cols"],
    camera: Float64[np.ndarray, "4"],
    frames: int,
    turn_deg: float = 0.5,
    step: float = 0.02,
) -> Float64[np.ndarray, "rows cols 2"]:
    """Where the ground is seen after some frames: each turns a little and steps aside."""
    turn = Rotation.from_euler("y", -turn_deg * frames, degrees=True).as_matrix()
    aside = np.array([-step * frames, 0.0, 0.0])
    rays = rays_array(grid, camera)
    return project_array((rays + inverse_depth[..., None] * aside) @ turn.T, camera)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_depth_is_not_reversed_for_the_sake_of_a_walker(seed: int) -> None:
    video, flow = followed_world(seed)
    found = initial_scene(video, flow, AUTO)
    depth, row = 1 / found.inverse_depth, found.samples_px[..., 1]
    beside = abs(found.samples_px[..., 0] - 128) > 30
    middle, bottom = (row > 48) & (row < 96) & beside, (row >= 96) & beside
    assert np.median(depth[middle]) > 1.5 * np.median(depth[bottom])


def two_fold_world(seed: int) -> tuple[Video, Flow]:
    """A slope seen through a long lens by a camera that hardly moves: both orders of its depth explain the flow."""
    rng = np.random.default_rng(seed)
    (width, height), focal = (128, 72), 300.0
    camera = np.array([focal, focal, width / 2, height / 2])
    grid = sample_px(height // 2, width // 2).astype(np.float64)
    inverse_depth = 0.2 + 0.8 * grid[..., 1] / height + 0.05 * np.sin(grid[..., 0] / 10)
    pairs = window_pairs(FRAMES)
    edges = np.concatenate((pairs, pairs[:, ::-1]))
    flow = np.stack(
        [_moved(grid, inverse_depth, camera, b - a, 0.2, 0.006) - grid for a, b in edges.tolist()]
    )
    flow += rng.normal(0, NOISE_PX, flow.shape)
    return _textured(rng, (width, height)), _sure_flow(edges, flow)


def test_where_both_orders_of_depth_explain_the_flow_nothing_is_certain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Explanation] = []

    def notices(best: Explanation, others: list[Explanation]) -> tuple[Notice, ...]:
        tried.extend(others)
        return _order_notices(best, others)

    monkeypatch.setattr("recon4d.optim.start.kind._order_notices", notices)
    video, flow = two_fold_world(0)
    still = MotionMasks(np.zeros((FRAMES, *flow.confidence.shape[1:]), np.float32))
    found = optimise(video, flow, initial_scene(video, flow, AUTO), still, AUTO)
    assert (
        found.focal_std > UNSURE_FOCAL
    )  # it is not told either: 92 px, which the usual 128 holds, for 300
    assert found.is_order_unsure and DEPTH_ORDER in [notice.code for notice in found.notices]
    dense = densify(video, flow, found, still, AUTO)
    assert (
        26 < dense.confidence.max() <= 85
    )  # more than completed pixels have, but a third of certain
    nothing = np.zeros(dense.depth.shape, bool)
    std = depth_spread(found, dense, nothing).std(dense, nothing, measured=False)
    below = np.median(dense.depth[:, 48:]) < np.median(dense.depth[:, 24:48])
    other = next(each for each in tried if (each.nearness_below > 0) != below)
    column, row = np.rint(other.setting.problem.samples_px[0].numpy() - 0.5).astype(int)
    for frame in (0, FRAMES - 1):
        here, there = dense.depth[frame, row, column], 1 / other.state.inverse_depth[frame].numpy()
        off = abs(there * np.median(here) / np.median(there) - here)
        assert (off < 2 * std[frame, row, column]).mean() > 0.9


def test_a_turn_and_a_zoom_are_found_beside_movers() -> None:
    camera = np.array([300.0, 300.0, 128.0, 72.0])
    turn = Rotation.from_rotvec([0.02, -0.03, 0.01]).as_matrix()
    grid = sample_px(72, 128).astype(np.float64)
    flow = project_array(rays_array(grid, camera) @ turn.T, camera * [1.1, 1.1, 1, 1]) - grid
    flow[20:48, 40:80] += [6.0, 2.0]  # an eighth of the picture goes its own way
    confidence = np.full((2, 72, 128), 255, np.uint8)
    both = Flow(np.array([[0, 1], [1, 0]]), np.stack((flow, -flow)).astype(np.float16), confidence)
    cells = np.stack(np.meshgrid(np.arange(72), np.arange(128), indexing="ij"), -1).reshape(-1, 2)
    problem = build_problem(both, np.stack([cells[::7], cells[::7]]))
    found, zoom, left_px = turn_between(problem, (0, 1), camera, zooms=True)
    # float16 keeps flow of 16 to 32 px to .016 px, of 300 px
    assert np.degrees(Rotation.from_matrix(found.T @ turn).magnitude()) < 0.02
    assert zoom == pytest.approx(1.1, abs=1e-3)
    assert np.median(left_px) < 0.05
