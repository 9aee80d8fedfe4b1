"""Region similarity J and contour accuracy F of the DAVIS benchmark (Perazzi et al., CVPR 2016)."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

BOUND = 0.008
"""Tolerance of the contour as a share of the image's diagonal (DAVIS)."""
RECALL_ABOVE = 0.5
"""A frame whose value is above counts as found (DAVIS)."""
QUARTERS = 4
"""Parts of a sequence whose first and last give the decay (DAVIS)."""

Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Statistics:
    """How a per-frame measure does over a sequence."""

    mean: float
    recall: float
    """Share of the frames above 0.5."""
    decay: float
    """Mean of the first quarter minus mean of the last."""


def jaccard(prediction: Mask, truth: Mask, void: Mask | None = None) -> float:
    """Intersection over union; 1 where both are empty. Void pixels do not count."""
    counts = np.ones_like(truth) if void is None else ~void
    union = ((prediction | truth) & counts).sum()
    return float((prediction & truth & counts).sum() / union) if union else 1.0


def contour_f(
    prediction: Mask, truth: Mask, void: Mask | None = None, bound: float = BOUND
) -> float:
    """F measure of precision and recall of the contour; 1 where neither has one, 0 where one has.

    Args:
        prediction: Predicted mask.
        truth: True mask.
        void: Pixels that belong to neither.
        bound: Tolerance: below 1 a share of the diagonal, else pixels.
    """
    counts = np.ones_like(truth) if void is None else ~void
    found, wanted = contour(prediction & counts), contour(truth & counts)
    if not found.any() or not wanted.any():
        return float(not found.any() and not wanted.any())
    disk = _disk(tolerance_px(truth.shape, bound))
    precision = found[_grow(wanted, disk)].sum() / found.sum()
    recall = wanted[_grow(found, disk)].sum() / wanted.sum()
    total = float(precision + recall)
    return float(2 * precision * recall / total) if total else 0.0


def contour(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower-right neighbour."""
    right, lower, across = (np.zeros_like(mask) for _ in range(3))
    right[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    lower[:-1] = mask[:-1] ^ mask[1:]
    across[:-1, :-1] = mask[:-1, :-1] ^ mask[1:, 1:]
    return np.asarray(right | lower | across)


def tolerance_px(shape: tuple[int, ...], bound: float = BOUND) -> int:
    """Tolerance of the contour in pixels of an image of a shape (height, width)."""
    return int(bound if bound >= 1 else np.ceil(bound * np.linalg.norm(shape[:2])))


def statistics(values: Float[np.ndarray, " frames"]) -> Statistics:
    """Mean, recall and decay; frames without a value (NaN) are no part of the means."""
    borders = np.round(np.linspace(1, len(values), QUARTERS + 1) + 1e-10).astype(np.int64) - 1
    first = values[borders[0] : borders[1] + 1]
    last = values[borders[-2] : borders[-1] + 1]
    return Statistics(
        mean=float(np.nanmean(values)),
        recall=float((values > RECALL_ABOVE).mean()),
        decay=float(np.nanmean(first) - np.nanmean(last)),
    )


def _disk(radius: int) -> UInt8[np.ndarray, "side side"]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius, np.uint8)


def _grow(mask: Mask, disk: UInt8[np.ndarray, "side side"]) -> Mask:
    grown = cv2.dilate(mask.astype(np.uint8), disk)
    return np.asarray(grown, np.bool_)
