"""Flow on disk: pairs go into memory maps one by one, so that memory does not grow with them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from recon4d.core.arrays import create_array
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import FLOW_STRIDE, Flow

Measured = tuple[int, tuple[np.ndarray, np.ndarray]]
"""Index of a pair and `(flow, confidence)` of both directions: (2, rows, cols, 2) float16 and (2, rows, cols) uint8."""


def store_flow(
    measured: Iterable[Measured],
    pairs: Int64[np.ndarray, "pairs 2"],
    size: tuple[int, int],
    folder: Path,
    progress: Progress = no_progress,
) -> Flow:
    """Write flow to `folder` as it is measured.

    Args:
        measured: Every pair once, in any order.
        pairs: Unordered pairs of frames.
        size: Height and width of the images, pixels.
        folder: Where the memory maps are written.
        progress: Told about every pair.
    """
    shape = (2 * len(pairs), size[0] // FLOW_STRIDE, size[1] // FLOW_STRIDE)
    flow_px = create_array(folder / "flow_px.npy", np.float16, (*shape, 2))
    confidence = create_array(folder / "confidence.npy", np.uint8, shape)
    with progress("flow", total=len(pairs)) as counter:
        for index, (flows, sure) in measured:
            flow_px[index], flow_px[index + len(pairs)] = flows
            confidence[index], confidence[index + len(pairs)] = sure
            counter.advance()
    return Flow(np.concatenate((pairs, pairs[:, ::-1])), flow_px, confidence)
