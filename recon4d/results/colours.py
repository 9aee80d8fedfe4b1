"""How uncertain points and cameras are, as the viewers show it: colours, a threshold, positions, and what is not known.

A fused point has the standard deviation of its best pixel: errors that frames share are not averaged away.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from recon4d.core.errors import ConfigError
from recon4d.core.scene import Notice
from recon4d.results.cloud import MIN_CONFIDENCE, PointCloud, relative_std, usable_confidence
from recon4d.results.result import Result

COLORS = ("image", "uncertainty")
"""What points may be coloured by: the video's own colours, or the relative standard deviation of their depth."""
RANGE_PERCENT = (2.0, 98.0)
"""Percentiles of the static pixels' standard deviations that get the ends of the colours."""
RANGE_STRIDE = 8
"""Pixels between those that the range is taken from."""
LEAST_STD = 1e-6
"""Relative standard deviations below are shown as this one: a logarithm needs more than 0."""
LEAST_RATIO = 1.5
"""Of the two ends of the colours, where all pixels are alike."""
UNKNOWN_COLOR = (128, 128, 128)
"""RGB; viridis has no grey."""
MOVER_COLOR = (255, 45, 85)
"""RGB of moving points, as in the preview; viridis has no red. Their depth is not measured, so that their standard
deviations, all alike, say nothing beside those of static points."""


@dataclass(frozen=True)
class Style:
    """How points are shown."""

    color: str = "image"
    """One of `COLORS`."""
    max_std: float | None = None
    """Points whose relative standard deviation of depth is larger, or not known, are hidden; None: none are."""

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        if self.color not in COLORS:
            raise ConfigError(f"colour is {self.color!r}; choose one of {', '.join(COLORS)}")
        if self.max_std is not None and not self.max_std > 0:
            raise ConfigError(
                f"the largest standard deviation shown is {self.max_std}; give a share of the depth above 0, "
                "e.g. 0.05"
            )

    @property
    def needs_uncertainty(self) -> bool:
        """Whether it asks for anything but the points as they are."""
        return self != PLAIN


PLAIN = Style()
"""All points in the video's own colours."""


@dataclass(frozen=True)
class StdScale:
    """Relative standard deviations of depth and their colours: viridis, even in the logarithm."""

    low: float
    high: float
    """Relative standard deviations at the two ends of the colours; beyond them the colour stays."""

    @classmethod
    def of(cls, reconstruction: Result) -> "StdScale | None":
        """The scale that fits to a result's static points; None where it does not say how far depth may be off."""
        least = usable_confidence(reconstruction, MIN_CONFIDENCE)
        static, moving = [], []
        for frame in range(len(reconstruction.depth)):
            std = relative_std(reconstruction, frame, RANGE_STRIDE)
            part = frame, slice(None, None, RANGE_STRIDE), slice(None, None, RANGE_STRIDE)
            is_dynamic = reconstruction.is_dynamic[part]
            shown = ~is_dynamic & (reconstruction.confidence[part] >= least)
            static.append(std[shown & np.isfinite(std)])
            moving.append(std[is_dynamic & np.isfinite(std)])
        known = np.concatenate(static)
        if not known.size:
            known = np.concatenate(moving)
        if not known.size:
            return None
        low, high = np.percentile(known, RANGE_PERCENT)
        low = max(float(low), LEAST_STD)
        return cls(low, max(float(high), LEAST_RATIO * low))

    def share(self, std: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Place of every standard deviation between the ends of the colours, from 0 to 1."""
        place = np.log(np.maximum(std, LEAST_STD) / self.low) / np.log(self.high / self.low)
        return np.asarray(np.clip(place, 0, 1))

    def colors(self, std: Float[np.ndarray, " points"]) -> UInt8[np.ndarray, "points 3"]:
        """RGB colour of every standard deviation."""
        colors = viridis(self.share(std))
        colors[~np.isfinite(std)] = UNKNOWN_COLOR
        return colors

    @property
    def legend(self) -> str:
        """What the colours mean."""
        return (
            f"relative std of depth {percent(self.low)} (purple) to {percent(self.high)} (yellow), "
            "grey: not known, red: moving"
        )


def percent(share: float) -> str:
    """Two digits of a share, e.g. `1.3 %`."""
    return f"{100 * share:.2g} %"


def viridis(share: Float[np.ndarray, " values"]) -> UInt8[np.ndarray, "values 3"]:
    """RGB colours of numbers from 0 (purple) to 1 (yellow)."""
    levels = np.rint(255 * share).astype(np.uint8)[:, None]
    if not len(levels):
        return np.zeros((0, 3), np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1])


def styled(
    cloud: PointCloud, style: Style, scale: StdScale | None, moves: bool = False
) -> PointCloud:
    """The points that a style shows, in its colours; all and unchanged where nothing is known of them.

    Args:
        cloud: Static points, or moving ones.
        style: How they are shown.
        scale: Of the result.
        moves: Whether they are the moving ones, which have one colour.
    """
    if scale is None:
        return cloud
    if style.max_std is not None:
        cloud = cloud.select(cloud.relative_std <= style.max_std)
    if style.color == "image":
        return cloud
    if moves:
        return replace(cloud, colors=np.full_like(cloud.colors, MOVER_COLOR))
    return replace(cloud, colors=scale.colors(cloud.relative_std))


def position_covariance(reconstruction: Result) -> Float64[np.ndarray, "frames 3 3"]:
    """Covariance of every camera's centre in the world, where the first camera is exact.

    The steps' errors are taken as independent and small, and add up along the path. Neighbouring steps share a frame
    and far frames are tied by flow of their own, so that the truth is mostly smaller. Infinite from the first step on
    that was not measured; of all cameras but the first where the result says nothing.
    """
    poses = reconstruction.world_from_cam
    centres = np.full((len(poses), 3, 3), np.inf)
    centres[0] = 0.0
    if reconstruction.pose_covariance is None:
        return centres
    total = np.zeros((6, 6))  # of (rotation vector, centre), both along the world's axes
    for frame, covariance in enumerate(reconstruction.pose_covariance[1:], start=1):
        if not np.isfinite(covariance).all():
            break
        carry, turn = np.eye(6), np.zeros((6, 6))
        carry[3:, :3] = -_cross_matrix(poses[frame, :3, 3] - poses[frame - 1, :3, 3])
        turn[:3, :3] = turn[3:, 3:] = poses[frame, :3, :3]
        total = carry @ total @ carry.T + turn @ covariance @ turn.T
        centres[frame] = total[3:, 3:]
    return centres


def _cross_matrix(vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """The matrix that multiplies as the cross product with `vector` from the left."""
    x, y, z = vector
    return np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])


def has_known_position(reconstruction: Result) -> Bool[np.ndarray, " frames"]:
    """Cameras but the first whose position's uncertainty is known."""
    known = np.isfinite(position_covariance(reconstruction)).all(axis=(1, 2))
    known[0] = False
    return np.asarray(known)


def missing_uncertainty(reconstruction: Result) -> Notice | None:
    """What a result does not say about its uncertainty; None where it says all."""
    lacks = []
    if StdScale.of(reconstruction) is None:
        lacks.append(
            "how uncertain its depth is, so that points keep their own colours and none is hidden"
        )
    known = has_known_position(reconstruction)
    if not known.any() and len(known) > 1:
        lacks.append("how uncertain its camera positions are")
    elif not known[1:].all():
        lacks.append(f"how uncertain its cameras from frame {int(np.argmin(known[1:])) + 1} on are")
    if not lacks:
        return None
    return Notice("no_uncertainty", f"this result does not say {', nor '.join(lacks)}")
