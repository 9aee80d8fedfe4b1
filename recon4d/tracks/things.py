"""What is said of every object: where it is, how fast it goes, whether it is rigid.

Numbers here that name no source were set by hand.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from recon4d.results.cloud import lift_points
from recon4d.results.motion import MovingObject, Objects
from recon4d.results.result import Result
from recon4d.tracks.chain import Followed
from recon4d.tracks.group_all import Grouped

LEAST_PIXELS = 12
"""Pixels of an object in a frame that tell where it is."""
INNER_PERCENT = (3.0, 97.0)
"""Percentiles of its points, along each axis of the world, that its box holds."""
SMOOTH = 4
"""Frames before and after over which velocity is fitted."""
RIGID_FRAMES = 12
"""Frames over which points are compared for that."""
RIGID_POINTS = 12
"""Points that must be seen in all of them."""
RIGID_PX = 0.22
"""What one solid, seen by a distant camera, leaves unexplained of the motion of its points (root mean square, pixels of
the working size): rendered boxes that turn, and DAVIS `car-shadow`, leave .1 to .2, the dancer of `exact_dancer` and
`lady-running` .24 to .46."""


def full_size(
    ids: UInt8[np.ndarray, "frames rows cols"], is_dynamic: Bool[np.ndarray, "frames height width"]
) -> UInt8[np.ndarray, "frames height width"]:
    """Objects of every pixel: those of the nearest sample, inside of the masks."""
    height, width = is_dynamic.shape[1:]
    out = np.zeros(is_dynamic.shape, np.uint8)
    for frame, small in enumerate(ids):
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        grown = cv2.dilate(large, np.ones((5, 5), np.uint8))
        out[frame] = np.where(large > 0, large, grown) * is_dynamic[frame]
    return out


def describe_objects(result: Result, grouped: Grouped) -> Objects:
    """The objects with what is known of each.

    Args:
        result: Where things are.
        grouped: Which pixels and points are of which.
    """
    ids = full_size(grouped.ids, result.is_dynamic)
    items = tuple(_described(result, ids, grouped, k) for k in grouped.items)
    return Objects(ids, tuple(each for each in items if each.frames))


def _described(
    result: Result, ids: UInt8[np.ndarray, "frames height width"], grouped: Grouped, k: int
) -> MovingObject:
    frames, path, sigma, box = [], [], [], []
    for frame in range(len(ids)):
        own = (ids[frame] == k) & (result.depth[frame] > 0)
        if own.sum() < LEAST_PIXELS:
            continue
        points = lift_points(result, frame, own)
        low, high = np.percentile(points, INNER_PERCENT, axis=0)
        std = None if result.depth_std is None else float(np.median(result.depth_std[frame][own]))
        frames.append(frame)
        path.append(_numbers(np.median(points, axis=0)))
        sigma.append(std if std is not None and np.isfinite(std) else None)
        box.append(_numbers(np.concatenate((low, high))))
    speed, off = _speed(result.timestamps_s, frames, np.array(path).reshape(-1, 3))
    followed = grouped.seeds.followed.of(np.flatnonzero(grouped.of == k))
    return MovingObject(
        id=k,
        frames=tuple(frames),
        path=tuple(path),
        path_sigma=tuple(sigma),
        box=tuple(box),
        speed=speed,
        speed_sigma=off,
        is_rigid=is_rigid(followed),
    )


def _numbers(values: Float[np.ndarray, " values"]) -> tuple[Any, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _speed(
    times_s: Float64[np.ndarray, " frames"], frames: list[int], path: Float64[np.ndarray, "some 3"]
) -> tuple[float | None, float | None]:
    """Median speed, and its standard deviation, of lines fitted to the path around every frame."""
    speeds, noise = [], []
    for at in range(len(frames)):
        near = [n for n in range(len(frames)) if abs(frames[n] - frames[at]) <= SMOOTH]
        if len(near) < 3:
            continue
        times = times_s[[frames[n] for n in near]]
        line = np.stack((times - times.mean(), np.ones(len(near))), axis=1)
        found, *_ = np.linalg.lstsq(line, path[near], rcond=None)
        rest = path[near] - line @ found
        speeds.append(float(np.linalg.norm(found[0])))
        noise.append(float(np.sqrt((rest**2).sum() / (len(near) - 2) / (line[:, 0] ** 2).sum())))
    if not speeds:
        return None, None
    return float(np.median(speeds)), float(np.median(noise))


def is_rigid(followed: Followed) -> bool | None:
    """Whether points move like those of one solid: tracks of a solid have rank 3 (Tomasi and Kanade, IJCV 1992).

    None where too few are seen for long enough.
    """
    rests = []
    length = min(RIGID_FRAMES, len(followed.uv))
    for first in range(0, len(followed.uv) - length + 1, max(length // 2, 1)):
        part = slice(first, first + length)
        whole = followed.is_visible[part].all(0)
        if whole.sum() >= RIGID_POINTS:
            rests.append(_beyond_rank_3(followed.uv[part, whole]))
    return None if not rests else bool(np.median(rests) <= RIGID_PX)


def _beyond_rank_3(uv: Float32[np.ndarray, "frames points 2"]) -> float:
    """Root mean square of what is left of the motion, pixels, without the tenth of the points that fit worst."""
    rows = np.moveaxis(uv, 2, 1).reshape(-1, uv.shape[1]).astype(np.float64)
    for keep in (0.9, 1.0):
        rows = rows - rows.mean(1, keepdims=True)
        left, values, right = np.linalg.svd(rows, full_matrices=False)
        rest = np.sqrt(((rows - (left[:, :3] * values[:3]) @ right[:3]) ** 2).mean(0))
        rows = rows[:, np.argsort(rest)[: max(int(keep * len(rest)), 4)]]
    return float(np.sqrt((rest**2).mean()))
