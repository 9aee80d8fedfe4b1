"""In which frames a mark is there: subtitles come and go."""

import numpy as np
from jaxtyping import UInt8

from recon4d.core.arrays import runs
from recon4d.run.overlays.still import DETAIL_PX, PRESENT, Mark, around, contrast, detail

SMOOTH = 5
"""Frames over which the median of a mark's contrast is taken."""
ALWAYS = 0.8
"""Share of the frames from which on a mark is there in all of them."""
LEAST_FRAMES = 5
"""That a mark stays."""

Span = tuple[int, int]
"""First and last frame."""


def spans_of(images: UInt8[np.ndarray, "frames height width 3"], mark: Mark) -> list[Span]:
    """The frames in which a mark is there, as spans.

    Args:
        images: At working size.
        mark: Found in some of them.
    """
    box = around(mark.edges, DETAIL_PX)
    own = mark.edges[box]
    there = np.array([contrast(detail(image[box])[own], mark.usual) for image in images])
    ends = np.pad(there, SMOOTH // 2, mode="edge")
    calm = np.median(np.lib.stride_tricks.sliding_window_view(ends, SMOOTH), axis=1)
    present = calm >= PRESENT
    if present.mean() >= ALWAYS:
        return [(0, len(images) - 1)]
    return [(first, end - 1) for first, end in runs(present) if end - first >= LEAST_FRAMES]
