"""Which frames are compared: those that share enough of what they show, found from small pictures of neighbours.

Points of every frame are followed through the flow of small pictures, from each frame to the next. Where a fast pan has
taken most of them out of the picture there is nothing to compare; where they have hardly moved, frames farther apart
tell more. Between both every frame is compared with those of `WINDOW_OFFSETS`.

Numbers here that name no source were set by hand.
"""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.scene import Flow
from recon4d.flow import WINDOW_OFFSETS, window_pairs

SLOW_OFFSETS = (1, 2, 8, 16, 32)
"""Frames apart where the picture hardly moves: frames 3 and 5 apart tell nothing that those 2 and 8 apart do not. Of a
rendered walk at a tenth of its speed the cameras' error falls to .4, the masks' J rises from .03 to .89."""
BETWEEN = (3, 5)
"""Frames apart of those."""
NEAR = 3
"""Frames so near are always compared: every frame has partners, and all frames hang together."""
SHARED = 0.4
"""Part of a frame that must stay in the picture, as far as small pictures tell: below it at most .02 of the flow is
consistent (DAVIS `libby`, `drift-straight`, every 2nd frame), at .44 .46 of it (`bmx-trees`)."""
HARDLY_MOVES = 0.012
"""Median displacement `MEASURED_APART` frames apart, part of the longer side, below which the picture hardly moves."""
MEASURED_APART = 8
"""Frames apart between which that displacement is measured."""
STILL = 1 / 1024
"""The same below which it stands still, as on a tripod: frames farther apart tell nothing more of the camera."""
LONG_SIDE_PX = 96
"""Of the small pictures: their flow takes about 2 ms, and its search reaches across most of them."""
GROWS = 2.5
"""Factor by which that displacement grows up to the farthest of `SLOW_OFFSETS`: 4 of a camera that goes its way, 2 of
one that drifts, 1 of one that trembles on its place, of which frames far apart tell nothing: on rendered tripods that
tremble they took the masks' J from .91 to .47 and from .76 to .41."""
EVERY_PX = 6
"""Distance of the points that are followed, small pixels, in each direction."""

MIN_SIDE_PX = 16
"""Of the shorter side of small pictures: OpenCV's DIS needs 8, and a patch more to search in."""


def seen_pairs(images: UInt8[np.ndarray, "frames height width 3"]) -> Int64[np.ndarray, "pairs 2"]:
    """Unordered pairs of frames to compare, sorted by the first, then by how far apart they are.

    Args:
        images: Frames at working size.
    """
    inside, moved = _followed(_small_flow(images), max(SLOW_OFFSETS))
    pairs = window_pairs(len(images), SLOW_OFFSETS if _goes_slowly(moved) else WINDOW_OFFSETS)
    apart = pairs[:, 1] - pairs[:, 0]
    return np.asarray(pairs[(apart <= NEAR) | (inside[apart, pairs[:, 0]] >= SHARED)])


def _goes_slowly(moved: Float64[np.ndarray, "apart frames"]) -> bool:
    """Whether a camera goes its way so slowly that frames far apart tell more; not whether it trembles on its place.

    Args:
        moved: Of `_followed`.
    """
    farthest = len(moved) - 1
    if moved.shape[1] <= farthest:
        return False
    near, far = (float(np.median(moved[k, :-k])) for k in (MEASURED_APART, farthest))
    return STILL < near < HARDLY_MOVES and far > GROWS * near


def is_slow(flow: Flow) -> bool:
    """Whether flow is that of a picture that hardly moves: of frames far apart, none of those between."""
    apart = np.abs(flow.edges[:, 1] - flow.edges[:, 0])
    return bool((apart > NEAR).any() and not np.isin(apart, BETWEEN).any())


def _small_flow(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> Float32[np.ndarray, "steps rows cols 2"]:
    """Flow of every frame to the next, in pixels of small pictures."""
    scale = LONG_SIDE_PX / max(images.shape[1:3])
    size = tuple(
        max(MIN_SIDE_PX, round(scale * side)) for side in (images.shape[2], images.shape[1])
    )
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(0)

    def small(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows cols"]:
        gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)

    def between(
        a: UInt8[np.ndarray, "rows cols"], b: UInt8[np.ndarray, "rows cols"]
    ) -> Float32[np.ndarray, "rows cols 2"]:
        return np.asarray(dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)), np.float32)

    with one_opencv_thread():
        pictures = [small(image) for image in images]
        return np.stack([between(*pair) for pair in pairwise(pictures)])


def _followed(
    flow: Float32[np.ndarray, "steps rows cols 2"], farthest: int
) -> tuple[Float64[np.ndarray, "apart frames"], Float64[np.ndarray, "apart frames"]]:
    """Points of every frame as flow carries them over the next frames.

    Returns:
        By frames apart, 0 to `farthest`, and frame: the part of its points that has stayed in the picture so long, and
        how far they have moved (median, part of the longer side); 0 where the video ends before.
    """
    rows, cols = flow.shape[1:3]
    grid = np.mgrid[EVERY_PX // 2 : rows : EVERY_PX, EVERY_PX // 2 : cols : EVERY_PX]
    start = grid.reshape(2, -1).T[:, ::-1].astype(np.float32)
    at = np.repeat(start[None], len(flow) + 1, axis=0)
    is_inside = np.ones(at.shape[:2], bool)
    inside, moved = np.zeros((2, farthest + 1, len(at)))
    for step in range(min(farthest, len(flow))):
        at, is_inside = at[:-1], is_inside[:-1]
        col, row = np.clip(at.round().astype(np.int64), 0, (cols - 1, rows - 1)).transpose(2, 0, 1)
        at = at + flow[step:][np.arange(len(at))[:, None], row, col]
        is_inside = is_inside & ((at >= -0.5) & (at < (cols - 0.5, rows - 0.5))).all(-1)
        inside[step + 1, : len(at)] = is_inside.mean(1)
        length = np.linalg.norm(at - start, axis=-1)
        moved[step + 1, : len(at)] = np.median(length, axis=1) / max(rows, cols)
    return inside, moved
