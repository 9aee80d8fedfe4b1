"""Motion masks from the flow that no static geometry explains.

For every pixel, the depth that best explains its flow to all partner frames is found with the cameras fixed. What is
left over, in units of the flow's noise, is the evidence for motion: large for independently moving pixels, below one
for static ones at any depth. It is gathered over partners, then along the flow over time, then in space along image
edges. The cameras carry it, not single pairs: better cameras give better masks, which is what the loop lives from.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from recon4d.optim.triangulate import triangulate
from recon4d.parallel import each
from recon4d.progress import Progress, no_progress
from recon4d.scene import FLOW_STRIDE, Flow, MotionMasks, Scene, Video

NOISE_PX = 0.35
"""Standard deviation of the flow of static textured pixels, pixels ..."""
NOISE_SLOPE = 0.015
"""... and how it grows with the displacement."""
MAX_SIGMAS = 8.0
"""A residual beyond this many standard deviations is no more telling."""
INCONSISTENT_WEIGHT = 0.003
"""Weight of flow that fails the forward-backward check: where nothing else is known, even that tells something."""
MOVING_SIGMAS = 4.0
"""Mean residual, in standard deviations, at which a pixel is as likely to move as not."""
SHARPNESS = 2.5
"""Growth of the log-odds with the logarithm of that residual."""
MAX_LOG_ODDS = 3.0
"""One frame alone is never surer than this."""
QUIET_SIGMAS = 0.2
"""Lower quartile over the pixels of the mean residual of a sharp, well aligned video, in standard deviations. Where it
is larger (blur, rolling shutter, a lens that is not modelled) residuals are measured against it."""
NOISE_FRAMES = 10
"""Frames, spread evenly, on which that is found out."""
TIME_OFFSETS = (1, 2)
"""Frames apart over which evidence is carried along the flow."""
TIME_WEIGHT = 0.7
"""Weight of a neighbour's evidence against a frame's own."""
GUIDE_RADIUS = 5
"""Radius of the image-guided filter, `Flow` samples."""
GUIDE_EPSILON = (0.04) ** 2
"""Variance of intensities (0..1) below which the guided filter smooths."""


def residual_masks(
    video: Video,
    flow: Flow,
    scene: Scene,
    threads: int = 1,
    progress: Progress = no_progress,
) -> MotionMasks:
    """Probability of motion at every `Flow` sample, from the current cameras.

    Args:
        video: Its images guide the spatial smoothing.
        flow: Edges in both directions.
        scene: Current cameras; its depth is not used.
        threads: Frames that are looked at at the same time.
        progress: Told about every finished frame.
    """
    rows, cols = flow.confidence.shape[1:]
    log_odds = np.zeros((video.num_frames, rows, cols), np.float32)
    noise = noise_level(flow, scene)
    with progress("masks", total=video.num_frames) as counter:
        frames = range(video.num_frames)
        found = each(lambda frame: frame_log_odds(flow, frame, scene, noise), frames, threads)
        for frame, odds in enumerate(found):
            log_odds[frame] = odds
            counter.advance()
    log_odds = along_time(log_odds, flow)
    for frame, image in enumerate(video.images):
        log_odds[frame] = guided(log_odds[frame], small_gray(image))
    return MotionMasks(1 / (1 + np.exp(-log_odds)))


def noise_level(flow: Flow, scene: Scene) -> float:
    """How much noisier than a sharp, well aligned video this one is; at least 1. Movers hardly touch a lower quartile."""
    posed = np.flatnonzero(scene.is_posed)
    chosen = posed[np.unique(np.linspace(0, len(posed) - 1, NOISE_FRAMES).round().astype(int))]
    sigmas = np.concatenate([_mean_sigmas(flow, int(n), scene, 1.0).ravel() for n in chosen])
    return max(1.0, float(np.sqrt(np.quantile(sigmas, 0.25) / QUIET_SIGMAS)))


def frame_log_odds(
    flow: Flow, frame: int, scene: Scene, noise: float = 1.0
) -> Float32[np.ndarray, "rows cols"]:
    """Log-odds of motion from one frame's own flow to its partners; 0 for a frame without a measured pose."""
    if not scene.is_posed[frame]:
        return np.zeros(flow.confidence.shape[1:], np.float32)
    sigmas = _mean_sigmas(flow, frame, scene, noise)
    odds = SHARPNESS * np.log((sigmas + 0.05) / MOVING_SIGMAS)
    return np.asarray(np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS), np.float32)


def _mean_sigmas(
    flow: Flow, frame: int, scene: Scene, noise: float
) -> Float32[np.ndarray, "rows cols"]:
    """Mean over a frame's partners of the residual that no depth explains, in standard deviations of the flow."""
    found = triangulate(flow, frame, scene)
    edges = found.edge_index.numpy()
    usable = scene.is_posed[flow.edges[edges, 1]]
    confidence = torch.from_numpy(flow.confidence[edges[usable]] / np.float32(255))
    length = torch.from_numpy(flow.flow_px[edges[usable]].astype(np.float32)).norm(dim=-1)
    sigma = noise * (NOISE_PX + NOISE_SLOPE * length)
    residual = found.residual_px[torch.from_numpy(usable)] / sigma
    weight = confidence + INCONSISTENT_WEIGHT
    mean = (weight * residual.clamp_max(MAX_SIGMAS)).sum(0) / weight.sum(0).clamp_min(1e-6)
    return np.asarray(mean)


def along_time(
    log_odds: Float32[np.ndarray, "frames rows cols"], flow: Flow
) -> Float32[np.ndarray, "frames rows cols"]:
    """Weighted mean with the same surface point's evidence in neighbouring frames, where the flow is consistent."""
    rows, cols = log_odds.shape[1:]
    grid_u, grid_v = np.meshgrid(
        np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32)
    )
    total, weight = log_odds.copy(), np.ones_like(log_odds)
    apart = np.abs(flow.edges[:, 1] - flow.edges[:, 0])
    for edge in np.flatnonzero(np.isin(apart, TIME_OFFSETS)):
        source, target = flow.edges[edge]
        moved = flow.flow_px[edge].astype(np.float32) / FLOW_STRIDE
        there = cv2.remap(
            log_odds[target], grid_u + moved[..., 0], grid_v + moved[..., 1], cv2.INTER_LINEAR
        )
        trust = TIME_WEIGHT * (flow.confidence[edge] / np.float32(255))
        total[source] += trust * there
        weight[source] += trust
    return np.asarray(total / weight, np.float32)


def small_gray(image: np.ndarray) -> Float32[np.ndarray, "rows cols"]:
    """Grey image in [0, 1] at the sampling of `Flow`."""
    size = (image.shape[1] // FLOW_STRIDE, image.shape[0] // FLOW_STRIDE)
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32) / 255


def guided(
    values: Float32[np.ndarray, "rows cols"], guide: Float32[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols"]:
    """Guided filter (He, Sun and Tang, ECCV 2010): smooths values but for edges of the guide."""
    window = (2 * GUIDE_RADIUS + 1,) * 2
    mean_g, mean_v = cv2.blur(guide, window), cv2.blur(values, window)
    variance = cv2.blur(guide * guide, window) - mean_g * mean_g
    covariance = cv2.blur(guide * values, window) - mean_g * mean_v
    slope = covariance / (variance + GUIDE_EPSILON)
    offset = mean_v - slope * mean_g
    return np.asarray(cv2.blur(slope, window) * guide + cv2.blur(offset, window), np.float32)
