"""Which frames are compared with which, and where their flow is written, whatever measures it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from recon4d.io.growing import create_array
from recon4d.progress import Progress
from recon4d.scene import FLOW_STRIDE, Flow

WINDOW_OFFSETS = (1, 2, 3, 5, 8)
"""Frames apart. Short offsets carry the flow's precision, long ones the parallax."""


def window_pairs(
    num_frames: int, offsets: tuple[int, ...] = WINDOW_OFFSETS
) -> Int64[np.ndarray, "pairs 2"]:
    """Unordered pairs (n, n + offset), sorted by n, then by offset."""
    pairs = [(n, n + k) for n in range(num_frames) for k in offsets if n + k < num_frames]
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)


def write_flow(
    found: Iterable[tuple[int, tuple[np.ndarray, np.ndarray]]],
    size: tuple[int, ...],
    pairs: Int64[np.ndarray, "pairs 2"],
    folder: Path,
    progress: Progress,
) -> Flow:
    """Write flow to a folder pair by pair, so that memory does not grow with the pairs.

    Args:
        found: Index of a pair, and flow and confidence in both directions, see `recon4d.flow.dis.flow_pairs`.
        size: (height, width) of the frames.
        pairs: Unordered.
        folder: Gets `flow_px.npy` and `confidence.npy`.
        progress: Told about every pair.
    """
    shape = (2 * len(pairs), size[0] // FLOW_STRIDE, size[1] // FLOW_STRIDE)
    flow_px = create_array(folder / "flow_px.npy", np.float16, (*shape, 2))
    confidence = create_array(folder / "confidence.npy", np.uint8, shape)
    with progress("flow", total=len(pairs)) as counter:
        for index, (flows, sure) in found:
            flow_px[index], flow_px[index + len(pairs)] = flows
            confidence[index], confidence[index + len(pairs)] = sure
            counter.advance()
    return Flow(np.concatenate((pairs, pairs[:, ::-1])), flow_px, confidence)
