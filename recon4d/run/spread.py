"""How far depth may be off: how much far frames of the same video disagree, by the confidence of the pixels.

Two frames that share no flow are off independently, but for what all frames share; a pixel's depth, carried to the
other frame by the cameras, differs from what that frame found by itself by both errors. What is stated is that
difference: it is not divided by sqrt(2), which would be right if frames shared no error at all. No truth is needed:
every video (of a long one every clip) has its own table, from confidence to the standard deviation; confidence says how
the depth of a pixel was found, and how far a completed one is from what was seen. Of moving pixels nothing is measured:
theirs is the spread of the scene's depths, or that of any place between the camera and what is behind, whichever is
larger. Where the reverse order of depth explains the video about as well, every depth may as well be its mirror image.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Float64, Int64, UInt8

from recon4d.core.geometry import transfer
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import FLOW_STRIDE, DenseDepth, Scene
from recon4d.optim.dense import MOVER

APART = 32
"""Frames between those that are compared: the widest pairs of the flow, beyond which errors are not the same ones."""
COMPARED_PAIRS = 20
"""Pairs of frames that are compared, spread evenly over the video."""
PIXEL_STEP = 2
"""Every how many pixels they are, in each direction."""
BINS = 24
"""Ranges of confidence, equally full, that have a value each; between their middles it is interpolated."""
MIN_PIXELS = 200
"""Fewer tell no quantile."""
ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation."""


ANYWHERE = 12**-0.5
"""Standard deviation of a depth that lies anywhere between the camera and what is behind, as a part of the latter."""
LEAST_STD = float(np.finfo(np.float16).smallest_subnormal)
"""What is known is known to no more than half precision can say."""


@dataclass(frozen=True)
class DepthSpread:
    """Standard deviation of depth as a part of it, infinite where it is not known."""

    by_confidence: Float64[np.ndarray, "256"]
    """Of what is triangulated, measured or completed, for every value of its confidence."""
    moving: float
    """Of moving pixels, whose depth is only plausible."""
    is_order_unsure: bool = False
    """As of `Scene`: what is near may be far."""

    def std(
        self, dense: DenseDepth, is_dynamic: Bool[np.ndarray, "frames height width"], measured: bool
    ) -> Float16[np.ndarray, "frames height width"]:
        """Standard deviation of every pixel's depth, in its unit; infinite where depth or confidence are 0.

        Args:
            dense: Depth and confidence.
            is_dynamic: Moving pixels.
            measured: Whether a depth camera sees moving pixels, too.
        """
        out = np.empty(dense.depth.shape, np.float16)
        for at, (depth, confidence) in enumerate(zip(dense.depth, dense.confidence, strict=True)):
            plausible = is_dynamic[at]
            if measured:
                plausible = plausible & (confidence <= round(255 * MOVER))
            relative = np.where(plausible, self.moving, self.by_confidence[confidence])
            known = (depth > 0) & (confidence > 0)
            std = np.where(known, np.maximum(depth * relative, LEAST_STD), np.inf)
            if self.is_order_unsure and known.any():
                std[known] = np.maximum(std[known], to_mirror(depth[known]))
            with np.errstate(over="ignore"):  # beyond 65,504 units nothing is known
                out[at] = std
        return out


def to_mirror(depth: Float32[np.ndarray, " pixels"]) -> Float32[np.ndarray, " pixels"]:
    """How far each depth of a frame is from where it is if near and far change places, in its unit.

    Logarithms of depth are mirrored at their median. On DAVIS `train`, where both orders explain the flow, 90 to 99 %
    of what the other one says lies within that distance of what was chosen.
    """
    return np.asarray(np.abs(np.median(depth) ** 2 / depth - depth), np.float32)


def depth_spread(
    scene: Scene, dense: DenseDepth, is_dynamic: Bool[np.ndarray, "frames height width"]
) -> DepthSpread:
    """Compare the depth of frames far apart.

    Args:
        scene: Cameras; frames that are not posed are left out.
        dense: Depth and its confidence.
        is_dynamic: Moving pixels are not compared.
    """
    posed = np.flatnonzero(scene.is_posed)
    apart = min(APART, len(posed) // 2)
    unknown = DepthSpread(np.full(256, np.inf), np.inf, scene.is_order_unsure)
    if apart < 1:
        return unknown
    starts = spread_evenly(len(posed) - apart, COMPARED_PAIRS)
    there = zip(posed[starts], posed[starts + apart], strict=True)
    pairs = [pair for a, b in there for pair in ((a, b), (b, a))]
    found = [_disagreement(scene, dense, is_dynamic, int(a), int(b)) for a, b in pairs]
    confidence = np.concatenate([c for c, _ in found])
    off = np.concatenate([o for _, o in found])
    chosen = posed[spread_evenly(len(posed), COMPARED_PAIRS)]
    depth = dense.depth[chosen][(dense.depth[chosen] > 0) & ~is_dynamic[chosen]]
    if len(off) < MIN_PIXELS or not len(depth):
        return unknown
    moving = max(float(np.log(depth).std()), ANYWHERE)
    return DepthSpread(_table(confidence, off), moving, scene.is_order_unsure)


def _disagreement(
    scene: Scene,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    source: int,
    target: int,
) -> tuple[UInt8[np.ndarray, " pixels"], Float64[np.ndarray, " pixels"]]:
    """Confidence of the source's static pixels that the target shows, and how far the log-depths differ."""
    height, width = dense.depth.shape[1:]
    row, col = np.mgrid[:height:PIXEL_STEP, :width:PIXEL_STEP].reshape(2, -1)
    use = (dense.depth[source, row, col] > 0) & ~is_dynamic[source, row, col]
    row, col = row[use], col[use]
    depth = dense.depth[source, row, col].astype(np.float64)
    relative = np.linalg.inv(scene.world_from_cam[target]) @ scene.world_from_cam[source]
    intrinsics = torch.from_numpy(np.array(scene.intrinsics))
    uv = torch.from_numpy(np.stack((col, row), axis=1) + 0.5)
    moved, ratio = transfer(
        uv,
        torch.from_numpy(1 / depth),
        torch.from_numpy(relative),
        intrinsics[source],
        intrinsics[target],
    )
    ahead = np.asarray(ratio > 0)
    at = np.where(ahead[:, None], np.asarray(moved), -1.0)
    inside = ahead & (at >= 0).all(1) & (at < (width, height)).all(1)
    col, row = at[inside].astype(np.int64).T
    seen, carried = _found(dense, target, row, col), (depth * np.asarray(ratio))[inside]
    static = (dense.depth[target, row, col] > 0) & (seen > 0) & ~is_dynamic[target, row, col]
    place = np.flatnonzero(use)[inside][static]
    confidence = dense.confidence[source, ::PIXEL_STEP, ::PIXEL_STEP].reshape(-1)[place]
    return confidence, np.abs(np.log(carried[static] / seen[static]))


def _found(
    dense: DenseDepth,
    frame: int,
    row: Int64[np.ndarray, " pixels"],
    col: Int64[np.ndarray, " pixels"],
) -> Float64[np.ndarray, " pixels"]:
    """Depth that a frame found by itself: what frames share agrees however wrong it is."""
    found = dense.depth if dense.alone is None else dense.alone
    if dense.alone is not None:
        rows, cols = found.shape[1:]
        row, col = (
            np.minimum(row // FLOW_STRIDE, rows - 1),
            np.minimum(col // FLOW_STRIDE, cols - 1),
        )
    return np.asarray(found[frame, row, col], np.float64)


def _table(
    confidence: UInt8[np.ndarray, " pixels"], off: Float64[np.ndarray, " pixels"]
) -> Float64[np.ndarray, "256"]:
    """Quantiles of the disagreement by confidence; more confidence never means a larger deviation."""
    order = np.argsort(confidence, kind="stable")
    confidence, off = confidence[order], off[order]
    ends = np.unique(np.searchsorted(confidence, confidence[:: max(len(off) // BINS, MIN_PIXELS)]))
    middles, values = [], []
    for first, last in zip(ends, [*ends[1:], len(off)], strict=True):
        if last - first >= MIN_PIXELS:
            middles.append(confidence[first:last].mean())
            values.append(np.quantile(off[first:last], ONE_SIGMA))
    if not values:
        return np.full(256, np.quantile(off, ONE_SIGMA))
    falling = np.maximum.accumulate(values[::-1])[::-1]
    logs = np.log(np.maximum(falling, np.finfo(np.float32).tiny))
    return np.asarray(np.exp(np.interp(np.arange(256), middles, logs)))
