"""From pairwise predictions to cameras, depth and motion masks: start, loop of masks and optimisation, full size."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from recon4d.errors import ConfigError
from recon4d.geometry import invert_rigid
from recon4d.masks.pairs import dense_log_odds, grid_log_odds, surroundings
from recon4d.optim.normal import Freedom, SolveOptions
from recon4d.optim.pair_dense import (
    FrameFlow,
    dense_log_depth,
    frame_flow,
    pairs_by_view,
    refine_depth,
    relative_to,
)
from recon4d.optim.pair_depth import FusedDepth
from recon4d.optim.pair_graph import PairStart, outliers, start_from_pairs
from recon4d.optim.pair_problem import (
    POINT_VARIANCE,
    align_pairs_to,
    build_pair_problem,
    depth_variance,
    enlarge_map,
    enlarge_state,
    flatness,
    flow_error_px,
    measured_depth,
    refine_relative,
)
from recon4d.optim.pairs import (
    MIN_USABLE,
    PairGrid,
    Pairs,
    check_connected,
    check_frames,
    pair_notice,
    thin,
    usable_edges,
    usable_share,
)
from recon4d.optim.problem import Problem
from recon4d.optim.solver import solve
from recon4d.optim.state import State
from recon4d.optim.uncertainty import relative_pose_covariance
from recon4d.scene import Notice

logger = logging.getLogger(__name__)

MASKS = ("residual", "none")
FINE_SAMPLES = 768
"""Samples per frame on the fine grid: 32 x 24. More lower the error of the cameras less than they cost."""
PAIR_KERNELS = (2 / 128, 2 / 128, 1 / 128, 1 / 128, 0.5 / 128, 0.5 / 128)
"""Robust kernels of the pair-by-pair poses, parts of the image width: from the error of pointmaps down."""
GAIN_SIGMA = 0.02
"""Scales of the frames' pointmaps may differ by this much, relative, in one optimisation."""
BAD_POINTS, BAD_FLOW_SIGMAS, BAD_FACTOR = 0.06, 8.0, 4.0
"""A pair is an outlier when its median error is above the floor (relative; flow sigmas) and 4 times the usual one."""
HALO = 4 / 128
"""Flow is blurred across the outline of movers: pixels nearer to one than this part of the width have no weight."""


@dataclass(frozen=True)
class PairOptions:
    """Settings of `align_pairs`."""

    masks: str = "residual"
    """Where motion masks come from: `residual`, the pairs themselves; `none`, nothing moves."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.masks not in MASKS:
            raise ConfigError(f"masks must be one of {MASKS}, got {self.masks!r}")


@dataclass(frozen=True)
class AlignedPairs:
    """Cameras, depth and masks of all frames, in the first camera's frame and one scale."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    depth: Float32[np.ndarray, "frames height width"]
    """z-depth in the scale of the poses."""
    depth_std: Float32[np.ndarray, "frames height width"]
    """Standard deviation of the depth, in the same unit; infinite where nothing was measured."""
    pose_covariance: Float64[np.ndarray, "steps 6 6"]
    """Of every frame's pose relative to the one before (`recon4d.scene.Reconstruction.pose_covariance`)."""
    focal_px: Float64[np.ndarray, " frames"]
    moving: Bool[np.ndarray, "frames height width"]
    notices: tuple[Notice, ...]
    """Pairs that were dropped, and what the user should know."""


@dataclass(frozen=True)
class Stage:
    """One optimisation of the loop; masks are found anew after each."""

    kernel_sigmas: float
    """Scale of the robust kernel on flow, standard deviations of the flow."""
    free_depth: bool
    """Whether depth moves, too, or the cameras alone."""
    free_focal: bool
    fine: bool
    """On which grid."""
    correlated: float
    """Pointmap errors count this many times: high while movers may be taken for static and bend the cameras, because a
    strong prior would hold what is wrong; low at the end, for depth and focal length."""


STAGES = (
    Stage(20.0, free_depth=False, free_focal=False, fine=False, correlated=5.5),
    Stage(5.0, free_depth=True, free_focal=False, fine=False, correlated=9.0),
    Stage(5.0, free_depth=True, free_focal=False, fine=False, correlated=9.0),
    Stage(5.0, free_depth=True, free_focal=False, fine=True, correlated=9.0),
    Stage(3.0, free_depth=True, free_focal=True, fine=True, correlated=5.5),
    Stage(3.0, free_depth=True, free_focal=True, fine=True, correlated=1.5),
)
LAST_COARSE = 2
"""Stage after which pairs with bad flow are looked for."""
MAX_STEPS, TOLERANCE = 6, 2e-3
"""Levenberg-Marquardt steps of a stage, and the relative decrease that ends it: the next stage goes on from there."""


def align_pairs(pairs: Pairs, options: PairOptions | None = None) -> AlignedPairs:
    """Find cameras, depth, focal length and motion from pairwise predictions alone.

    Raises:
        InputError: Arrays contradict each other.
        DegenerateError: The usable pairs do not connect the frames, or nothing static is left.
    """
    options = options or PairOptions()
    check_frames(pairs.edges, pairs.num_frames)
    with torch.no_grad():
        graph = _usable_graph(pairs, torch.device(options.device))
        graph, start = _start(graph, pairs.size)
        graph, view = _loop(graph, start, options)
        covariance = _pose_covariance(graph.fine, view, start)
        return _full_size(pairs, graph, view, options, covariance)


@dataclass(frozen=True)
class _Graph:
    """The pairs that are used, on both grids."""

    coarse: PairGrid
    fine: PairGrid
    keep: Bool[np.ndarray, " edges"]
    """Which of the given pairs these are."""
    width: int
    notices: tuple[Notice, ...]

    def without(self, bad: Bool[Tensor, " edges"], code: str, what: str) -> "_Graph":
        """Drop and name pairs.

        Raises:
            DegenerateError: The others do not connect the frames.
        """
        if not bool(bad.any()):
            return self
        edges = self.coarse.edges.cpu().numpy()
        drop = bad.cpu().numpy()
        notice = pair_notice(code, [(int(n), int(m)) for n, m in edges[drop]], what)
        notices = (*self.notices, notice)
        check_connected(edges[~drop], self.coarse.num_frames, notices)
        keep = self.keep.copy()
        keep[np.flatnonzero(keep)[drop]] = False
        return _Graph(self.coarse.only(~bad), self.fine.only(~bad), keep, self.width, notices)


@dataclass(frozen=True)
class _View:
    """What is known of the scene between two stages, on one grid."""

    state: State
    log_odds: Float[Tensor, "frames samples"]
    """Of motion."""
    variance: Float[Tensor, "2 2"]
    """Of pointmaps' log-depth, by (static, moving) and (first, second view)."""

    def static(self, grid: PairGrid) -> Float[Tensor, "frames samples"]:
        """Weight 1 - M; a sample beside a moving one may lie in the halo of its flow."""
        moving = grid.maps((self.log_odds > 0).to(self.log_odds))
        return 1 - F.max_pool2d(moving[:, None], 3, 1, 1)[:, 0].flatten(1)

    def relative(self, grid: PairGrid) -> Float[Tensor, "edges 4 4"]:
        """`target_from_source` of every pair."""
        poses, (source, target) = self.state.cam_from_world, grid.edges.T
        return poses[target] @ invert_rigid(poses)[source]

    def on(self, coarse: PairGrid, fine: PairGrid) -> "_View":
        """The same on a finer grid."""
        odds = coarse.maps(self.log_odds)
        odds = enlarge_map(odds, (fine.rows, fine.cols)).flatten(1)
        return replace(self, state=enlarge_state(self.state, coarse, fine), log_odds=odds)


def _usable_graph(pairs: Pairs, device: torch.device) -> _Graph:
    keep, notices = usable_edges(pairs.edges)
    check_connected(pairs.edges[keep], pairs.num_frames, tuple(notices))
    width, height = pairs.size
    step = max(1, round((width * height / FINE_SAMPLES) ** 0.5))
    coarse, fine = (thin(pairs, keep, s, device) for s in (2 * step, step))
    graph = _Graph(coarse, fine, keep, width, tuple(notices))
    few = usable_share(coarse) < MIN_USABLE
    return graph.without(few, "unusable_pair", "have too few finite, confident points: dropped")


def _start(graph: _Graph, size: tuple[int, int]) -> tuple[_Graph, PairStart]:
    centre = (size[0] / 2 + 0.5, size[1] / 2 + 0.5)  # of the pixel grid, as networks take it
    start = start_from_pairs(graph.coarse, centre)
    bad = outliers(start.error, BAD_POINTS, BAD_FACTOR)
    if bool(bad.any()):
        graph = graph.without(bad, "outlier_pair", "contradict the other pointmaps: dropped")
        start = start_from_pairs(graph.coarse, centre)
    return graph, start


def _loop(graph: _Graph, start: PairStart, options: PairOptions) -> tuple[_Graph, _View]:
    """Masks and optimisation in turns, from coarse to fine."""
    grid = graph.coarse
    variance = start.depth.new_full((2, 2), POINT_VARIANCE)
    view = _View(start.state(), torch.full_like(start.depth, -torch.inf), variance)
    kernels = tuple(k * graph.width for k in PAIR_KERNELS)
    relative = refine_relative(grid, view.state, start.relative, kernels)
    view = _with_masks(graph, grid, view, start.depth.log(), relative, options)
    for number, stage in enumerate(STAGES):
        if stage.fine and grid is graph.coarse:
            view, grid = view.on(grid, graph.fine), graph.fine
        view = _run(graph, grid, view, stage, start, options)
        if number == LAST_COARSE:
            bad = _bad_flow(grid, view)
            graph = graph.without(bad, "outlier_flow", "have flow that no camera explains: dropped")
            grid = graph.coarse
    return graph, view


def _run(
    graph: _Graph,
    grid: PairGrid,
    view: _View,
    stage: Stage,
    start: PairStart,
    options: PairOptions,
) -> _View:
    """One optimisation with the present masks, then new masks."""
    static = view.static(grid)
    prior = measured_depth(grid, align_pairs_to(grid, view.state, static), static, view.variance)
    problem = build_pair_problem(grid, prior, static, stage.correlated)
    state = _solve(problem, view.state, stage, start, grid.flow_sigma_px)
    aligned = align_pairs_to(grid, state, static)
    fused = measured_depth(grid, aligned, static, view.variance)
    variance = depth_variance(grid, aligned, fused, static)
    view = replace(view, state=state, variance=variance)
    return _with_masks(graph, grid, view, fused.log_depth, view.relative(grid), options)


def _solve(
    problem: Problem, state: State, stage: Stage, start: PairStart, sigma_px: float
) -> State:
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    if stage.free_depth:
        zero = torch.zeros(problem.num_frames, dtype=torch.float64, device=problem.weight.device)
        state = replace(state, log_gain=zero)
    else:
        freedom = Freedom(freedom.pose, torch.zeros_like(freedom.depth))
        state = replace(state, inverse_depth=problem.prior_inverse_depth)
    options = _solve_options(stage, start, sigma_px)
    return replace(solve(problem, state, freedom, options), log_gain=None)


def _solve_options(stage: Stage, start: PairStart, sigma_px: float) -> SolveOptions:
    return SolveOptions(
        kernel_px=stage.kernel_sigmas * sigma_px,
        max_steps=MAX_STEPS,
        relative_tolerance=TOLERANCE,
        free_focal=stage.free_focal,
        usual_focal_px=start.focal_px,
        focal_px=sigma_px / start.focal_sigma,
        gain_px=sigma_px / GAIN_SIGMA,
    )


def _with_masks(
    graph: _Graph,
    grid: PairGrid,
    view: _View,
    log_depth: Float[Tensor, "frames samples"],
    relative: Float[Tensor, "edges 4 4"],
    options: PairOptions,
) -> _View:
    if options.masks == "none":
        return view
    odds = grid_log_odds(grid, log_depth, relative, view.state.shared_intrinsics, graph.width)
    return replace(view, log_odds=odds)


def _bad_flow(grid: PairGrid, view: _View) -> Bool[Tensor, " edges"]:
    error = flow_error_px(grid, view.state, view.static(grid), view.relative(grid))
    return outliers(error, BAD_FLOW_SIGMAS * grid.flow_sigma_px, BAD_FACTOR)


def _pose_covariance(
    grid: PairGrid, view: _View, start: PairStart
) -> Float64[np.ndarray, "steps 6 6"]:
    """Of the relative poses of neighbouring frames."""
    static, stage = view.static(grid), STAGES[-1]
    prior = measured_depth(grid, align_pairs_to(grid, view.state, static), static, view.variance)
    problem = build_pair_problem(grid, prior, static, stage.correlated)
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    options = _solve_options(stage, start, grid.flow_sigma_px)
    return relative_pose_covariance(problem, view.state, freedom, options, keeps_scale=False)


def _full_size(
    pairs: Pairs,
    graph: _Graph,
    view: _View,
    options: PairOptions,
    pose_covariance: Float64[np.ndarray, "steps 6 6"],
) -> AlignedPairs:
    """Depth and masks of every pixel, cameras fixed."""
    grid, (width, height) = graph.fine, pairs.size
    static = view.static(grid)
    device = static.device
    keep = torch.from_numpy(graph.keep).to(device)
    alignment = align_pairs_to(grid, view.state, static).among(keep)
    odds = grid.maps(view.log_odds)
    fused = []
    for frame in range(pairs.num_frames):
        first, second = pairs_by_view(pairs, graph.keep, frame)
        moving = enlarge_map(odds[frame : frame + 1], (height, width)).flatten() > 0
        fused.append(dense_log_depth(pairs, first, second, alignment, view.variance, moving))
    maps = torch.stack([f.log_depth.reshape(height, width) for f in fused])
    ranges = torch.stack(surroundings(maps), dim=1)
    depth = np.empty((pairs.num_frames, height, width), np.float32)
    depth_std = np.empty_like(depth)
    moves = np.zeros(depth.shape, bool)
    for frame in range(pairs.num_frames):
        first, _ = pairs_by_view(pairs, graph.keep, frame)
        flow = frame_flow(pairs, first, grid.flow_sigma_px, device)
        inverse, std, moving = _full_frame(pairs, flow, view, fused[frame], ranges, grid, options)
        depth[frame] = (1 / inverse).reshape(height, width).cpu().numpy()
        depth_std[frame] = (std / inverse).reshape(height, width).cpu().numpy()
        moves[frame] = moving.cpu().numpy()
    notices = (*graph.notices, *_without_points(grid), *_without_static(grid, static))
    return AlignedPairs(
        world_from_cam=invert_rigid(view.state.cam_from_world).cpu().numpy(),
        depth=depth,
        depth_std=depth_std,
        pose_covariance=pose_covariance,
        focal_px=np.full(pairs.num_frames, float(view.state.shared_intrinsics[0])),
        moving=moves,
        notices=notices,
    )


def _full_frame(
    pairs: Pairs,
    flow: FrameFlow,
    view: _View,
    prior: FusedDepth,
    ranges: Float[Tensor, "frames 2 height width"],
    grid: PairGrid,
    options: PairOptions,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"], Bool[Tensor, "height width"]]:
    """Inverse depth, its relative standard deviation, and motion mask of one frame."""
    width, height = pairs.size
    relative = relative_to(pairs, flow.edges, view.state)
    moving = torch.zeros((height, width), dtype=torch.bool, device=prior.log_depth.device)
    if options.masks != "none":
        edges = torch.from_numpy(pairs.edges[flow.edges]).to(moving.device)
        odds = dense_log_odds(
            flow.uv_px, flow.targets_px, flow.weight, prior.log_depth, ranges, edges, relative,
            view.state.shared_intrinsics, grid.flow_sigma_px, width,
        )  # fmt: skip
        moving = odds > 0
    reach = max(1, round(HALO * width / 2))
    halo = F.max_pool2d(moving[None, None].to(flow.weight), 2 * reach + 1, 1, reach)[0, 0]
    flat = flatness((-prior.log_depth).exp().reshape(1, height, width), reach)[0]
    static = ((1 - halo) * flat).flatten()
    inverse, std = refine_depth(
        flow, relative, prior, static, view.state.shared_intrinsics, grid.flow_sigma_px
    )
    return inverse, std, moving


def _without_points(grid: PairGrid) -> list[Notice]:
    """Say how many points of the pairs that are used count for nothing."""
    share = float((torch.stack((grid.source_weight, grid.target_weight)) <= 0).float().mean())
    if share == 0:
        return []
    what = f"{share:.1%} of the points are not finite, behind the camera, or have no confidence above 1: not used"
    return [Notice("unusable_points", what)]


def _without_static(grid: PairGrid, static: Float[Tensor, "frames samples"]) -> list[Notice]:
    """Name pairs that had no say about the cameras."""
    weight = (grid.flow_weight * static[grid.edges[:, 0]]).sum(1)
    none = grid.edges[weight <= 0].tolist()
    if not none:
        return []
    what = "have no usable static pixel: not used for the cameras"
    return [pair_notice("pair_without_static", [(int(n), int(m)) for n, m in none], what)]
