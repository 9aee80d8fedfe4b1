"""From soft probabilities at half size to masks at working size, with whole objects and borders on image edges."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.parallel import each
from recon4d.progress import Progress, no_progress
from recon4d.scene import MotionMasks, Video

BAND = 6
"""Half width of the band around the border that GrabCut decides, `Flow` samples: what motion blur and occlusion hide."""
SURE = 0.94
"""Above this probability the colours have no say: they would trade heads and feet for background of their colour."""
MIN_AREA = 4e-4
"""Components smaller than this part of the image are specks."""
MIN_PEAK = 0.9
"""A component without a pixel of at least this probability is noise."""
GRABCUT_STEPS = 2
"""Rounds of colour models and cuts."""


def refine_none(video: Video, motion: MotionMasks) -> Bool[np.ndarray, "frames height width"]:
    """Threshold at 0.5 at working size."""
    return np.stack([_enlarge(p, video.size) > 0.5 for p in motion.probability])


def refine_edges(
    video: Video, motion: MotionMasks, threads: int = 2, progress: Progress = no_progress
) -> Bool[np.ndarray, "frames height width"]:
    """Snap the borders to image edges by GrabCut (Rother et al., SIGGRAPH 2004) in a band, drop specks, fill holes."""
    width, height = video.size
    out = np.zeros((video.num_frames, height, width), bool)

    def one(frame: int) -> None:
        out[frame] = refine_frame(video.images[frame], motion.probability[frame])

    with progress("refine", total=video.num_frames) as counter:
        for _ in each(one, range(video.num_frames), threads):
            counter.advance()
    return out


def refine_frame(
    image: UInt8[np.ndarray, "height width 3"], probability: Float32[np.ndarray, "rows cols"]
) -> Bool[np.ndarray, "height width"]:
    """Refined mask of one frame."""
    mask = whole_objects(probability)
    if not mask.any():
        return np.zeros(image.shape[:2], bool)
    rows, cols = probability.shape
    small = cv2.resize(np.ascontiguousarray(image), (cols, rows), interpolation=cv2.INTER_AREA)
    mask = _cut(small, mask, probability)
    mask = whole_objects(np.where(mask, np.maximum(probability, 0.51), 0).astype(np.float32))
    return _enlarge(mask.astype(np.float32), (image.shape[1], image.shape[0])) > 0.5


def whole_objects(probability: Float32[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """Threshold, close gaps, fill holes, and drop components that are small or nowhere sure."""
    mask = (probability > 0.5).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc)
    mask = cv2.morphologyEx(
        mask, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    )
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes_below = MIN_AREA * 4 * mask.size
    small = [c for c in contours if cv2.contourArea(c) < holes_below]
    filled = mask.copy()
    cv2.drawContours(filled, small, -1, 1, thickness=cv2.FILLED)
    mask = np.where(mask > 0, mask, filled)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    keep = np.zeros(count, bool)
    for label in range(1, count):
        peak = probability[labels == label].max()
        keep[label] = stats[label, cv2.CC_STAT_AREA] >= MIN_AREA * mask.size and peak >= MIN_PEAK
    return keep[labels]


def _cut(
    small: UInt8[np.ndarray, "rows cols 3"],
    mask: Bool[np.ndarray, "rows cols"],
    probability: Float32[np.ndarray, "rows cols"],
) -> Bool[np.ndarray, "rows cols"]:
    """GrabCut inside a band around the border; everything else stays."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    inner = cv2.erode(mask.astype(np.uint8), disc) > 0
    outer = cv2.dilate(mask.astype(np.uint8), disc) > 0
    if outer.all():  # no background to learn its colours from
        return mask
    trimap = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[inner | (mask & (probability > SURE))] = cv2.GC_FGD
    trimap[~outer] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # per thread: the cut starts from random clusters and must not depend on who did what before
    model_a, model_b = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, trimap, None, model_a, model_b, GRABCUT_STEPS, cv2.GC_INIT_WITH_MASK)
    return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _enlarge(
    values: Float32[np.ndarray, "rows cols"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
