"""What sticks to the picture: bars, logos, clocks, subtitles, a rig's edge. Neither the static world nor a mover.

Found over time, before anything is measured: edges that stay where they are to a fraction of a pixel while the picture
around them moves (`still`), the even areas that they enclose (`regions`), and dark bars along the border (`bars`),
which need no motion. A camera on a tripod cannot tell an overlay from the scene: nothing is found then.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice, Overlay
from recon4d.run.overlays.bars import dark_bars
from recon4d.run.overlays.presence import Span, spans_of
from recon4d.run.overlays.regions import covered
from recon4d.run.overlays.still import (
    FEWEST_FRAMES,
    SOME_FRAMES,
    WHOLE_VIDEO,
    Limits,
    Mark,
    dilated,
    still_marks,
)

MOST_FRAMES = 32
"""That are looked at over the whole video: what is there all the time is seen in any of them."""
PIECE, STEP = 24, 12
"""Frames of a piece in which what is there for a while is looked for, and from one piece to the next: subtitles stay
for one second or more."""
PIECE_STRIDE = 2
"""Every how many frames of a piece are looked at."""
BESIDE_PX = 6
"""Edges so near to what is known are its own: letters that cannot be told from their ground in all frames."""
JOINED = 3
"""Frames that the ends of two parts may be apart to be one part."""

Images = UInt8[np.ndarray, "frames height width 3"]


def find_overlay(images: Images) -> Overlay | None:
    """What sticks to the picture of a video; None where nothing does.

    Args:
        images: At working size.
    """
    whole = (0, len(images) - 1)
    with one_opencv_thread():
        found: list[tuple[Bool[np.ndarray, "height width"], Span]] = []
        bars = dark_bars(images)
        if bars.any():
            found.append((bars, whole))
        for mark, area in _marks(images, bars):
            found += [(area, span) for span in spans_of(images, mark)]
    return _joined(found, len(images))


def overlay_notices(overlay: Overlay | None) -> tuple[Notice, ...]:
    """What the user is told of it."""
    if overlay is None:
        return ()
    frames = overlay.frames
    when = "" if frames is None else f" in {len(frames)} of the frames"
    message = (
        f"{overlay.share:.1%} of the picture{when} is an overlay (bars, a logo, a clock, subtitles, a part of the "
        "camera's rig): it does not move with the picture, counts as neither static nor moving, and has no depth; "
        "overlay.png shows where it is."
    )
    return (Notice("overlay", message, () if frames is None else tuple(frames)),)


def _marks(
    images: Images, bars: Bool[np.ndarray, "height width"]
) -> list[tuple[Mark, Bool[np.ndarray, "height width"]]]:
    """Those of the whole video, then those that are there for a while; each with the pixels that it covers."""
    count, known = len(images), dilated(bars, BESIDE_PX)
    found: list[tuple[Mark, np.ndarray]] = []

    def look(frames: Int64[np.ndarray, " chosen"], limits: Limits) -> None:
        if len(frames) < FEWEST_FRAMES:
            return
        for mark in still_marks(images, frames, limits, known):
            area = covered(mark)
            found.append((mark, area))
            known[dilated(area, BESIDE_PX)] = True

    look(spread_evenly(count, MOST_FRAMES), WHOLE_VIDEO)
    for first in range(0, count - STEP if count >= 2 * PIECE else 0, STEP):
        look(np.arange(first, min(first + PIECE, count), PIECE_STRIDE), SOME_FRAMES)
    return found


def _joined(
    found: Sequence[tuple[Bool[np.ndarray, "height width"], Span]], count: int
) -> Overlay | None:
    """One part for all that is there at the same time."""
    parts: list[np.ndarray] = []
    spans: list[Span] = []
    for area, span in found:
        same = (
            at for at, other in enumerate(spans) if np.abs(np.subtract(span, other)).max() <= JOINED
        )
        at = next(same, None)
        if at is None:
            parts.append(area)
            spans.append(span)
        else:
            parts[at] = parts[at] | area
            spans[at] = (min(span[0], spans[at][0]), max(span[1], spans[at][1]))
    if not parts:
        return None
    return Overlay(np.stack(parts), np.array(spans, np.int64), count)
