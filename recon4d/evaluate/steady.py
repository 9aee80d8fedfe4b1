"""How steady masks are: no truth is needed."""

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.core.sampling import ONE_PER_CELL, sample_index, sample_px
from recon4d.evaluate.masks import jaccard
from recon4d.flow import FlowMethod, window_pairs
from recon4d.results.result import Result


def steadiness(result: Result, method: FlowMethod, threads: int) -> float | None:
    """Mean overlap (J) of every mask with the one before, carried along the flow; None where nothing moves."""
    pairs = window_pairs(len(result), (1,))
    overlaps = []
    for at, (flow_px, _) in method.pairs(result.images, pairs, threads):
        before, here = (result.is_dynamic[frame][ONE_PER_CELL] for frame in pairs[at])
        back_px = flow_px[1]  # of every sample of the later frame
        carried = _carried(before[: back_px.shape[0], : back_px.shape[1]], back_px)
        here = here[: back_px.shape[0], : back_px.shape[1]]
        if carried.any() or here.any():
            overlaps.append(jaccard(carried, here))
    return float(np.mean(overlaps)) if overlaps else None


def _carried(
    mask: Bool[np.ndarray, "rows cols"], back_px: np.ndarray
) -> Bool[np.ndarray, "rows cols"]:
    """A mask as another frame sees it, whose flow leads back to the mask's."""
    at = sample_index(sample_px(*mask.shape) + back_px.astype(np.float32))
    levels = mask.astype(np.float32)
    x, y = (np.ascontiguousarray(at[..., axis], np.float32) for axis in range(2))
    return np.asarray(cv2.remap(levels, x, y, cv2.INTER_LINEAR) > 0.5)
