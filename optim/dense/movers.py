"""A plausible depth for what moves: an upright surface at the depth of the ground that it stands on.

Flow cannot tell the depth of an independently moving object. Where its picture ends at the bottom it touches the
static world (feet on the floor, a hand on the table), so each connected region takes the static depth below its lowest
part, but never lies behind what surrounds it.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

MOVING = 0.5
"""Probability from which on a pixel belongs to a moving region."""
MIN_PIXELS = 12
"""Smaller regions are noise of the mask: they keep the static depth."""
CONTACT_SHARE = 0.1
"""Lowest part of a region's height that is taken to touch the ground."""
RING = 3
"""Pixels around a region that count as its surroundings, beyond `GAP`."""
GAP = 2
"""Pixels next to a region that are skipped: the static depth there is blurred by the mover's own flow."""
IN_FRONT_OF = 0.6
"""Share of the surroundings that a region is in front of: not all, for something static may hide its lower part."""
AT_CONTACT = 0.5
"""Quantile of the inverse depth below the lowest part: the median."""
NEAREST = 0.9
"""Quantile for regions that the image's lower border cuts: what they stand on is nearer than all that is seen."""


def moving_depth(
    inverse_depth: Float32[np.ndarray, "rows cols"], probability: Float32[np.ndarray, "rows cols"]
) -> tuple[Float32[np.ndarray, "rows cols"], Bool[np.ndarray, "rows cols"]]:
    """Give every moving region of one frame an inverse depth.

    Args:
        inverse_depth: Of the static world, completed behind the movers.
        probability: That a pixel moves.

    Returns:
        The inverse depth with the regions in it, and the pixels of these regions.
    """
    moving = probability > MOVING
    result, placed = inverse_depth.copy(), np.zeros_like(moving)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        moving.astype(np.uint8), connectivity=8
    )
    for label in range(1, count):
        if boxes[label, cv2.CC_STAT_AREA] < MIN_PIXELS:
            continue
        region = labels == label
        level = max(
            _level(inverse_depth, region, ~moving, boxes[label]),
            float(np.quantile(inverse_depth[region], 0.5)),
        )
        result[region] = np.maximum(level, inverse_depth[region])
        placed |= region
    return result, placed


def _level(
    inverse_depth: Float32[np.ndarray, "rows cols"],
    region: Bool[np.ndarray, "rows cols"],
    static: Bool[np.ndarray, "rows cols"],
    box: np.ndarray,
) -> float:
    rows = region.shape[0]
    top, height = int(box[cv2.CC_STAT_TOP]), int(box[cv2.CC_STAT_HEIGHT])
    inner = cv2.dilate(region.astype(np.uint8), np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8))
    reach = 2 * (GAP + RING) + 1
    outer = cv2.dilate(region.astype(np.uint8), np.ones((reach, reach), np.uint8))
    ring = (outer > inner) & static
    if not ring.any():
        return float(np.median(inverse_depth[region]))
    behind = float(np.quantile(inverse_depth[ring], IN_FRONT_OF))
    bottom = top + height
    is_cut = bottom >= rows - 1
    contact = ring.copy()
    contact[: bottom - max(int(CONTACT_SHARE * height), 1)] = False
    if not contact.any():
        return behind
    ground = float(np.quantile(inverse_depth[contact], NEAREST if is_cut else AT_CONTACT))
    return max(ground, behind)
