"""What a finished result shows of itself, frame by frame: what `recon4d.run.doubts` looks at besides the cameras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Float64

from recon4d.core.sampling import ONE_PER_CELL, sample_px, spread_evenly
from recon4d.core.scene import DenseDepth, Flow
from recon4d.optim.dense.trust import COMPLETED

TIES = 64
"""Static points of a frame that the flow follows into the next: their median is good to a tenth of their spread."""
SURE = 128
"""Flow confidence (of 255) from which on a point counts."""
LEAST_FOLLOWED = 0.2
"""Share of a pair's static pixels that the flow must follow, there and back, for the pair to count: 20 to 90 % where it
works. Between pictures that share nothing it seems to follow up to 8 % by chance; where it begins to fail 10 to 15 %,
with errors of its own of 3 to 30 px (15 clips of 256 and 512 px, 5 to 30 frames apart).
"""
PATTERN = (("rows", 1), ("columns", 1), ("border", 10), ("common", 10))
"""Figures of `recon4d.run.pattern.Pattern` that are kept, and of pairs how many frames apart."""
DEPTH_STRIDE = 4
"""Pixels between those whose depth is looked at."""
DEPTH_LEVELS = np.linspace(0, 1, 101)
"""Quantiles of a frame's measured depth that are kept."""


@dataclass(frozen=True)
class FrameFigures:
    """Of some consecutive frames. Pixels are those of the working size."""

    residual_px: Float64[np.ndarray, " frames"]
    """Median static flow residual of pairs near the frame, the largest of 1 to 10 frames apart; nan: not measured."""
    ties: Float32[np.ndarray, "frames ties 5"]
    """Static points: (u, v), where the flow has them in the next frame, and z-depth here; nan where there are fewer."""
    moving: Float32[np.ndarray, " frames"]
    """Share of the picture that moves."""
    depth: Float32[np.ndarray, "frames levels"]
    """Quantiles (`DEPTH_LEVELS`) of measured z-depth; nan where nothing is measured."""
    is_flat: Bool[np.ndarray, " frames"]
    """Depth is a constant, or confidence 0 everywhere."""
    pattern: Float32[np.ndarray, "frames patterns"]
    """Of the residuals of pairs that begin here (`PATTERN`); nan: not measured."""


def frame_figures(
    flow: Flow,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    residual_px: Float64[np.ndarray, " frames"],
    pattern: Float32[np.ndarray, "frames patterns"] | None = None,
) -> FrameFigures:
    """Take the figures of a result, or of a clip of one.

    Args:
        flow: Frames count as in the others; it may reach beyond them.
        dense: Depth and confidence.
        is_dynamic: Moving pixels.
        residual_px: As in `FrameFigures`.
        pattern: As there; None: not measured.
    """
    edge_of = flow.row_of()
    count = len(dense.depth)
    edges = [edge_of.get((frame, frame + 1)) for frame in range(count)]
    return FrameFigures(
        residual_px=residual_px,
        ties=np.stack([_ties(flow, e, dense, is_dynamic, at) for at, e in enumerate(edges)]),
        moving=is_dynamic.mean(axis=(1, 2), dtype=np.float32),
        depth=np.stack([_measured_depth(dense, frame) for frame in range(count)]),
        is_flat=np.array([_is_flat(dense, frame) for frame in range(count)], bool),
        pattern=np.full((count, len(PATTERN)), np.nan, np.float32) if pattern is None else pattern,
    )


def join_figures(parts: Sequence[FrameFigures]) -> FrameFigures:
    """Of parts of a video, in their order, to those of all of it."""
    names = [each.name for each in fields(FrameFigures)]
    joined: Mapping[str, np.ndarray] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return FrameFigures(**joined)


def _ties(
    flow: Flow,
    edge: int | None,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    frame: int,
) -> Float32[np.ndarray, "ties 5"]:
    """Points of a frame spread over those that are static, and that the flow of an edge follows."""
    out = np.full((TIES, 5), np.nan, np.float32)
    if edge is None:
        return out
    sure = flow.confidence[edge] >= SURE
    rows, cols = sure.shape
    depth = dense.depth[frame][ONE_PER_CELL][:rows, :cols]
    static = (depth > 0) & ~is_dynamic[frame][ONE_PER_CELL][:rows, :cols]
    usable = np.flatnonzero(sure & static)
    if len(usable) < LEAST_FOLLOWED * static.sum():
        return out
    chosen = usable[spread_evenly(len(usable), TIES)]
    uv = sample_px(rows, cols).reshape(-1, 2)[chosen]
    moved = flow.flow_px[edge].reshape(-1, 2)[chosen].astype(np.float32)
    out[: len(chosen)] = np.column_stack((uv, uv + moved, depth.reshape(-1)[chosen]))
    return out


def _measured_depth(dense: DenseDepth, frame: int) -> Float32[np.ndarray, " levels"]:
    part = frame, slice(None, None, DEPTH_STRIDE), slice(None, None, DEPTH_STRIDE)
    depth, confidence = dense.depth[part], dense.confidence[part]
    measured = depth[(depth > 0) & (confidence > 255 * COMPLETED)]
    if not len(measured):
        return np.full(len(DEPTH_LEVELS), np.nan, np.float32)
    return np.asarray(np.quantile(measured, DEPTH_LEVELS), np.float32)


def _is_flat(dense: DenseDepth, frame: int) -> bool:
    depth = dense.depth[frame]
    return bool(depth.min() == depth.max() or not dense.confidence[frame].any())
