"""How steady masks and depth are: no truth is needed.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from recon4d.core.pinhole import project_array, rays_array
from recon4d.core.sampling import ONE_PER_CELL, cell_of, sample_index, sample_px
from recon4d.evaluate.masks import jaccard
from recon4d.flow import FlowMethod, window_pairs
from recon4d.results.result import Result

CHANGES = (0.05, 0.2)
"""Changes of the logarithm of depth that are counted."""
RIM_PX = 9
"""Side of the square around each moving pixel that does not count as static."""
FEW_MOVE = 200
"""Moving pixels whose median depth says nothing."""


def steadiness(result: Result, method: FlowMethod, threads: int) -> float | None:
    """Mean overlap (J) of every mask with the one before, carried along the flow; None where nothing moves."""
    pairs = window_pairs(len(result), (1,))
    overlaps = []
    for at, (flow_px, _) in method.pairs(result.images, pairs, threads):
        before, here = (result.is_dynamic[frame][ONE_PER_CELL] for frame in pairs[at])
        back_px = flow_px[1]  # of every sample of the later frame
        carried = _carried(before[: back_px.shape[0], : back_px.shape[1]], back_px)
        here = here[: back_px.shape[0], : back_px.shape[1]]
        if carried.any() or here.any():
            overlaps.append(jaccard(carried, here))
    return float(np.mean(overlaps)) if overlaps else None


def _carried(
    mask: Bool[np.ndarray, "rows cols"], back_px: np.ndarray
) -> Bool[np.ndarray, "rows cols"]:
    """A mask as another frame sees it, whose flow leads back to the mask's."""
    at = sample_index(sample_px(*mask.shape) + back_px.astype(np.float32))
    levels = mask.astype(np.float32)
    x, y = (np.ascontiguousarray(at[..., axis], np.float32) for axis in range(2))
    return np.asarray(cv2.remap(levels, x, y, cv2.INTER_LINEAR) > 0.5)


@dataclass(frozen=True)
class SteadyDepth:
    """How depth changes from each frame to the next; shares of the pixels whose depth both frames know."""

    static_5: float
    """Static pixels, carried by the result's own cameras, whose depth changes by more than 5 %."""
    static_20: float
    """By more than 20 %."""
    moving_5: float | None
    """Moving pixels, carried along the flow; None where nothing moves."""
    moving_20: float | None
    mover_jump: float | None
    """Largest change of the median depth of all that moves between two frames, as a factor."""


def depth_steadiness(result: Result, method: FlowMethod, threads: int) -> SteadyDepth | None:
    """How steady depth is; None where no two frames in a row have any."""
    pairs = window_pairs(len(result), (1,))
    static = [_static_change(result, frame) for frame in range(len(pairs))]
    moving = [np.zeros(0)]
    if result.is_dynamic.any():
        for at, (flow_px, _) in method.pairs(result.images, pairs, threads):
            moving.append(_moving_change(result, int(pairs[at, 1]), flow_px[1]))
    change, moved = np.concatenate([np.zeros(0), *static]), np.concatenate(moving)
    if not len(change):
        return None
    fast = [float((moved > limit).mean()) if len(moved) else None for limit in CHANGES]
    return SteadyDepth(
        static_5=float((change > CHANGES[0]).mean()),
        static_20=float((change > CHANGES[1]).mean()),
        moving_5=fast[0],
        moving_20=fast[1],
        mover_jump=_jump(result),
    )


def _static_change(result: Result, frame: int) -> Float[np.ndarray, " pixels"]:
    """Change of the logarithm of a frame's depth to the next, after the camera's motion, away from what moves."""
    here, there = result.depth[frame], result.depth[frame + 1]
    height, width = here.shape
    away = [_beside(result.is_dynamic[frame + i]) for i in range(2)]
    row, col = np.nonzero((here > 0) & ~away[0])
    uv = np.stack((col, row), axis=1) + 0.5
    points = rays_array(uv, result.intrinsics[frame]) * here[row, col, None]
    relative = np.linalg.inv(result.world_from_cam[frame + 1]) @ result.world_from_cam[frame]
    points = points @ relative[:3, :3].T + relative[:3, 3]
    points = points[points[:, 2] > 0]
    at = project_array(points, result.intrinsics[frame + 1])
    inside = ((at >= 0) & (at < (width, height))).all(1)
    col, row = at[inside].astype(np.int64).T
    seen, carried = there[row, col], points[inside, 2]
    use = (seen > 0) & ~away[1][row, col]
    return np.asarray(np.abs(np.log(seen[use] / carried[use])))


def _beside(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """What moves and its rim, where depth and mask may be a little apart."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((RIM_PX, RIM_PX))) > 0)


def _moving_change(result: Result, frame: int, back_px: np.ndarray) -> Float[np.ndarray, " pixels"]:
    """Change of the logarithm of depth from the frame before, where the flow leads from mover to mover."""
    rows, cols = back_px.shape[:2]
    depth, moves = (a[frame][ONE_PER_CELL][:rows, :cols] for a in (result.depth, result.is_dynamic))
    at = cell_of(sample_px(rows, cols) + back_px.astype(np.float32))
    use = moves & (depth > 0) & ((at >= 0) & (at < (rows, cols))).all(-1)
    row, col = at[use].T
    before, moved = (
        a[frame - 1][ONE_PER_CELL][row, col] for a in (result.depth, result.is_dynamic)
    )
    both = moved & (before > 0)
    return np.asarray(np.abs(np.log(depth[use][both] / before[both])), float)


def _jump(result: Result) -> float | None:
    level = np.full(len(result), np.nan)
    for frame, (depth, moves) in enumerate(zip(result.depth, result.is_dynamic, strict=True)):
        if (moves & (depth > 0)).sum() > FEW_MOVE:
            level[frame] = np.log(np.median(depth[moves & (depth > 0)]))
    jumps = np.abs(np.diff(level))
    return float(np.exp(np.nanmax(jumps))) if np.isfinite(jumps).any() else None
