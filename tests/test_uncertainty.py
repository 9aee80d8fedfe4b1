"""Stated standard deviations: of relative poses from repeated noise, of depth from disagreement, judged and stored."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d.core.errors import InputError
from recon4d.core.geometry import exp_se3, transfer
from recon4d.core.scene import DenseDepth, Scene
from recon4d.core.similarity import scene_part
from recon4d.evaluate.stated import stated_poses
from recon4d.io.poses.trajectory import Trajectory
from recon4d.optim.objective.camera_terms import focal_term
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve import band as reduced
from recon4d.optim.solve.jackknife import HeldMoves, Moves
from recon4d.optim.solve.solver import solve
from recon4d.optim.solve.uncertainty import camera_moves, relative_pose_covariance
from recon4d.results.folder import read_result, write_result
from recon4d.run.focal_source import focal_notices
from recon4d.run.spread import depth_spread
from tests.test_io_result import small_result

FRAMES, ROWS, COLS = 4, 12, 16
OPTIONS = SolveOptions(kernel_px=2.0, max_steps=8)
NOISE_PX = 0.2


def noisy_problem(seed: int) -> tuple[Problem, State]:
    """Cameras that move sideways; every region of 3 x 4 has one and the same flow error per pair and a little more."""
    g = torch.Generator().manual_seed(seed)
    world = torch.Generator().manual_seed(99)
    v, u = torch.meshgrid(torch.arange(ROWS), torch.arange(COLS), indexing="ij")
    uv = torch.stack((u.flatten(), v.flatten())).double() * 8 + 4
    rho = 0.3 + 0.4 * torch.rand((FRAMES, ROWS * COLS), generator=world).double()
    twists = torch.zeros((FRAMES, 6), dtype=torch.float64)
    twists[:, 3] = -0.3 * torch.arange(FRAMES)
    twists[1:, :3] = 0.03 * torch.randn((FRAMES - 1, 3), generator=world).double()
    poses = exp_se3(twists)
    intrinsics = torch.tensor([120.0, 120.0, 64.0, 48.0], dtype=torch.float64).repeat(FRAMES, 1)
    partners = torch.tensor([[j for j in range(FRAMES) if j != i] for i in range(FRAMES)])
    targets = torch.empty((FRAMES, FRAMES - 1, 2, ROWS * COLS), dtype=torch.float64)
    for n in range(FRAMES):
        for slot, m in enumerate(partners[n].tolist()):
            relative = poses[m] @ torch.linalg.inv(poses[n])
            targets[n, slot] = transfer(uv.T, rho[n], relative, intrinsics[n], intrinsics[m])[0].T
    region = (v // 4 * 4 + u // 4).flatten()
    common = torch.randn((FRAMES, FRAMES - 1, 2, 12), generator=g).double()[..., region]
    own = torch.randn(targets.shape, generator=g).double()
    problem = Problem(
        samples_px=uv.expand(FRAMES, 2, -1).contiguous(),
        partners=partners,
        targets_px=targets + NOISE_PX * (common + 0.5 * own),
        weight=torch.ones((FRAMES, FRAMES - 1, ROWS * COLS), dtype=torch.float64),
        prior_inverse_depth=torch.full_like(rho, 0.5),
        prior_weight=torch.full_like(rho, 0.05),
    )
    return problem, State(poses, rho, intrinsics)


def with_first(steps: np.ndarray) -> np.ndarray:
    """The covariance of every frame's relative pose; the first has none before."""
    return np.concatenate((np.zeros((1, 6, 6)), steps))


def test_repeated_noise_lies_within_the_stated_deviation() -> None:
    """Errors alike in whole regions: the plain inverse of the Hessian would hold about a quarter of them."""
    within = []
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    for seed in range(12):
        problem, truth = noisy_problem(seed)
        found = solve(problem, truth, freedom, OPTIONS)
        covariance = relative_pose_covariance(problem, found, freedom, OPTIONS, keeps_scale=False)[
            1:
        ]
        estimate, wanted = (
            Trajectory(np.arange(FRAMES, dtype=float), np.linalg.inv(s.cam_from_world.numpy()))
            for s in (found, truth)
        )
        centred = [
            t.world_from_cam[:, :3, 3] - t.world_from_cam[:, :3, 3].mean(0)
            for t in (estimate, wanted)
        ]
        scale = float((centred[0] * centred[1]).sum() / (centred[0] ** 2).sum())
        stated = stated_poses(estimate, wanted, with_first(covariance), scale, 0.01)
        assert stated is not None and stated.steps == FRAMES - 1
        within += [stated.rotation, stated.translation]
    # 216 errors of 12 independent runs: the share is known to about 0.05
    assert 0.55 < np.mean(within) < 0.83


def test_few_regions_state_nothing() -> None:
    problem, state = noisy_problem(0)
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    weight = problem.weight.clone()
    weight[..., COLS * 4 :] = 0  # the upper row of regions alone
    problem = dataclasses.replace(problem, weight=weight)
    covariance = relative_pose_covariance(problem, state, freedom, OPTIONS, keeps_scale=False)[1:]
    assert np.isinf(covariance).all()


FREE = dataclasses.replace(OPTIONS, free_focal=True)
OWN = dataclasses.replace(FREE, shared_focal=False)


@pytest.mark.parametrize(
    ("free", "held_focal"),
    [(OPTIONS, OPTIONS), (FREE, OPTIONS), (OWN, OWN)],
    ids=["known", "shared", "own"],
)
def test_frames_between_held_ones_are_off_as_if_all_had_been_free(
    free: SolveOptions, held_focal: SolveOptions
) -> None:
    """Keyframes that are off as a solution of all frames would be take the frames between them along."""
    problem, truth = noisy_problem(0)
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    usual = focal_term(120.0, shared=free.shared_focal)
    whole_problem = problem.with_terms(usual) if free.free_focal else problem
    if held_focal.free_focal:
        problem = whole_problem
    found = solve(whole_problem, truth, freedom, free)
    whole = camera_moves(whole_problem, found, freedom, free)
    every = torch.ones(FRAMES, dtype=torch.bool)
    held = np.array([True, False, False, True])
    given = HeldMoves(held, whole.of(np.flatnonzero(held)))
    between = camera_moves(problem, found, Freedom(every, every), held_focal, held=given)
    # the solver stops at 1e-4, and the mean of the regions' moves is not quite 0
    size = np.abs(whole.cameras).max((0, 1))
    assert (np.abs(between.cameras - whole.cameras).max((0, 1)) < 0.03 * size).all()
    np.testing.assert_allclose(between.growth, whole.growth)


def test_the_deviation_of_few_regions_is_widened() -> None:
    problem, found = noisy_problem(0)
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    moves, poses = camera_moves(problem, found, freedom, OPTIONS), found.cam_from_world.numpy()
    covariance = moves.covariance(poses)
    assert np.isinf(covariance[0]).all()
    # Student's t of 11 degrees of freedom has 84.13 % below 1.048
    np.testing.assert_allclose(moves.widened(poses)[1:], 1.048**2 * covariance[1:], rtol=2e-3)


def test_what_is_unknown_of_held_frames_is_unknown_between_them() -> None:
    problem, state = noisy_problem(0)
    every = torch.ones(FRAMES, dtype=torch.bool)
    given = HeldMoves(np.arange(FRAMES) == 0, Moves.unknown(1))
    moves = camera_moves(problem, state, Freedom(every, every), OPTIONS, held=given)
    assert np.isinf(moves.covariance(state.cam_from_world.numpy())).all()


def test_a_system_that_determines_nothing_states_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(
        band: torch.Tensor, rhs: torch.Tensor, _: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(rhs, torch.nan), rhs.new_zeros(())

    monkeypatch.setattr(reduced, "solve_bordered", fails)
    problem, state = noisy_problem(0)
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    covariance = relative_pose_covariance(problem, state, freedom, OPTIONS, keeps_scale=False)[1:]
    assert np.isinf(covariance).all()


def test_share_of_normal_errors() -> None:
    rng = np.random.default_rng(0)
    count, std = 500, np.array([0.01, 0.02, 0.03, 0.1, 0.2, 0.3])
    truth, found = [np.eye(4)], [np.eye(4)]
    for twist in rng.normal(size=(count, 6)) * std:
        step = exp_se3(torch.from_numpy(rng.normal(size=6) * 0.1)).numpy()
        truth.append(truth[-1] @ step)
        found.append(found[-1] @ step @ exp_se3(torch.from_numpy(twist)).numpy())
    half = np.array(found)
    half[:, :3, 3] *= 0.5
    times = np.arange(count + 1, dtype=float)
    covariance = np.tile(np.diag((std * [1, 1, 1, 0.5, 0.5, 0.5]) ** 2), (count, 1, 1))
    covariance[7] = np.inf
    covariance = with_first(covariance)
    stated = stated_poses(
        Trajectory(times, half), Trajectory(times, np.array(truth)), covariance, 2.0, 0.01
    )
    assert stated is not None and stated.steps == count - 1
    # 1497 numbers each: 0.683 +- 0.012
    assert stated.rotation == pytest.approx(0.683, abs=0.04)
    assert stated.translation == pytest.approx(0.683, abs=0.04)


def wall(seed: int) -> tuple[Scene, DenseDepth]:
    """A wall seen by a camera that moves along it; the right half is ten times as noisy, and says so."""
    rng = np.random.default_rng(seed)
    frames, height, width = 6, 60, 80
    noise = np.where(np.arange(width) < width // 2, 0.002, 0.02) * rng.normal(
        size=(frames, height, width)
    )
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 1, 3] = 0.02 * np.arange(frames)
    confidence = np.where(np.arange(width) < width // 2, 250, 40).astype(np.uint8)
    scene = Scene(
        world_from_cam=poses,
        intrinsics=np.tile([80.0, 80.0, 40.0, 30.0], (frames, 1)),
        samples_px=np.zeros((frames, 1, 2), np.float32),
        inverse_depth=np.ones((frames, 1), np.float32),
        inverse_depth_std=np.ones((frames, 1), np.float32),
        is_posed=np.ones(frames, bool),
        component=np.zeros(frames, np.int64),
    )
    depth = (2 * np.exp(noise)).astype(np.float32)
    return scene, DenseDepth(depth, np.broadcast_to(confidence, depth.shape).copy())


def test_disagreement_tells_the_deviation_by_confidence() -> None:
    scene, dense = wall(0)
    spread = depth_spread(scene, dense, np.zeros(dense.depth.shape, bool))
    # both frames are off: sqrt(2) times the noise; thousands of pixels tell a quantile to a few per cent
    assert spread.by_confidence[250] == pytest.approx(0.002 * 2**0.5, rel=0.08)
    assert spread.by_confidence[40] == pytest.approx(0.02 * 2**0.5, rel=0.08)
    assert (np.diff(spread.by_confidence) <= 0).all()


def test_deviations_are_in_the_unit_of_the_depth_and_unknown_where_nothing_is_known() -> None:
    scene, dense = wall(0)
    moves = np.zeros(dense.depth.shape, bool)
    moves[:, :9] = True
    spread = depth_spread(scene, dense, moves)
    depth, confidence = 4 * dense.depth, dense.confidence.copy()
    depth[:, 20:30], confidence[:, 30:40] = 0, 0
    std = spread.std(DenseDepth(depth, confidence), moves, measured=False)
    assert std.dtype == np.float16
    assert np.isinf(std[:, 20:40]).all() and np.isfinite(std[:, :20]).all()
    table = spread.by_confidence[confidence[:, 40:]]
    np.testing.assert_allclose(std[:, 40:], depth[:, 40:] * table, rtol=1e-3)
    np.testing.assert_allclose(std[:, :9], depth[:, :9] * spread.moving, rtol=1e-3)
    seen = spread.std(DenseDepth(depth, confidence), moves, measured=True)
    assert (seen[:, :9, :40] == (depth * table[0, 0, 0])[:, :9, :40].astype(np.float16)).all()


def test_more_confidence_never_means_a_larger_deviation() -> None:
    rng = np.random.default_rng(0)
    scene, dense = wall(0)
    columns = np.linspace(1, 255, dense.depth.shape[2]).astype(np.uint8)
    confidence = np.broadcast_to(columns, dense.depth.shape).copy()
    depth = 2 * np.exp(rng.normal(size=dense.depth.shape) / (1.0 + confidence))
    dense = DenseDepth(depth.astype(np.float32), confidence)
    table = depth_spread(scene, dense, np.zeros(depth.shape, bool)).by_confidence
    assert (np.diff(table) <= 0).all()
    assert table[5] > 3 * table[250]


def test_depth_whose_order_is_unsure_may_as_well_be_mirrored() -> None:
    scene, dense = wall(0)
    depth = dense.depth.copy()
    depth[:, :20], depth[:, 20:30] = 1, 4  # beside the wall at 2
    unsure = dataclasses.replace(scene, is_order_unsure=True)
    nothing, slanted = np.zeros(depth.shape, bool), DenseDepth(depth, dense.confidence)
    std = depth_spread(unsure, slanted, nothing).std(slanted, nothing, measured=False)
    plain = depth_spread(scene, slanted, nothing).std(slanted, nothing, measured=False)
    np.testing.assert_allclose(std[:, :20], 3, rtol=0.05)  # what is at 1 may be at 4
    np.testing.assert_allclose(std[:, 20:30], 3, rtol=0.05)
    assert (std >= plain).all() and np.median(std[:, 30:] / plain[:, 30:]) < 2
    part = scene_part(unsure, np.arange(2))
    assert part.is_order_unsure  # clips write some of their frames


def test_one_posed_frame_tells_nothing() -> None:
    scene, dense = wall(0)
    alone = dataclasses.replace(scene, is_posed=np.arange(6) == 0)
    spread = depth_spread(alone, dense, np.zeros(dense.depth.shape, bool))
    assert np.isinf(spread.by_confidence).all() and np.isinf(spread.moving)


def test_result_folder_keeps_what_is_stated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    factor, result = rng.normal(size=(3, 6, 6)), small_result(3)
    covariance = factor @ factor.mT
    covariance[1] = np.inf
    std = rng.uniform(0, 1, result.depth.shape).astype(np.float16)
    std[result.depth == 0] = np.inf
    result = dataclasses.replace(result, pose_covariance=covariance, depth_std=std)
    folder = tmp_path / "r"
    write_result(result, folder)
    stored = np.load(folder / "depth_std/000002.npy")
    assert stored.dtype == np.float16 and stored.shape == result.depth.shape[1:]
    back = read_result(folder)
    np.testing.assert_array_equal(back.pose_covariance, covariance)
    np.testing.assert_array_equal(back.depth_std, std)

    np.save(folder / "pose_covariance.npy", covariance[:1])
    with pytest.raises(InputError, match=r"pose_covariance.*\(3, 6, 6\)"):
        read_result(folder)
    np.save(folder / "pose_covariance.npy", covariance[1:])  # as an earlier version wrote it
    read = read_result(folder).pose_covariance
    assert read is not None
    np.testing.assert_array_equal(read, with_first(covariance[1:]))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.full((96, 128), 1.0, np.float32), "float16"),
        (np.full((96, 128), -1.0, np.float16), "no standard deviation"),
        (np.full((96, 128), np.nan, np.float16), "no standard deviation"),
        (np.full((95, 128), 1.0, np.float16), "holds float16"),
    ],
)
def test_deviations_that_cannot_be_are_refused(
    tmp_path: Path, stored: np.ndarray, said: str
) -> None:
    std = np.ones((3, 96, 128), np.float16)
    write_result(dataclasses.replace(small_result(3), depth_std=std), tmp_path / "r")
    np.save(tmp_path / "r/depth_std/000001.npy", stored)
    with pytest.raises(InputError, match=said):
        read_result(tmp_path / "r")


def test_results_without_are_read(tmp_path: Path) -> None:
    write_result(small_result(3), tmp_path / "r")
    back = read_result(tmp_path / "r")
    assert back.pose_covariance is None and back.depth_std is None


def test_the_focal_length_is_as_sure_as_the_regions_agree() -> None:
    rng = np.random.default_rng(0)
    used, moves = np.ones(12, bool), rng.normal(size=12)
    moves -= moves.mean()
    none, cameras = np.zeros(12), np.zeros((12, 5, 6))
    shared = Moves(cameras, none, 0.01 * moves, none, used)
    # delete-a-group: (n - 1) / n of the sum of squares, and Student's t of 11 degrees of freedom at one deviation
    wanted = 1.053 * 0.01 * np.sqrt(11 / 12 * (moves**2).sum())
    assert shared.focal_std == pytest.approx(wanted, rel=1e-2)
    own = np.concatenate((cameras, np.full((12, 5, 1), 0.01) * moves[:, None, None]), axis=2)
    assert Moves(own, none, none, none, used).focal_std == pytest.approx(shared.focal_std)
    assert Moves.unknown(5).focal_std == 0
    assert dataclasses.replace(shared, is_used=np.arange(12) < 3).focal_std == 0


def test_a_focal_length_that_the_motion_hardly_tells_is_named() -> None:
    scene = dataclasses.replace(wall(0)[0], focal_std=0.5)
    (notice,) = focal_notices("estimated", scene)
    assert notice.code == "focal_unsure" and "80 px" in notice.message and "50 %" in notice.message
    assert (
        "more than 100 %"
        in focal_notices("estimated", dataclasses.replace(scene, focal_std=1e9))[0].message
    )
    assert not focal_notices("given", scene)
    assert not focal_notices("estimated", dataclasses.replace(scene, focal_std=0.05))


def test_of_a_tripod_that_zooms_how_far_is_said() -> None:
    scene = wall(0)[0]
    (notice,) = focal_notices("assumed", scene)
    assert "is not known: 80 px is assumed" in notice.message
    intrinsics = scene.intrinsics.copy()
    intrinsics[:, :2] *= np.linspace(1, 2, len(intrinsics))[:, None]
    (notice,) = focal_notices("assumed", dataclasses.replace(scene, intrinsics=intrinsics))
    assert "(only how far it zooms, 2 times): 80 to 160 px is assumed" in notice.message
