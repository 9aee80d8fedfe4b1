"""What GeoMotion is trained on: clips of labelled videos as squares, with the flow that RAFT sees in them.

Numbers here that name no source were set by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float16, Int64, UInt8

from recon4d.core.errors import ConfigError, InputError
from recon4d.core.progress import Progress
from recon4d.core.stages import load_stage, run_stage
from recon4d.masks.geomotion.flow import flow_magnitude, square_images
from recon4d.masks.train.datasets import TRAINING, LabelledVideo, Part, read_dataset
from recon4d.networks.raft import Raft

HELD_OUT = 10
"""Every so-manieth video is held out; with fewer videos, none."""


@dataclass(frozen=True)
class MotionClip:
    """Consecutive frames, some of them labelled."""

    images: UInt8[np.ndarray, "frames side side 3"]
    moved_px: Float16[np.ndarray, "frames side side"]
    """Magnitude of the flow, pixels of the square."""
    labelled: Int64[np.ndarray, " labels"]
    """Indices of the frames that have a label, ascending."""
    truth: UInt8[np.ndarray, "labels side side"]
    """255 = moves; between, where a pixel of the square is cut by an outline."""


@dataclass(frozen=True)
class ClipOptions:
    """Which clips there are."""

    data: Mapping[str, Path]
    """Root folders of data sets, by the names of `recon4d.masks.train.datasets.TRAINING`."""
    frames: int = 12
    """Of a clip; one begins every half of them (the published code: 12 and 6). A shorter video is one clip."""

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError(
                "GeoMotion is trained on labelled videos, and none are given; give some with --data NAME=DIR, "
                f"NAME one of {', '.join(TRAINING)}"
            )
        for name in self.data:
            if name not in TRAINING:
                raise ConfigError(
                    f"there is no training set '{name}'; available: {', '.join(TRAINING)}"
                )


@dataclass(frozen=True)
class Parts:
    """What becomes clips."""

    train: tuple[Part, ...]
    held_out: tuple[Part, ...]


@dataclass(frozen=True)
class Clips:
    """Clips as memory maps."""

    train: tuple[MotionClip, ...]
    held_out: tuple[MotionClip, ...]


def find_parts(options: ClipOptions) -> Parts:
    """Which clips there will be; no file of a frame is read.

    Raises:
        InputError: A data set is not complete, or has no labels.
    """
    videos = [
        (name, video)
        for name, root in options.data.items()
        for video in read_dataset(name, root).videos
    ]
    train: list[Part] = []
    held_out: list[Part] = []
    for index, (name, video) in enumerate(videos):
        chosen = held_out if index % HELD_OUT == HELD_OUT - 1 else train
        chosen += _parts(name, video, options.frames)
    if not train:
        raise InputError(
            f"none of the {len(videos)} videos has a labelled frame beside another frame; give data with masks"
        )
    return Parts(tuple(train), tuple(held_out))


def motion_clips(
    folder: Path, parts: Parts, side_px: int, raft: Raft, threads: int, progress: Progress
) -> Clips:
    """All clips, computed where they are missing.

    Args:
        folder: Holds one sub-folder per clip.
        parts: Which clips.
        side_px: Of the squares.
        raft: Measures the flow.
        threads: That it uses on the CPU.
        progress: Told about every finished clip.

    Raises:
        InputError: A file of a data set cannot be read.
    """
    every = (*parts.train, *parts.held_out)
    with progress("clips", total=len(every)) as counter:
        for part in every:
            if not (folder / part.name).exists():
                _store(folder, part, raft, side_px, threads)
            counter.advance()
    train, held_out = (
        tuple(load_stage(folder / part.name, MotionClip) for part in some)
        for some in (parts.train, parts.held_out)
    )
    return Clips(train, held_out)


def _parts(name: str, video: LabelledVideo, frames: int) -> list[Part]:
    """Windows over a video that hold a label."""
    count = len(video.frames)
    starts = range(0, max(count - frames, 0) + 1, max(frames // 2, 1))
    parts = [Part(name, video, start, min(start + frames, count)) for start in starts]
    return [part for part in parts if part.labelled and part.stop - part.start > 1]


def _store(folder: Path, part: Part, raft: Raft, side_px: int, threads: int) -> None:
    def compute(own: Path) -> MotionClip:
        images = square_images(part.video.images(part.start, part.stop), side_px)
        moved = np.minimum(flow_magnitude(raft, images, threads), np.finfo(np.float16).max)
        truth = []
        for mask in part.masks():
            level = mask.astype(np.float32) * 255
            small = cv2.resize(level, (side_px, side_px), interpolation=cv2.INTER_AREA)
            truth.append(small.round().astype(np.uint8))
        labelled = np.array(part.labelled, np.int64)
        return MotionClip(images, moved.astype(np.float16), labelled, np.stack(truth))

    run_stage(folder, part.name, MotionClip, compute)
