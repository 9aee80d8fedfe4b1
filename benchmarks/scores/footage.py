"""What a result shows of itself: tracked corners, steady masks, what is near and what is far; no truth is needed."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from recon4d.core.geometry import transfer
from recon4d.core.sampling import shrink
from recon4d.evaluate.steady import steadiness
from recon4d.flow import FlowMethod
from recon4d.flow.matches import features_of, homography
from recon4d.results.overlay import known_depth
from recon4d.results.result import Result

STEPS = (1, 5, 10)
"""Frames apart between which corners are tracked."""
EVERY = 3
"""Frames from one in which corners begin to the next."""
CORNERS, QUALITY, APART_PX, AROUND_PX = 300, 0.01, 8, 9
"""Corners of a frame, their least quality (of the best), their distance, and the side of the square around each that
must be static and have depth."""
WINDOW_PX, LEVELS = 21, 4
"""Of the tracker (Lucas and Kanade, in a pyramid)."""
AGREE_PX = 0.5
"""Distance from its place at which a corner ends that is tracked there and back, if it counts."""
LEAST_FOLLOWED = 0.05
"""Part of a pair's corners below which those that come back do so by chance: on DAVIS `libby`, every 2nd frame, 0 to
.02 of them do 5 frames apart, with errors of 120 to 210 px, where SIFT matches are off by .4."""
BAD_PX = 3.0
"""Error above which a corner is called bad."""
BEHIND_PX = 1e3
"""Error of a corner that the cameras predict behind the image."""

Gray = UInt8[np.ndarray, "height width"]
Points = Float32[np.ndarray, "points 2"]
Corners = Float32[np.ndarray, "points 1 2"]
"""As OpenCV has them."""


@dataclass(frozen=True)
class Tracked:
    """Distance of where depth and cameras predict static corners from where they are tracked."""

    median_px: float
    p90_px: float
    bad: float
    """Share above `BAD_PX`."""


def tracked(result: Result, step: int) -> Tracked | None:
    """Track corners that the result calls static to frames `step` later; None where there are none."""
    errors = [
        _corner_errors_px(result, frame, frame + step)
        for frame in range(0, len(result) - step, EVERY)
    ]
    all_px = np.concatenate(errors) if errors else np.zeros(0)
    if not len(all_px):
        return None
    high_px = float(np.percentile(all_px, 90))
    return Tracked(float(np.median(all_px)), high_px, float((all_px > BAD_PX).mean()))


def _corner_errors_px(result: Result, source: int, target: int) -> Float64[np.ndarray, " corners"]:
    first, second = (_gray(result, frame) for frame in (source, target))
    usable = ~result.is_dynamic[source] & (result.depth[source] > 0)
    start, end = _followed(first, second, usable)
    if not len(start):
        return np.zeros(0)
    col, row = np.rint(start).astype(int).T
    depth = torch.from_numpy(result.depth[source][row, col].astype(np.float64))
    poses, k = result.world_from_cam, torch.from_numpy(result.intrinsics)
    uv, wanted = (torch.from_numpy(at.astype(np.float64) + 0.5) for at in (start, end))
    relative = torch.from_numpy(np.linalg.inv(poses[target]) @ poses[source])
    found, ratio = transfer(uv, 1 / depth, relative, k[source], k[target])
    return np.asarray(torch.where(ratio > 0, (found - wanted).norm(dim=-1), BEHIND_PX))


def _gray(result: Result, frame: int) -> Gray:
    return np.asarray(cv2.cvtColor(result.images[frame], cv2.COLOR_RGB2GRAY), np.uint8)


def _followed(
    first: Gray, second: Gray, usable: Bool[np.ndarray, "height width"]
) -> tuple[Points, Points]:
    """Corners of the first image, and where they are in the second; OpenCV's pixels, whose first centre is (0, 0).

    Where the picture moves farther than the tracker reaches, it begins from sparse matches.
    """
    free = cv2.erode(usable.astype(np.uint8) * 255, np.ones((AROUND_PX, AROUND_PX)))
    start = cv2.goodFeaturesToTrack(first, CORNERS, QUALITY, APART_PX, mask=free)
    nothing = np.zeros((0, 2), np.float32)
    if start is None:
        return nothing, nothing
    end, good = _tracked_there_and_back(first, second, start, start.copy())
    if good.mean() < LEAST_FOLLOWED:
        warp = homography(features_of(shrink(first)), features_of(shrink(second)))
        if warp is None:
            return nothing, nothing
        guess = cv2.perspectiveTransform(start + 0.5, warp).astype(np.float32) - 0.5
        end, good = _tracked_there_and_back(first, second, start, guess)
    return start[good, 0], end[good, 0]


def _tracked_there_and_back(
    first: Gray, second: Gray, start: Corners, guess: Corners
) -> tuple[Corners, Bool[np.ndarray, " points"]]:
    """Where corners are in the second image, near a guess, and which of them come back."""
    how: dict[str, Any] = {
        "winSize": (WINDOW_PX, WINDOW_PX),
        "maxLevel": LEVELS,
        "criteria": (3, 30, 0.01),
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    end, there, _ = cv2.calcOpticalFlowPyrLK(first, second, start, guess.copy(), **how)
    home = end + start - guess
    again, back, _ = cv2.calcOpticalFlowPyrLK(second, first, end, home, **how)
    apart_px = np.linalg.norm((again - start)[:, 0], axis=1)
    return end, np.asarray((there[:, 0] > 0) & (back[:, 0] > 0) & (apart_px < AGREE_PX))


def upright(result: Result) -> float | None:
    """Share of the frames whose static depth is larger in the middle third than in the bottom third (medians).

    Frames in which a third has no static depth are not upright; None where no frame has both.
    """
    third = result.depth.shape[1] // 3
    known = known_depth(result.depth, result.confidence)
    ratios = []
    for depth, is_known, moving in zip(result.depth, known, result.is_dynamic, strict=True):
        usable = is_known & ~moving
        parts = [depth[top : top + third][usable[top : top + third]] for top in (third, 2 * third)]
        middle, bottom = (float(np.median(part)) if len(part) else np.nan for part in parts)
        ratios.append(middle / bottom)
    ratio = np.array(ratios)
    return float((ratio > 1).mean()) if np.isfinite(ratio).any() else None


def path_over_depth(result: Result) -> float | None:
    """Length of the camera's path over the median depth of what is measured; None where nothing is."""
    measured = result.depth[known_depth(result.depth, result.confidence)]
    if not len(measured):
        return None
    steps = np.diff(result.world_from_cam[:, :3, 3], axis=0)
    return float(np.linalg.norm(steps, axis=1).sum() / np.median(measured))


@dataclass(frozen=True)
class Figures:
    """Of one result, as the table shows them."""

    focal_low: float
    """Shortest focal length over the width."""
    focal_high: float
    tracked: dict[str, Tracked] = field(default_factory=dict)
    """By frames apart."""
    steady: float | None = None
    upright: float | None = None
    path: float | None = None


def figures(result: Result, method: FlowMethod, threads: int) -> Figures:
    """All figures that need no truth."""
    focal = result.intrinsics[:, 0] / result.depth.shape[2]
    found = {str(step): tracked(result, step) for step in STEPS}
    return Figures(
        focal_low=float(focal.min()),
        focal_high=float(focal.max()),
        tracked={step: one for step, one in found.items() if one is not None},
        steady=steadiness(result, method, threads),
        upright=upright(result),
        path=path_over_depth(result),
    )
