"""A plausible depth for what moves: an upright surface at the depth of the ground that it stands on.

Flow cannot tell the depth of an independently moving object. Where its picture ends at the bottom it touches the
static world (feet on the floor, a hand on the table), so each connected region takes the static depth below its lowest
part, but never lies behind what surrounds it. `recon4d.optim.dense.moving` joins what the regions of all frames say.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32

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


@dataclass(frozen=True)
class Regions:
    """What moves in one frame, in connected pieces."""

    labels: Int32[np.ndarray, "rows cols"]
    """Which region a sample belongs to, from 1; 0 = none."""
    level: Float32[np.ndarray, " regions"]
    """Inverse depth that each should have, as this frame alone says."""
    stands: Bool[np.ndarray, " regions"]
    """Whether that is the ground's where it is touched; else it is at least so near."""
    area: Float32[np.ndarray, " regions"]
    """Samples of each."""


def moving_regions(
    inverse_depth: Float32[np.ndarray, "rows cols"], probability: Float32[np.ndarray, "rows cols"]
) -> Regions:
    """Find the moving regions of a frame and what their surroundings say of their depth.

    Args:
        inverse_depth: Of the static world, completed behind the movers.
        probability: That a pixel moves.
    """
    moving = probability > MOVING
    count, found, boxes, _ = cv2.connectedComponentsWithStats(
        moving.astype(np.uint8), connectivity=8
    )
    labels = np.zeros(moving.shape, np.int32)
    levels, stands, areas = [], [], []
    for label in range(1, count):
        if boxes[label, cv2.CC_STAT_AREA] < MIN_PIXELS:
            continue
        region = found == label
        behind = float(np.median(inverse_depth[region]))
        least, ground = _around(inverse_depth, region, ~moving, boxes[label])
        least = max(behind, least)
        levels.append(max(least, ground))
        stands.append(ground >= least)
        areas.append(boxes[label, cv2.CC_STAT_AREA])
        labels[region] = len(levels)
    return Regions(
        labels, np.array(levels, np.float32), np.array(stands, bool), np.array(areas, np.float32)
    )


def placed(
    inverse_depth: Float32[np.ndarray, "rows cols"],
    labels: Int32[np.ndarray, "rows cols"],
    level: Float32[np.ndarray, " regions"],
) -> Float32[np.ndarray, "rows cols"]:
    """The static world with the regions in it, upright and not behind what they hide."""
    upright = np.concatenate((np.zeros(1, np.float32), level))[labels]
    return np.asarray(np.maximum(upright, inverse_depth))


def _around(
    inverse_depth: Float32[np.ndarray, "rows cols"],
    region: Bool[np.ndarray, "rows cols"],
    static: Bool[np.ndarray, "rows cols"],
    box: np.ndarray,
) -> tuple[float, float]:
    """Inverse depth that a region is in front of, and that of the ground that it touches; 0 where there is none."""
    rows = region.shape[0]
    top, height = int(box[cv2.CC_STAT_TOP]), int(box[cv2.CC_STAT_HEIGHT])
    inner = cv2.dilate(region.astype(np.uint8), np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8))
    reach = 2 * (GAP + RING) + 1
    outer = cv2.dilate(region.astype(np.uint8), np.ones((reach, reach), np.uint8))
    ring = (outer > inner) & static
    if not ring.any():
        return 0.0, 0.0
    behind = float(np.quantile(inverse_depth[ring], IN_FRONT_OF))
    bottom = top + height
    contact = ring.copy()
    contact[: bottom - max(int(CONTACT_SHARE * height), 1)] = False
    if not contact.any():
        return behind, 0.0
    if bottom >= rows - 1:
        return max(behind, float(np.quantile(inverse_depth[contact], NEAREST))), 0.0
    return behind, float(np.quantile(inverse_depth[contact], AT_CONTACT))
