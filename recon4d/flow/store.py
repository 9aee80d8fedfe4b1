"""Flow on disk: pairs go into memory maps one by one, so that memory does not grow with them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from recon4d.core.arrays import create_array
from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import sample_shape
from recon4d.core.scene import Flow
from recon4d.flow import FlowMethod, Measured


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
        size: (width, height) of the images, pixels.
        folder: Where the memory maps are written.
        progress: Told about every pair.
    """
    shape = (2 * len(pairs), *sample_shape(size))
    flow_px = create_array(folder / "flow_px.npy", np.float16, (*shape, 2))
    confidence = create_array(folder / "confidence.npy", np.uint8, shape)
    with progress("flow", total=len(pairs)) as counter:
        for index, (flows, sure) in measured:
            flow_px[index], flow_px[index + len(pairs)] = flows
            confidence[index], confidence[index + len(pairs)] = sure
            counter.advance()
    return Flow(np.concatenate((pairs, pairs[:, ::-1])), flow_px, confidence)


def measured_flow(
    method: FlowMethod,
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    folder: Path,
    threads: int,
    progress: Progress = no_progress,
) -> Flow:
    """Flow of unordered pairs of different frames in both directions, as `store_flow`.

    Args:
        method: Measures it.
        images: At working size.
        pairs: Of frames.
        folder: Where the memory maps are written, pair by pair.
        threads: That measure at the same time.
        progress: Told about every pair.
    """
    height, width = images.shape[1:3]
    return store_flow(
        method.pairs(images, pairs, threads), pairs, (width, height), folder, progress
    )
