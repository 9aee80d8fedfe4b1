"""A long video as clips that overlap, so that memory is that of one clip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.scene import Video
from recon4d.settings.optim import OptimConfig


@dataclass(frozen=True)
class Clip:
    """Consecutive frames that are aligned together; bounds are indices of the whole video, the second is excluded."""

    index: int
    first: int
    last: int
    """Frames first..last-1 are seen; some of them belong to a neighbour, too."""
    own_first: int
    own_last: int
    """Frames own_first..own_last-1 of the result come from this clip."""

    def of(self, video: Video) -> Video:
        """The clip's part of the video; memory maps stay memory maps."""
        part = slice(self.first, self.last)
        indices = video.source_indices or tuple(range(video.num_frames))
        overlay = (
            None if video.overlay is None else video.overlay.of(np.arange(self.first, self.last))
        )
        return replace(
            video,
            images=video.images[part],
            timestamps_s=video.timestamps_s[part],
            sources=video.sources[part],
            sensor_depth=None if video.sensor_depth is None else video.sensor_depth[part],
            source_indices=indices[part],
            overlay=overlay,
            originals=None if video.originals is None else video.originals[part],
            repeats=None,
            notices=(),
        )

    def folder(self, run_folder: Path) -> Path:
        """Where the clip's stages are stored."""
        return run_folder / "clips" / f"{self.index:04d}"


def is_long(num_frames: int, optim: OptimConfig) -> bool:
    """Whether a video is divided into clips."""
    return num_frames > optim.whole_frames


def divide(num_frames: int, optim: OptimConfig) -> tuple[Clip, ...]:
    """Clips of equal length that overlap by `clip_overlap` frames or more, and meet in the middle of the overlap.

    There are as few as possible, and these as short as possible.
    """
    overlap = optim.clip_overlap
    count = max(1, -(-(num_frames - overlap) // (optim.clip_frames - overlap)))
    length = -(-(num_frames + (count - 1) * overlap) // count)
    steps = max(count - 1, 1)
    starts = [index * (num_frames - length) // steps for index in range(count)]
    meets = [(a + length + b) // 2 for a, b in pairwise(starts)]
    bounds = [0, *meets, num_frames]
    return tuple(
        Clip(index, first, first + length, bounds[index], bounds[index + 1])
        for index, first in enumerate(starts)
    )


def settled(
    clips: tuple[Clip, ...], is_posed: list[Bool[np.ndarray, " frames"]]
) -> tuple[Clip, ...]:
    """The same clips; neighbours meet where most frames get a pose from the clip that they belong to.

    Beside a cut or a blank part one of two clips sees too little: the frames that both see then belong to the other.

    Args:
        clips: As divided.
        is_posed: Whether each clip's frames have a pose in it.
    """
    bounds = [0]
    for at, (here, there) in enumerate(pairwise(clips)):
        possible = np.arange(max(there.first, bounds[-1] + 1), min(here.last, there.last - 1) + 1)
        first = [is_posed[at][: meet - here.first].sum() for meet in possible]
        then = [is_posed[at + 1][meet - there.first :].sum() for meet in possible]
        best = np.add(first, then)
        away = np.abs(possible - here.own_last)
        bounds.append(int(possible[np.lexsort((away, -best))[0]]))
    return with_bounds(clips, [*bounds, clips[-1].last])


def with_bounds(clips: tuple[Clip, ...], bounds: Sequence[int]) -> tuple[Clip, ...]:
    """The same clips, where clip k has the frames bounds[k] to bounds[k + 1] - 1 for its own."""
    own = zip(clips, pairwise(bounds), strict=True)
    return tuple(replace(clip, own_first=first, own_last=last) for clip, (first, last) in own)
