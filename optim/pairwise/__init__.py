"""From pairwise predictions to cameras, depth and motion masks: start, loop of masks and optimisation, full size.

Global alignment (DUSt3R, CVPR 2024) with flow: may use the core and the rest of `recon4d.optim` but `dense` and
`stitch`.

Numbers here that name no source were set by hand.
"""

import logging
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.optim.pairwise.full import full_size
from recon4d.optim.pairwise.grid import MIN_USABLE, PairGrid, thin, usable_share
from recon4d.optim.pairwise.motion import grid_log_odds
from recon4d.optim.pairwise.pairs import (
    Pairs,
    check_connected,
    check_frames,
    check_poses,
    usable_edges,
)
from recon4d.optim.pairwise.problem import (
    POINT_VARIANCE,
    align_pairs_to,
    build_pair_problem,
    depth_variance,
    flow_error_px,
    measured_depth,
    refine_relative,
)
from recon4d.optim.pairwise.setting import PairSetting, Stage
from recon4d.optim.pairwise.start import PairStart, outliers, start_from_pairs
from recon4d.optim.pairwise.types import (
    MASKS,
    AlignedPairs,
    PairOptions,
    PairsInUse,
    SceneView,
)

__all__ = ["MASKS", "AlignedPairs", "PairOptions", "align_pairs"]

logger = logging.getLogger(__name__)

FINE_SAMPLES = 768
"""Samples per frame on the fine grid: 32 x 24. More lower the error of the cameras less than they cost."""
PAIR_KERNELS = (2 / 128, 2 / 128, 1 / 128, 1 / 128, 0.5 / 128, 0.5 / 128)
"""Robust kernels of the pair-by-pair poses, parts of the image width: from the error of pointmaps down."""
BAD_POINTS, BAD_FLOW_SIGMAS, BAD_FACTOR = 0.06, 8.0, 4.0
"""A pair is an outlier when its median error is above the floor (relative; flow sigmas) and 4 times the usual one."""
STAGES = (
    Stage(20.0, free_depth=False, free_focal=False, fine=False, correlated=5.5),
    Stage(5.0, free_depth=True, free_focal=False, fine=False, correlated=9.0),
    Stage(5.0, free_depth=True, free_focal=False, fine=False, correlated=9.0),
    Stage(5.0, free_depth=True, free_focal=False, fine=True, correlated=9.0),
    Stage(3.0, free_depth=True, free_focal=True, fine=True, correlated=5.5),
)
"""From coarse to fine, from poses alone to everything; masks are found anew after each. See `Stage`."""
LAST_COARSE = 2
"""Stage after which pairs with bad flow are looked for."""


def align_pairs(pairs: Pairs, options: PairOptions | None = None) -> AlignedPairs:
    """Find cameras, depth, focal length and motion from pairwise predictions alone.

    Raises:
        InputError: Arrays contradict each other, or the given poses the pairs.
        DegenerateError: The usable pairs do not connect the frames, or nothing static is left.
    """
    options = options or PairOptions()
    check_frames(pairs.edges, pairs.num_frames)
    check_poses(options.poses, pairs.num_frames)
    with torch.no_grad():
        graph = _usable_graph(pairs, torch.device(options.device))
        graph, start = _start(graph, pairs.size, options)
        graph, view = _loop(graph, start, options)
        return full_size(pairs, graph, view, start, options)


def _usable_graph(pairs: Pairs, device: torch.device) -> PairsInUse:
    keep, notices = usable_edges(pairs.edges)
    check_connected(pairs.edges[keep], pairs.num_frames, tuple(notices))
    width, height = pairs.size
    step = max(1, round((width * height / FINE_SAMPLES) ** 0.5))
    coarse, fine = (thin(pairs, keep, s, device) for s in (2 * step, step))
    graph = PairsInUse(coarse, fine, keep, width, tuple(notices))
    few = usable_share(coarse) < MIN_USABLE
    return graph.without(few, "unusable_pair", "have too few finite, confident points: dropped")


def _start(
    graph: PairsInUse, size: tuple[int, int], options: PairOptions
) -> tuple[PairsInUse, PairStart]:
    centre = (size[0] / 2 + 0.5, size[1] / 2 + 0.5)  # of the pixel grid, as networks take it
    start = start_from_pairs(graph.coarse, centre, options.intrinsics, options.own_focals)
    bad = outliers(start.error, BAD_POINTS, BAD_FACTOR)
    if bool(bad.any()):
        graph = graph.without(bad, "outlier_pair", "contradict the other pointmaps: dropped")
        start = start_from_pairs(graph.coarse, centre, options.intrinsics, options.own_focals)
    return graph, start


def _loop(
    graph: PairsInUse, start: PairStart, options: PairOptions
) -> tuple[PairsInUse, SceneView]:
    """Masks and optimisation in turns, from coarse to fine."""
    grid = graph.coarse
    variance = start.depth.new_full((2, 2), POINT_VARIANCE)
    view = SceneView(start.state(), torch.full_like(start.depth, -torch.inf), variance)
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
    graph: PairsInUse,
    grid: PairGrid,
    view: SceneView,
    stage: Stage,
    start: PairStart,
    options: PairOptions,
) -> SceneView:
    """One optimisation with the present masks, then new masks."""
    static = view.static(grid)
    prior = measured_depth(grid, align_pairs_to(grid, view.state, static), static, view.variance)
    problem = build_pair_problem(grid, prior, static, stage.correlated)
    state = PairSetting(stage, start, grid.flow_sigma_px).solve(problem, view.state)
    aligned = align_pairs_to(grid, state, static)
    fused = measured_depth(grid, aligned, static, view.variance)
    variance = depth_variance(grid, aligned, fused, static)
    view = replace(view, state=state, variance=variance)
    return _with_masks(graph, grid, view, fused.log_depth, view.relative(grid), options)


def _with_masks(
    graph: PairsInUse,
    grid: PairGrid,
    view: SceneView,
    log_depth: Float[Tensor, "frames samples"],
    relative: Float[Tensor, "edges 4 4"],
    options: PairOptions,
) -> SceneView:
    if options.masks == "none":
        return view
    odds = grid_log_odds(grid, log_depth, relative, view.state.intrinsics, graph.width)
    return replace(view, log_odds=odds)


def _bad_flow(grid: PairGrid, view: SceneView) -> Bool[Tensor, " edges"]:
    error = flow_error_px(grid, view.state, view.static(grid), view.relative(grid))
    return outliers(error, BAD_FLOW_SIGMAS * grid.flow_sigma_px, BAD_FACTOR)
