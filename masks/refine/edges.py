"""From soft probabilities at half size to masks at working size, with whole objects and borders on image edges.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.parallel import each
from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import shrink
from recon4d.core.scene import MotionMasks, Video
from recon4d.masks import FinalMasks, Refiner, Seen
from recon4d.weights.resolve import Resources

MIN_AREA = 4e-4
"""Components smaller than this part of the image are specks."""
MAX_HOLE = 1.6e-3
"""Enclosed static parts smaller than this part of the image belong to the object."""
CLOSE = 5
"""Gaps up to this width are closed, `Flow` samples."""
OPEN = 3
"""Threads thinner than this are cut, `Flow` samples."""
MIN_PEAK = 0.9
"""A component without a pixel of at least this probability is noise."""
BORDER_COLS = 256
"""Width in samples of the pictures that `MotionMasks.border` is for (512 px). In smaller ones objects are as much
smaller, and a band as wide would leave nothing of them to learn colours from: mean J with the band in proportion on
`exact_dancer` and DAVIS `dog` at 160 px .57 and .42 (.44 and .28 with the whole), DAVIS `parkour` at 192 px .63 (.40),
`exact_crowd` and `dog` at 256 px .71 and .80 (.69 and .80)."""
GRABCUT_STEPS = 2
"""Rounds of colour models and cuts."""


def refine_edges(
    video: Video,
    motion: MotionMasks,
    threads: int = 2,
    progress: Progress = no_progress,
    seed: int = 0,
) -> Bool[np.ndarray, "frames height width"]:
    """Snap the borders to image edges by GrabCut (Rother et al., SIGGRAPH 2004) in a band, drop specks, fill holes."""
    width, height = video.size
    out = np.zeros((video.num_frames, height, width), bool)

    def one(frame: int) -> None:
        out[frame] = refine_frame(video.images[frame], motion, frame, seed)

    with progress("refine", total=video.num_frames) as counter:
        for _ in each(one, range(video.num_frames), threads):
            counter.advance()
    return out


def refine_frame(
    image: UInt8[np.ndarray, "height width 3"], motion: MotionMasks, frame: int, seed: int = 0
) -> Bool[np.ndarray, "height width"]:
    """Refined mask of one frame; `seed` of the first clusters of colours."""
    probability = motion.probability[frame]
    mask = whole_objects(probability)
    if not mask.any():
        return np.zeros(image.shape[:2], bool)
    band = _band(mask, probability, motion)
    mask = _cut(shrink(image), mask, band, seed)
    mask = drop_specks(_fill_holes(mask), probability)
    return enlarge(mask.astype(np.float32), (image.shape[1], image.shape[0])) > 0.5


def whole_objects(probability: Float32[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """Threshold, close gaps, fill holes, and drop components that are small or nowhere sure."""
    mask = (probability > 0.5).astype(np.uint8)
    for operation, size in ((cv2.MORPH_CLOSE, CLOSE), (cv2.MORPH_OPEN, OPEN)):
        mask = np.asarray(cv2.morphologyEx(mask, operation, _disc(size)), np.uint8)
    return drop_specks(_fill_holes(mask > 0), probability)


def _fill_holes(mask: Bool[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    small = [c for c in contours if cv2.contourArea(c) < MAX_HOLE * mask.size]
    filled = mask.astype(np.uint8)
    cv2.drawContours(filled, small, -1, 1, thickness=cv2.FILLED)
    return mask | (filled > 0)


def drop_specks(
    mask: Bool[np.ndarray, "rows cols"], probability: Float32[np.ndarray, "rows cols"]
) -> Bool[np.ndarray, "rows cols"]:
    """Without the components that are small or nowhere sure."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * mask.size
    keep[0] = False
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, labels.reshape(-1).astype(np.intp), probability.reshape(-1))
    return np.asarray((keep & (peak >= MIN_PEAK))[labels], bool)


def _disc(size: int) -> UInt8[np.ndarray, "side side"]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _band(
    mask: Bool[np.ndarray, "rows cols"],
    probability: Float32[np.ndarray, "rows cols"],
    motion: MotionMasks,
) -> Bool[np.ndarray, "rows cols"]:
    """Where colours decide: along the outline, as wide as it may be off, where the probability is not sure."""
    border = max(1, round(motion.border * min(1.0, probability.shape[1] / BORDER_COLS)))
    inner = cv2.erode(mask.astype(np.uint8), _disc(2 * border + 1)) > 0
    outer = cv2.dilate(mask.astype(np.uint8), _disc(2 * border + 1)) > 0
    least, most = motion.unsure
    is_sure = np.where(mask, inner | (probability > most), ~outer | (probability < least))
    return np.asarray(~is_sure & ~(outer.all()))  # no background to learn its colours from: no band


def _cut(
    small: UInt8[np.ndarray, "rows cols 3"],
    mask: Bool[np.ndarray, "rows cols"],
    band: Bool[np.ndarray, "rows cols"],
    seed: int,
) -> Bool[np.ndarray, "rows cols"]:
    """GrabCut inside a band; everything else stays."""
    if not band.any():
        return mask
    trimap = np.where(mask, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    trimap[band & mask], trimap[band & ~mask] = cv2.GC_PR_FGD, cv2.GC_PR_BGD
    cv2.setRNGSeed(
        seed % 2**31
    )  # per thread: the cut starts from random clusters and must not depend on who did what before
    model_a, model_b = np.zeros((1, 65)), np.zeros((1, 65))
    everywhere = (0, 0, small.shape[1], small.shape[0])  # not read: the trimap decides
    cv2.grabCut(small, trimap, everywhere, model_a, model_b, GRABCUT_STEPS, cv2.GC_INIT_WITH_MASK)
    return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD))


def enlarge(
    values: Float32[np.ndarray, "rows cols"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """A map at the sampling of `Flow` at the working size (width, height)."""
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)


def make(resources: Resources) -> Refiner:
    """The refinement of `--refine edges`."""

    def refine(seen: Seen, motion: MotionMasks, unites: bool) -> FinalMasks:
        found = refine_edges(seen.video, motion, seen.threads, seen.progress, resources.seed)
        return FinalMasks(found)

    return refine
