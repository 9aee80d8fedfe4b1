"""The result's own motion against the flow: what depth and cameras predict for static pixels.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float64, Int64, UInt8

from recon4d.core.geometry import transfer
from recon4d.core.sampling import ONE_PER_CELL, sample_px, spread_evenly
from recon4d.core.scene import DenseDepth, Flow, Scene, Video
from recon4d.core.tensors import depth_at_samples
from recon4d.flow import FlowMethod
from recon4d.flow.unrolled import row_motion, without_shutter
from recon4d.run.figures import LEAST_FOLLOWED, PATTERN, FrameFigures, frame_figures
from recon4d.run.pattern import NOTHING, Residuals, pattern_of

CHECKED_OFFSETS = (1, 5, 10)
"""Frames apart at which the result's predicted motion is compared with the flow."""
CHECKED_PAIRS = 20
"""Pairs per offset, spread evenly over the video."""


NEIGHBOUR_PAIRS = 2
"""Pairs on either side that a pair is smoothed with (a median): the flow of single ones is wrong there and back."""


@dataclass(frozen=True)
class Check:
    """What the finished result shows of itself."""

    residual_px: dict[str, float]
    """Median static flow residual, pixels of the working size, by frames apart; of distances that the flow bridges."""
    figures: FrameFigures
    """Of every frame."""


def _forward(
    method: FlowMethod, video: Video, pairs: Int64[np.ndarray, "pairs 2"], threads: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Flow and confidence of pairs from their first frame to the second, in the order of the pairs."""
    found = dict(method.pairs(video.images, pairs, threads))
    return [(found[at][0][0], found[at][1][0]) for at in range(len(pairs))]


def _at_once(
    measured: list[tuple[np.ndarray, np.ndarray]],
    pairs: Int64[np.ndarray, "pairs 2"],
    video: Video,
    scene: Scene,
    dense: DenseDepth,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Measured flow and confidence of pairs without what a rolling shutter adds."""
    motion = row_motion(video, scene)
    if motion is None:
        return measured
    out = []
    for (flow_px, sure), pair in zip(measured, pairs, strict=True):
        depth = depth_at_samples(torch.from_numpy(np.array(dense.depth[pair[0]])))
        inverse = torch.where(depth > 0, 1 / depth, 0.0)
        still = without_shutter(flow_px[None], motion, scene, pair[None], inverse)
        out.append((still[0].astype(np.float16), sure))
    return out


def check_flow(
    video: Video,
    flow: Flow,
    scene: Scene,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    method: FlowMethod,
    threads: int,
) -> Check:
    """Compare the motion that depth and cameras predict for static pixels with the flow.

    Flow that the optimizer used is used again, without what a rolling shutter adds; that of farther frames is computed
    here.
    """
    edge_of = flow.row_of()
    out: dict[str, float] = {}
    of_frames = np.full(video.num_frames, np.nan)
    patterns = np.full((video.num_frames, len(PATTERN)), np.nan, np.float32)
    for offset in CHECKED_OFFSETS:
        count = video.num_frames - offset
        if count < 1:
            continue
        starts = spread_evenly(count, CHECKED_PAIRS)
        pairs = np.stack((starts, starts + offset), axis=1)
        known = [edge_of.get((int(a), int(b))) for a, b in pairs]
        measured = (
            [(flow.flow_px[edge], flow.confidence[edge]) for edge in known]
            if None not in known
            else _at_once(_forward(method, video, pairs, threads), pairs, video, scene, dense)
        )
        residuals = [
            _residual(scene, dense, is_dynamic, pair, found)
            for pair, found in zip(pairs, measured, strict=True)
        ]
        wanted = [(at, name) for at, (name, apart) in enumerate(PATTERN) if apart == offset]
        for start, each in zip(starts, residuals, strict=True) if wanted else ():
            found = pattern_of(each, video.size)
            for at, name in wanted:
                patterns[start, at] = getattr(found, name)
        errors = [each.length_px for each in residuals]
        together = np.concatenate(errors)
        if len(together):
            out[str(offset)] = float(np.median(together))
        of_frames = np.fmax(of_frames, by_frame(starts, errors, video.num_frames))
    return Check(out, frame_figures(flow, dense, is_dynamic, of_frames, patterns))


def by_frame(
    starts: Int64[np.ndarray, " pairs"], errors: Sequence[np.ndarray], count: int
) -> Float64[np.ndarray, " frames"]:
    """Median error of the pair that begins nearest to each frame, or of its neighbours where most are better or worse.

    nan where neither it nor its neighbours have one.
    """
    medians = np.array([np.median(each) if len(each) else np.nan for each in errors])
    wide = np.pad(medians, NEIGHBOUR_PAIRS, constant_values=np.nan)
    beside = np.lib.stride_tricks.sliding_window_view(wide, 2 * NEIGHBOUR_PAIRS + 1)
    known = [row[np.isfinite(row)] for row in beside]
    smooth = np.array([np.median(row) if len(row) else np.nan for row in known])
    return np.asarray(smooth[np.abs(np.arange(count)[:, None] - starts).argmin(axis=1)])


def _residual(
    scene: Scene,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    pair: Int64[np.ndarray, "2"],
    measured_flow: tuple[Float16[np.ndarray, "rows cols 2"], UInt8[np.ndarray, "rows cols"]],
) -> Residuals:
    """Predicted minus measured motion of one pair's confident static pixels.

    Empty where they are too few to be more than chance.
    """
    flow_px, confidence = measured_flow
    source, target = int(pair[0]), int(pair[1])
    rows, cols = confidence.shape
    depth = depth_at_samples(torch.from_numpy(np.array(dense.depth[source]))).numpy()
    moving = is_dynamic[source][ONE_PER_CELL][:rows, :cols]
    static = (depth > 0) & ~moving
    use = (confidence > 127) & static
    if use.sum() < LEAST_FOLLOWED * static.sum():
        return NOTHING
    uv = torch.from_numpy(sample_px(rows, cols)[use].astype(np.float64))
    relative = np.linalg.inv(scene.world_from_cam[target]) @ scene.world_from_cam[source]
    k = torch.from_numpy(np.array(scene.intrinsics))
    predicted, ratio = transfer(
        uv,
        torch.from_numpy(1 / depth[use].astype(np.float64)),
        torch.from_numpy(relative),
        k[source],
        k[target],
    )
    measured = uv + torch.from_numpy(flow_px[use].astype(np.float64))
    error = torch.where((ratio > 0)[:, None], predicted - measured, torch.inf)
    return Residuals(np.asarray(uv), np.asarray(error))
