"""What all kinds of input have in common: a stream of frames, and which of them are kept.

Numbers here that name no source were set by hand.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon4d.core.scene import Notice
from recon4d.io.camera import Camera
from recon4d.io.options import ReadOptions

TIME_TOLERANCE_S = 1e-6
"""Time stamps of files are rounded to microseconds."""
TIE_TOLERANCE = 1e-4
"""Share of the interval between two wanted times; time stamps of videos are rounded to about that."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame of the input that has not been converted to pixels yet."""

    index: int
    """Among all frames of the input."""
    time_s: float
    name: str
    pixels: Callable[[], np.ndarray]
    """Decodes the frame: uint8 RGB (height, width, 3), upright."""
    depth: Callable[[], np.ndarray] | None = None
    """Reads the sensor depth: float32 metres (height, width), 0 = unknown; None where this frame has none."""


@dataclass(frozen=True)
class Source:
    """An input that was opened."""

    path: Path
    kind: str
    """`video`, `images` or `rgbd`."""
    is_timed: bool
    """False where the times are only index / rate."""
    expected_frames: int
    """For progress and information; 0 = unknown."""
    frames: Callable[[], Iterator[SourceFrame]]
    """Starts reading from the beginning."""
    notices: Callable[[], tuple[Notice, ...]]
    """What was found while reading; complete once `frames` is exhausted."""
    has_depth: bool = False
    depth_factor: float | None = None
    """Value of a depth image for one metre; None where depth is not read."""
    fps: float | None = None
    """Frames per second that a video states."""
    pixel_aspect: float = 1.0
    """Width over height of a pixel as it is meant to be seen."""
    camera_file: Path | None = None
    camera: Camera | None = None
    """The pinhole camera as which the frames of several cameras are shown; None: they are shown as they are."""
    focal_35mm: float | None = None
    """Focal length that the first picture states, millimetres on 35 mm film."""


def select_frames(frames: Iterable[SourceFrame], options: ReadOptions) -> Iterator[SourceFrame]:
    """Keep the frames that `--start`, `--fps`, `--stride` and `--max-frames` ask for.

    `fps` picks, for each multiple of 1 / fps after the first frame, the frame nearest in time; no frame twice.
    """
    frames = _after_start(frames, options.start)
    if options.fps is not None:
        frames = _resample(frames, options.fps)
    else:
        frames = itertools.islice(frames, 0, None, options.stride)
    return itertools.islice(frames, options.max_frames)


def _after_start(frames: Iterable[SourceFrame], start_s: float) -> Iterator[SourceFrame]:
    first_s: float | None = None
    for frame in frames:
        first_s = frame.time_s if first_s is None else first_s
        if frame.time_s - first_s >= start_s - TIME_TOLERANCE_S:
            yield frame


def _resample(frames: Iterable[SourceFrame], fps: float) -> Iterator[SourceFrame]:
    """Keep a frame where a wanted time lies between the midpoints to its two neighbours."""
    first_s, half_gap_s, taken = 0.0, 0.0, -1
    last: SourceFrame | None = None
    for frame in frames:
        if last is None:
            first_s = frame.time_s
        else:
            half_gap_s = (frame.time_s - last.time_s) / 2
            reached = _wanted_until(last.time_s + half_gap_s - first_s, fps)
            if reached > taken:
                yield last
                taken = reached
        last = frame
    if last is not None and _wanted_until(last.time_s + half_gap_s - first_s, fps) > taken:
        yield last


def _wanted_until(time_s: float, fps: float) -> int:
    """Index of the last multiple of 1 / fps that is not after `time_s`."""
    return int(np.floor(time_s * fps + TIE_TOLERANCE))
