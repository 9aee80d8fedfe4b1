"""Evidence for motion: what no static world explains of the flow, and of the colours.

For every pixel, the depth that best explains its flow to all partner frames is found with the cameras fixed. What is
left over, in standard deviations of the flow, is the evidence for motion: large for independently moving pixels, below
one for static ones at any depth. Flow is blurred over patches; so in a second step each frame is compared with the
background plate that the static pixels of other frames paint (`recon4d.masks.evidence.plate`), which is sharp. The sum
is gathered in space along image edges and over time along the flow. The cameras carry all of it, not single pairs:
better cameras give better masks, which is what the loop lives from.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, relative_cameras, scene_rays, static_pixels
from recon4d.core.parallel import each
from recon4d.core.progress import Counter
from recon4d.core.scene import Flow, Scene
from recon4d.core.tensors import flow_targets, sample_grid_px
from recon4d.masks.evidence.filters import along_time, gray, guided
from recon4d.masks.evidence.plate import STEP, Surfaces, plate_log_odds
from recon4d.masks.evidence.texture import mahalanobis2, texture_covariance
from recon4d.optim.objective.noise import STATIC_SIGMA_PX, STATIC_SIGMA_SLOPE
from recon4d.optim.triangulate import Triangulation, triangulate

MAX_SIGMAS = 25.0
"""A residual beyond this many standard deviations is no more telling."""
INCONSISTENT_WEIGHT = 0.03
"""Weight of flow that fails the forward-backward check: where nothing else is known, even that tells something."""
LITTLE_WEIGHT = 0.05
"""Weight of all partners together below which their evidence fades: the point is seen in this frame alone."""
MOVING_SIGMAS = 4.0
"""Mean residual, in standard deviations, at which a pixel is as likely to move as not."""
SHARPNESS = 2.5
"""Growth of the log-odds with the logarithm of that residual."""
CALIBRATION = 2.0
"""Factor on the log-odds once all partners and neighbouring frames agree: together they are surer than their mean."""
MAX_LOG_ODDS = 3.0
"""The flow of one frame alone is never surer than this."""
PRIOR_LOG_ODDS = -0.5
"""The world rather stands still."""
MAX_TOTAL_LOG_ODDS = 6.0
"""Evidence beyond this would only leak over edges when it is smoothed."""


@dataclass(frozen=True)
class Surroundings:
    """What is known of one frame against the static world, from all its partners."""

    inverse_depth: Float32[np.ndarray, "rows cols"]
    """That explains the flow to all partners best."""
    inverse_depth_std: Float32[np.ndarray, "rows cols"]
    flow_log_odds: Float32[np.ndarray, "rows cols"]
    """Of motion, from the flow to all partners."""
    plate_log_odds: Float32[np.ndarray, "rows cols"]
    """Of motion, from the colours against the background plate; 0 where it is unknown."""
    log_odds: Float32[np.ndarray, "rows cols"]
    """Both, with the prior, gathered over time and along image edges."""


def look_around(
    images: UInt8[np.ndarray, "frames rows cols 3"],
    flow: Flow,
    scene: Scene,
    threads: int,
    counter: Counter,
    hidden: Bool[np.ndarray, "frames rows cols"] | None = None,
) -> tuple[Surroundings, ...]:
    """Evidence for motion in every frame from the current cameras.

    Args:
        images: At the sampling of `Flow` (`recon4d.core.sampling.shrink`).
        flow: Edges in both directions.
        scene: Current cameras; its depth is not used.
        threads: Frames that are looked at at the same time.
        counter: Told about every finished frame, twice.
        hidden: What an overlay covers: it is evidence of nothing, and paints nothing.
    """
    frames = range(len(images))

    def first(frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        odds, depth, std = flow_evidence(flow, frame, scene, images[frame])
        return _seen(odds, hidden, frame), depth, _seen(std, hidden, frame, np.inf)

    found = []
    for evidence in each(first, frames, threads):
        found.append(evidence)
        counter.advance()
    alone = [f[0] for f in found]
    log_odds = along_time(np.stack(alone), flow, threads)
    surfaces = _surfaces(log_odds, found, images)

    def second(frame: int) -> tuple[np.ndarray, np.ndarray]:
        plate = _seen(plate_log_odds(frame, images, surfaces, scene), hidden, frame)
        total = log_odds[frame] + plate + np.float32(PRIOR_LOG_ODDS)
        limited = np.clip(total, -MAX_TOTAL_LOG_ODDS, MAX_TOTAL_LOG_ODDS)
        return plate, guided(limited, gray(images[frame]))

    plates, combined = [], np.empty_like(log_odds)
    for frame, (plate, odds) in enumerate(each(second, frames, threads)):
        plates.append(plate)
        combined[frame] = odds
        counter.advance()
    combined = along_time(combined, flow, threads)
    return tuple(
        Surroundings(depth, std, odds, plate, total)
        for (odds, depth, std), plate, total in zip(found, plates, combined, strict=True)
    )


def _seen(
    values: Float32[np.ndarray, "rows cols"],
    hidden: Bool[np.ndarray, "frames rows cols"] | None,
    frame: int,
    otherwise: float = 0.0,
) -> Float32[np.ndarray, "rows cols"]:
    """Values of a frame where no overlay hides it."""
    return values if hidden is None else np.where(hidden[frame], np.float32(otherwise), values)


def flow_evidence(
    flow: Flow, frame: int, scene: Scene, image: UInt8[np.ndarray, "rows cols 3"]
) -> tuple[
    Float32[np.ndarray, "rows cols"],
    Float32[np.ndarray, "rows cols"],
    Float32[np.ndarray, "rows cols"],
]:
    """Log-odds of motion from one frame's own flow, and its inverse depth with its standard deviation."""
    found = triangulate(flow, frame, scene)
    depth = found.inverse_depth.numpy(), found.inverse_depth_std.numpy()
    edges = found.edge_index.numpy()
    here, there = scene.component[frame], scene.component[flow.edges[edges, 1]]
    usable = (there == here) & scene.is_posed[flow.edges[edges, 1]] & scene.is_posed[frame]
    if not usable.any():
        return np.zeros(image.shape[:2], np.float32), *depth
    sigmas, inside = _sigmas(flow, edges[usable], scene, found, texture_covariance(gray(image)))
    confidence = torch.from_numpy(flow.confidence[edges[usable]]).float() / 255
    weight = (confidence + INCONSISTENT_WEIGHT) * inside
    total = weight.sum(0)
    mean = (weight * sigmas).sum(0) / total.clamp_min(LITTLE_WEIGHT)
    odds = SHARPNESS * torch.log((mean + 0.05) / MOVING_SIGMAS)
    known = total / (total + LITTLE_WEIGHT)
    return (odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS) * known).numpy(), *depth


def _sigmas(
    flow: Flow,
    edges: Int64[np.ndarray, " edges"],
    scene: Scene,
    found: Triangulation,
    texture: Float[Tensor, "3 rows cols"],
) -> tuple[Float[Tensor, "edges rows cols"], Float[Tensor, "edges rows cols"]]:
    """Distance of the flow from the best static prediction in standard deviations; whether it stays in the image."""
    rows, cols = flow.confidence.shape[1:]
    source, targets = int(flow.edges[edges[0], 0]), flow.edges[edges, 1]
    turned, moved = relative_cameras(scene, source, targets)
    uv = sample_grid_px(rows, cols, torch.device("cpu"))
    ray, rho = scene_rays(scene, source, uv), found.inverse_depth.flatten()
    predicted, ratio = static_pixels(turned, moved, ray, rho)
    is_behind = ratio <= MIN_DEPTH_RATIO
    there_u, there_v = flow_targets(flow, edges, torch.device("cpu"))
    length = torch.hypot(there_u - uv[:, 0], there_v - uv[:, 1])
    shape = (len(edges), rows, cols)
    off = (
        (predicted[:, 0] - there_u).reshape(shape),
        (predicted[:, 1] - there_v).reshape(shape),
    )
    variance = flow_variance(length).reshape(shape)
    sigmas = mahalanobis2(off, texture, variance).clamp_max_(MAX_SIGMAS**2).sqrt_()
    sigmas.masked_fill_(is_behind.reshape(shape), MAX_SIGMAS)
    last_u, last_v = uv[-1]
    inside = (there_u >= 1) & (there_u <= last_u) & (there_v >= 1) & (there_v <= last_v)
    return sigmas, inside.reshape(shape).float()


def flow_variance(length_px: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Variance of flow on textured surfaces, square pixels; long flow is less exact."""
    return (STATIC_SIGMA_SLOPE * length_px + STATIC_SIGMA_PX).square_()


def _surfaces(
    log_odds: Float32[np.ndarray, "frames rows cols"],
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    images: UInt8[np.ndarray, "frames rows cols 3"],
) -> Surfaces:
    smooth = [guided(odds, gray(image)) for odds, image in zip(log_odds, images, strict=True)]
    thin = (slice(None, None, STEP),) * 2
    static = 1 - probability(np.stack([s[thin] for s in smooth]))
    depth, std = (np.stack([f[k][thin] for f in found]) for k in (1, 2))
    return Surfaces(depth, std, static)


def probability(
    log_odds: Float32[np.ndarray, "frames rows cols"],
) -> Float32[np.ndarray, "frames rows cols"]:
    """Probability of motion from the log-odds of one frame, gathered over time."""
    return np.asarray(1 / (1 + np.exp(-CALIBRATION * log_odds)), np.float32)
