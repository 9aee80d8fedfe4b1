"""Why no two frames of a video could be related: measured on some of them, and which option is the likely remedy.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Video
from recon4d.flow.matches import MIN_INLIERS, agreeing
from recon4d.flow.views import FrameView, FrameViews

LOOKED_AT = 12
"""Neighbouring pairs of frames that are looked at, spread evenly."""
BLANK = 0.02
"""Part of a frame's samples with texture below which it is blank."""
BLACK = 16.0
"""Mean grey value below which a blank frame is called black: black of video at studio range."""
USUAL_SIZE_PX = 512
"""Long side of the working size by default; below, fine texture is lost before flow is measured."""
SIDE_STEP_PX = 8
"""Sides of the working size are multiples of this: a side that is nearer to the input's cannot be larger."""
REPEATED = ("repeated_timestamps", "truncated_video")
"""Codes of notices of a video whose frames are apart for another reason than an option."""


@dataclass(frozen=True)
class _Looked:
    """What some frames show, and of each the next one."""

    texture: Float[np.ndarray, " frames"]
    """Part of the samples with texture."""
    gray: Float[np.ndarray, " frames"]
    """Mean grey value."""
    points: Int64[np.ndarray, " frames"]
    """Distinctive points."""
    again: Int64[np.ndarray, " frames"]
    """Of these, so many are found in the next frame, and move together."""


def why_unrelated(video: Video) -> str:
    """What was measured of a video whose frames could not be related, and what to do."""
    views = FrameViews(video.images, capacity=2)
    starts = spread_evenly(video.num_frames - 1, LOOKED_AT).tolist()
    with one_opencv_thread():
        looked = [_look(views(at), views(at + 1)) for at in starts]
    return _cause(video, _Looked(*(np.array(column) for column in zip(*looked, strict=True))))


def _look(a: FrameView, b: FrameView) -> tuple[float, float, int, int]:
    """The fields of `_Looked`."""
    texture, gray = float((a.texture > 0.5).mean()), float(a.small.mean())
    return texture, gray, len(a.features.px), agreeing(a.features, b.features)


def _cause(video: Video, looked: _Looked) -> str:
    small, apart = _small_size(video), _far_apart(video)
    points, again = int(np.median(looked.points)), int(looked.again.max())
    is_blank = looked.texture < BLANK
    if is_blank.mean() > 0.5:
        kind = "black" if looked.gray[is_blank].mean() < BLACK else "blank"
        found = f"{is_blank.sum()} of {len(is_blank)} frames that were looked at are {kind}"
        return f"{found}; choose a part of the video that shows something"
    if points < MIN_INLIERS:
        found = f"a frame has {points} distinctive points, {MIN_INLIERS} are needed"
        return _advised(found, small, "the frames are dark, blurred, noise or without texture")
    if again < MIN_INLIERS:
        found = f"of {points} distinctive points of a frame at most {again} are found in the next"
        return _advised(
            found, apart or small, "the frames show different places, or the camera is too fast"
        )
    found = f"{again} points of a frame are found in the next, but no camera explains their motion"
    return _advised(found, small or apart, "most of what the frames show moves, or bends")


def _advised(found: str, remedy: str, otherwise: str) -> str:
    return f"{found}: {remedy}, or {otherwise}" if remedy else f"{found}: {otherwise}"


def _small_size(video: Video) -> str:
    width, height = video.size
    usual_px = min(USUAL_SIZE_PX, max(video.source_size))  # nothing is enlarged
    if usual_px - max(width, height) < SIDE_STEP_PX:
        return ""
    return (
        f"the working size of {width}x{height} px is likely too small (try --size {USUAL_SIZE_PX})"
    )


def _far_apart(video: Video) -> str:
    apart = int(np.diff(video.source_indices).min()) if len(video.source_indices) > 1 else 1
    if apart <= 1 or any(notice.code in REPEATED for notice in video.notices):
        return ""  # no option has the others
    return f"the frames are {apart} apart in the input (keep more of them, by --stride or --fps)"
