"""The photometric plate: what the static world looks like behind the movers, and how a frame differs from it.

Flow is smooth over patches, so its evidence ends in a halo around every mover. Colour does not: static surface points
of frames some time before and after, moved with the cameras into a frame, show there what a static world would look
like. Pixels that look so are static even inside the halo; pixels of another colour are not the static world.
Where the plate is unknown, or varied enough to hold any colour, it has no say.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, relative_cameras, scene_rays, static_pixels
from recon4d.core.sampling import sample_at
from recon4d.core.scene import Scene
from recon4d.core.tensors import cells_of

OFFSETS = (-32, -16, -8, -4, 4, 8, 16, 32)
"""Frames apart that paint the plate: far enough for movers to have left, near enough to see the same place."""
STEP = 2
"""Every how many `Flow` samples in each direction paint; together the frames of `OFFSETS` leave few gaps."""
MIN_STATIC = 0.5
"""Probability of being static from which a surface point paints."""
MAX_ERROR_PX = 3.0
"""A point whose position in the frame is less certain (standard deviation, pixels) does not paint."""
BEHIND = 0.1
"""A point that lies by this part of its depth behind the nearest one at its place is hidden."""
REACH = 5
"""Side of the window in which the plate's colours are gathered, `Flow` samples: what cameras and depth err by."""
MIN_POINTS = 3
"""The plate is known where that many points fall into the window."""
COLOUR_NOISE = 8.0
"""Standard deviation of a colour channel (0..255) between frames: noise, interpolation, slight shading."""
UNEXPECTED = 1e-3
"""Probability that a static pixel has any colour at all: highlights, motion blur."""
SHADE_FACTORS = (1.0, 0.8, 0.6)
"""Shadows of movers darken the static world by such factors ..."""
SHADE_PRIOR = 0.1
"""... with this probability, together."""
WEIGHT = 0.6
"""Weight of the three channels' summed evidence: they are not independent."""
MAX_LOG_ODDS = 6.0
"""The plate alone is never surer than this."""
NO_COLOUR = 1e4
"""Far outside of all colours: the limits where no point falls."""
EXPOSURE_STEP = 8
"""Every how many points tell the difference of exposure between two frames."""


@dataclass(frozen=True)
class Surfaces:
    """Depth of every `STEP`-th `Flow` sample, and how far it can be trusted to be static."""

    inverse_depth: Float32[np.ndarray, "frames rows cols"]
    inverse_depth_std: Float32[np.ndarray, "frames rows cols"]
    static: Float32[np.ndarray, "frames rows cols"]


@dataclass(frozen=True)
class _Points:
    """Surface points in the frame that is painted."""

    place: Int64[Tensor, " points"]
    inverse_depth: Float[Tensor, " points"]
    colour: Float[Tensor, "points 3"]


def plate_log_odds(
    frame: int,
    images: UInt8[np.ndarray, "frames rows cols 3"],
    surfaces: Surfaces,
    scene: Scene,
) -> Float32[np.ndarray, "rows cols"]:
    """Log-odds of motion of one frame's pixels from their colours against the plate; 0 where it is unknown.

    Args:
        frame: The frame to look at.
        images: All frames at the sampling of `Flow`.
        surfaces: Depth of all frames.
        scene: Cameras.
    """
    rows, cols = images.shape[1:3]
    sources = [
        m
        for m in (frame + offset for offset in OFFSETS)
        if 0 <= m < len(images)
        and scene.is_posed[m]
        and scene.component[m] == scene.component[frame]
    ]
    parts = [_paint(frame, source, images, surfaces, scene) for source in sources]
    if not parts or not scene.is_posed[frame]:
        return np.zeros((rows, cols), np.float32)
    points = _Points(
        torch.cat([p.place for p in parts]),
        torch.cat([p.inverse_depth for p in parts]),
        torch.cat([p.colour for p in parts]),
    )
    return _compare(images[frame], _visible(points, rows, cols))


def _paint(
    frame: int,
    source: int,
    images: UInt8[np.ndarray, "frames rows cols 3"],
    surfaces: Surfaces,
    scene: Scene,
) -> _Points:
    """Static surface points of one source frame in the frame, at the source's colours but the frame's exposure."""
    rows, cols = images.shape[1:3]
    turned, moved = (x[0] for x in relative_cameras(scene, source, np.array([frame])))
    unsure = surfaces.inverse_depth_std[source]
    shift = float(moved.norm())  # pixels per unit of inverse depth; 0: depth does not matter
    error_px = unsure * shift if shift > 0 else np.zeros_like(unsure)
    use = (surfaces.static[source] > MIN_STATIC) & (error_px < MAX_ERROR_PX)
    uv = torch.from_numpy(sample_at(STEP * np.argwhere(use)))
    rho = torch.from_numpy(surfaces.inverse_depth[source][use])
    there, ratio = static_pixels(turned, moved, scene_rays(scene, source, uv), rho)
    row, col = cells_of(there.T)
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols) & (ratio > MIN_DEPTH_RATIO)
    place = (row * cols + col)[inside]
    colour = torch.from_numpy(images[source][::STEP, ::STEP][use]).float()[inside]
    here = torch.from_numpy(images[frame]).reshape(-1, 3)[place].float()
    return _Points(place, (rho / ratio)[inside], colour * _exposure(colour, here))


def _exposure(
    colour: Float[Tensor, "points 3"], here: Float[Tensor, "points 3"]
) -> Float[Tensor, "3"]:
    """Factor per channel that automatic exposure and white balance put between two frames."""
    if len(colour) == 0:
        return torch.ones(3)
    few = slice(None, None, EXPOSURE_STEP)
    return ((here[few] + 1) / (colour[few] + 1)).median(dim=0).values


def _visible(points: _Points, rows: int, cols: int) -> Float[Tensor, "4 rows cols"]:
    """Mean colour and number of the points that nothing hides, per place."""
    nearest = torch.zeros(rows * cols).scatter_reduce_(
        0, points.place, points.inverse_depth, reduce="amax"
    )
    around = cv2.dilate(nearest.reshape(rows, cols).numpy(), np.ones((3, 3), np.uint8))
    limit = torch.from_numpy(around).reshape(-1)[points.place] * (1 - BEHIND)
    seen = points.inverse_depth > limit
    place, colour = points.place[seen], points.colour[seen]
    sums = torch.zeros((4, rows * cols))
    for channel in range(3):
        sums[channel].index_add_(0, place, colour[:, channel])
    sums[3].index_add_(0, place, torch.ones_like(colour[:, 0]))
    sums[:3] /= sums[3].clamp_min(1)
    return sums.reshape(4, rows, cols)


def _compare(
    image: UInt8[np.ndarray, "rows cols 3"], plate: Float[Tensor, "4 rows cols"]
) -> Float32[np.ndarray, "rows cols"]:
    """Log-odds of the frame's colours under 'any colour' against 'a colour of the plate nearby, maybe shaded'."""
    *means, count = (np.asarray(x) for x in plate.numpy())
    known = cv2.boxFilter(count, -1, (REACH, REACH), normalize=False) >= MIN_POINTS
    window = np.ones((REACH, REACH), np.uint8)
    limits = [
        (
            cv2.erode(np.where(count > 0, mean, np.float32(NO_COLOUR)), window),
            cv2.dilate(np.where(count > 0, mean, np.float32(-NO_COLOUR)), window),
        )
        for mean in means
    ]
    channels = np.moveaxis(image, -1, 0).astype(np.float32)
    best = np.zeros(image.shape[:2], np.float32)
    for factor in SHADE_FACTORS:
        prior = np.float32(1.0 if factor == 1.0 else SHADE_PRIOR / (len(SHADE_FACTORS) - 1))
        likelihood = np.full(image.shape[:2], prior, np.float32)
        for channel, (low, high) in zip(channels, limits, strict=True):
            likelihood *= _likelihood(channel, low * factor, high * factor)
        best = np.maximum(best, likelihood)
    odds = -np.log(best + np.float32(UNEXPECTED**3)) * np.float32(WEIGHT)
    return np.where(known, np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS), 0).astype(np.float32)


def _likelihood(
    value: Float32[np.ndarray, "rows cols"],
    low: Float32[np.ndarray, "rows cols"],
    high: Float32[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols"]:
    """Density of a value around an interval, times the 256 levels that it could have otherwise."""
    outside = np.maximum(np.maximum(low - value, value - high), 0)
    width = np.maximum(high - low, 0) + np.float32(COLOUR_NOISE * np.sqrt(2 * np.pi))
    squared = np.square(outside / np.float32(COLOUR_NOISE))
    return np.asarray(256 / width * np.exp(-0.5 * squared) + UNEXPECTED, np.float32)
