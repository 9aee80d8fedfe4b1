"""Repeated frames, as of a conversion of the frame rate: each picture is processed once, and the result has all frames.

A frame that shows what the one before it shows differs from it by noise alone, while frames around it differ by motion.
Where the camera stands still, a mover that rests for a frame looks the same: there only a regular pattern counts.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.arrays import GrowingArray, read_only_map, runs
from recon4d.core.files import writing
from recon4d.core.parallel import one_opencv_thread
from recon4d.core.sampling import shrink
from recon4d.core.scene import Notice, Repeats, Video
from recon4d.results.result import Cameras, Result

BLOCK = 8
"""Side of the blocks in which differences are averaged, samples of `Flow`."""
CHANGED = 0.05
"""Share of the blocks, those that change most, whose mean change is a frame's."""
MOST_CHANGE = 3.0
"""Change of a repeated frame, grey levels: at the lowest quality of a video (CRF 36) 1.7."""
MOST_RATIO = 0.08
"""... and as a part of the largest change nearby: .04 there, .15 and more of other frames, on 23 clips."""
NEARBY = 3
"""Frames before and after that tell how much the picture changes."""
LONGEST = 2 * NEARBY - 1
"""Times in a row that a frame is repeated (10 frames per second as 60): beyond, the picture stands still."""
STILL = 0.6
"""Median change of all blocks, in the median over the frames that are not repeated, up to which the camera is still."""
REGULAR = 0.9
"""Share of the distances between repeated frames that must be the usual one, give or take a frame, where it is."""
FEWEST_REGULAR = 3
"""Repeated frames that make a pattern."""


def find_repeats(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> Bool[np.ndarray, " frames"]:
    """Frames that show the same as the one before.

    Args:
        images: At working size.
    """
    most, usual = _changes(images)
    around = np.pad(most, NEARBY, mode="constant")
    nearby = np.lib.stride_tricks.sliding_window_view(around, 2 * NEARBY + 1).max(-1)
    same = (most <= MOST_CHANGE) & (most < MOST_RATIO * nearby)
    same &= most <= MOST_RATIO * _beside(most, ~same)
    same &= ~_frozen(most <= MOST_CHANGE)
    is_still = same.any() and np.median(usual[~same]) < STILL
    if is_still and not _is_regular(same):
        same[:] = False
    return np.concatenate(([False], same))


def without_repeats(video: Video, folder: Path) -> Video:
    """The video with every picture once, and `Video.repeats` where frames were repeated.

    A depth camera has its own frames: then nothing is left out.

    Args:
        video: Just read, its images the file `images.npy` of `folder`.
        folder: Where the new `images.npy` is put.
    """
    if video.sensor_depth is not None:
        return video
    again = find_repeats(video.images)
    if not again.any():
        return video
    kept, shown = np.flatnonzero(~again), np.cumsum(~again) - 1
    with GrowingArray(folder / "kept.npy") as growing:
        for frame in kept:
            growing.append(video.images[frame])
        growing.finish()
    with writing(folder):
        os.replace(folder / "kept.npy", folder / "images.npy")
    images = read_only_map(folder / "images.npy")
    indices = video.source_indices or tuple(range(video.num_frames))
    return replace(
        video,
        images=images,
        timestamps_s=video.timestamps_s[kept],
        sources=tuple(video.sources[frame] for frame in kept),
        source_indices=tuple(indices[frame] for frame in kept),
        repeats=Repeats(shown, video.timestamps_s, video.sources),
        notices=tuple(
            replace(notice, frames=tuple(np.unique(shown[list(notice.frames)]).tolist()))
            for notice in video.notices
        ),
    )


def repeat_notices(repeats: Repeats | None) -> tuple[Notice, ...]:
    """What the user is told of them; frames of the input."""
    if repeats is None:
        return ()
    again = repeats.again
    message = (
        f"{int(again.sum())} of {len(again)} frames show the same picture as the frame before (a conversion of the "
        "frame rate): they get its pose, depth and mask."
    )
    return (Notice("repeated_frames", message, tuple(np.flatnonzero(again).tolist())),)


def cameras_with_repeats(found: Cameras, repeats: Repeats | None) -> Cameras:
    """Cameras of all frames of the input, but for what `run` says."""
    return found if repeats is None else replace(found, **_poses(found, repeats))


def with_repeats(found: Result, repeats: Repeats | None) -> Result:
    """A result of all frames of the input, but for what `run` says."""
    if repeats is None:
        return found
    shown = repeats.shown
    return replace(
        found,
        images=found.images[shown],
        depth=found.depth[shown],
        confidence=found.confidence[shown],
        is_dynamic=found.is_dynamic[shown],
        depth_std=None if found.depth_std is None else found.depth_std[shown],
        **_poses(found, repeats),
    )


def _poses(found: Cameras | Result, repeats: Repeats) -> dict[str, Any]:
    """What cameras and results both have of every frame."""
    covariance = found.pose_covariance
    if covariance is not None:
        covariance = np.where(repeats.again[:, None, None], 0, covariance[repeats.shown])
    return {
        "world_from_cam": found.world_from_cam[repeats.shown],
        "intrinsics": found.intrinsics[repeats.shown],
        "timestamps_s": np.array(repeats.timestamps_s),
        "sources": repeats.sources,
        "pose_covariance": covariance,
    }


def _changes(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> tuple[Float32[np.ndarray, " steps"], Float32[np.ndarray, " steps"]]:
    """Mean change of the blocks that change most from each frame to the next, and that of the median block."""
    most, usual = [], []
    with one_opencv_thread():
        before = _smooth(images[0])
        rows, cols = (max(1, side // BLOCK) for side in before.shape)
        count = max(1, round(CHANGED * rows * cols))
        for image in images[1:]:
            now = _smooth(image)
            change = cv2.absdiff(now, before)
            blocks = cv2.resize(change, (cols, rows), interpolation=cv2.INTER_AREA).ravel()
            most.append(np.sort(blocks)[-count:].mean())
            usual.append(np.median(blocks))
            before = now
    return np.array(most, np.float32), np.array(usual, np.float32)


def _beside(
    most: Float32[np.ndarray, " steps"], changes: Bool[np.ndarray, " steps"]
) -> Float32[np.ndarray, " steps"]:
    """The smaller one of the last change before each step and the first after it: a camera that turns slows down."""
    out = np.full(len(most), np.inf, np.float32)
    for way in (1, -1):
        last = np.float32(np.inf)
        for at in range(len(most))[::way]:
            last = most[at] if changes[at] else last
            out[at] = min(out[at], last)
    return out


def _frozen(quiet: Bool[np.ndarray, " steps"]) -> Bool[np.ndarray, " steps"]:
    """Steps of a row without change that is longer than `LONGEST`."""
    out = np.zeros(len(quiet), bool)
    for first, end in runs(quiet):
        out[first:end] = end - first > LONGEST
    return out


def _smooth(image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "rows cols"]:
    gray = cv2.cvtColor(shrink(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1), np.float32)


def _is_regular(same: Bool[np.ndarray, " steps"]) -> bool:
    """Whether repeated frames come at even distances."""
    apart = np.diff(np.flatnonzero(same))
    if len(apart) < FEWEST_REGULAR - 1:
        return False
    return bool((np.abs(apart - np.median(apart)) <= 1).mean() >= REGULAR)
