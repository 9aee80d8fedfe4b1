"""What is said of a video none of whose frames could be related: the likely cause is often an option.

Numbers here that name no source were set by hand.
"""

import numpy as np

from recon4d.core.errors import DegenerateError
from recon4d.core.scene import Video

USUAL_SIZE_PX = 512
"""Long side of the working size by default; below, fine texture is lost before flow is measured."""
SIDE_STEP_PX = 8
"""Sides of the working size are multiples of this: a side that is nearer to the input's cannot be larger."""


def unrelated_frames(video: Video) -> DegenerateError:
    """The error for a video no two frames of which optical flow relates."""
    causes = [*_small_size(video), *_far_apart(video)]
    if causes:
        check = f"{' and '.join(causes)}; or is the video black, blank, or too fast?"
    else:
        check = "check that the video is not black, blank, or too fast"
    return DegenerateError(
        f"no two of the {video.num_frames} frames could be related by optical flow; recon4d needs frames with texture "
        f"and overlap: {check}"
    )


def _small_size(video: Video) -> list[str]:
    width, height = video.size
    usual_px = min(USUAL_SIZE_PX, max(video.source_size))  # nothing is enlarged
    if usual_px - max(width, height) < SIDE_STEP_PX:
        return []
    return [
        f"the working size of {width}x{height} px is likely too small (try --size {USUAL_SIZE_PX})"
    ]


def _far_apart(video: Video) -> list[str]:
    apart = int(np.diff(video.source_indices).min()) if len(video.source_indices) > 1 else 1
    left_out = {notice.code for notice in video.notices} & {
        "repeated_timestamps",
        "truncated_video",
    }
    if apart <= 1 or left_out:  # no option has the others
        return []
    return [f"the frames are {apart} apart in the input (keep more of them, by --stride or --fps)"]
