"""From the edges of a mark to the pixels that it covers."""

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.run.overlays.still import GAP, Mark, dilated

OUTLINE = 0.3
"""Share of a gradient's power that is its mean, of an edge between a mark and what passes behind it."""
LIKELY = 0.4
"""... of an edge beside those of a mark that is its own: a letter that its ground hides for a while."""
ENCLOSED = 0.85
"""Share of an even area's outline that must be edges that stay; the border of the picture is none of it."""
OUTLINE_PX = 2
"""How far its outline may be from them."""


def covered(mark: Mark) -> Bool[np.ndarray, "height width"]:
    """The pixels of a mark: its edges, the gaps between them, and the even areas that they enclose."""
    side = max(mark.edges.shape)
    gap = tuple(2 * round(part * side / 4) + 1 for part in GAP)
    edges = _grown(mark, gap).astype(np.uint8)
    closed = np.asarray(cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones(gap))) > 0
    area = (closed | _enclosed(mark)).astype(np.uint8)
    # gradients reach beyond the edge: on a drawn logo and lower third this leaves 3 % too much
    return np.asarray(cv2.erode(area, np.ones((3, 3)))) > 0


def _grown(mark: Mark, gap: tuple[int, ...]) -> Bool[np.ndarray, "height width"]:
    """The edges of a mark, and likely ones that continue its lines, of letters, to the right and to the left."""
    rows, cols = np.nonzero(mark.edges)
    high = int(np.ptp(rows))
    likely = np.zeros(mark.edges.shape, bool)
    lines = slice(rows.min(), rows.max() + 1), slice(max(cols.min() - high, 0), cols.max() + high)
    likely[lines] = mark.steady[lines] > LIKELY
    both = (mark.edges | likely).astype(np.uint8)
    _, labels = cv2.connectedComponents(cv2.morphologyEx(both, cv2.MORPH_CLOSE, np.ones(gap)))
    return np.asarray(mark.edges | (likely & np.isin(labels, np.unique(labels[mark.edges]))))


def _enclosed(mark: Mark) -> Bool[np.ndarray, "height width"]:
    """Even areas whose outline is of the mark's edges."""
    own, near = (dilated(e, OUTLINE_PX) for e in (mark.edges, mark.steady > OUTLINE))
    out = np.zeros(mark.edges.shape, bool)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(
        (mark.even & ~mark.edges).astype(np.uint8), connectivity=4
    )
    touching = np.unique(labels[own])
    for piece in touching[touching > 0]:
        left, top, wide, high, _ = boxes[piece]
        box = (
            slice(max(top - OUTLINE_PX, 0), top + high + OUTLINE_PX),
            slice(max(left - OUTLINE_PX, 0), left + wide + OUTLINE_PX),
        )
        area = labels[box] == piece
        outline = dilated(area, 1) & ~area
        if outline.any() and near[box][outline].mean() >= ENCLOSED:
            out[box] |= dilated(area, OUTLINE_PX)
    return out
