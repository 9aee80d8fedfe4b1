"""Flow between frames 1, 2, 4, 8 and 16 apart, each step from two of half its length: movers are found again far away.

What moves turns, grows and goes farther than a search from nothing reaches. The flow of two short steps, one after the
other, says where to look; what is left is measured between the two frames themselves, so that its error is that of one
step, not of two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from recon4d.core.parallel import each, one_opencv_thread
from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import in_samples
from recon4d.core.scene import Flow
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.store import measured_flow, store_flow
from recon4d.flow.views import FrameViews, with_confidence
from recon4d.flow.warp import flow_from

OFFSETS = (1, 2, 4, 8, 16)
"""Frames apart; each twice the one before. Set by hand: things are seldom hidden for longer than half a second."""


@dataclass(frozen=True)
class Ladder:
    """Flow of frames of an image sequence, by how far they are apart."""

    num_frames: int
    steps: dict[int, Flow]
    """By frames apart."""

    def between(
        self, source: int, target: int
    ) -> tuple[Float[np.ndarray, "rows cols 2"], UInt8[np.ndarray, "rows cols"]] | None:
        """Flow and confidence from one frame to another; None where it was not measured."""
        apart = abs(target - source)
        found = self.steps.get(apart)
        if found is None or not 0 <= min(source, target) <= max(source, target) < self.num_frames:
            return None
        row = min(source, target) + (self.num_frames - apart if target < source else 0)
        return found.flow_px[row], found.confidence[row]


def flow_ladder(
    images: UInt8[np.ndarray, "frames height width 3"],
    method: FlowMethod,
    folder: Path,
    threads: int = 1,
    progress: Progress = no_progress,
    offsets: tuple[int, ...] = OFFSETS,
) -> Ladder:
    """Measure the flow of all pairs of frames that are so far apart, both ways.

    Args:
        images: At working size.
        method: Measures it.
        folder: Where it is stored, one folder for each distance.
        threads: Pairs that are worked on at the same time.
        progress: Told about every pair.
        offsets: Frames apart: 1, and each twice the one before.
    """
    count, (height, width) = len(images), images.shape[1:3]
    ladder, steps = Ladder(count, {}), [k for k in offsets if k < count]
    for apart in steps:
        own = folder / f"{apart:02d}"
        own.mkdir(parents=True)
        pairs = np.array([(n, n + apart) for n in range(count - apart)], np.int64)
        if apart == 1:
            flow = measured_flow(method, images, pairs, own, threads, progress)
        else:
            measured = _longer(images, ladder, apart, method, threads)
            flow = store_flow(measured, pairs, (width, height), own, progress)
        ladder.steps[apart] = flow
    return ladder


def _longer(
    images: UInt8[np.ndarray, "frames height width 3"],
    ladder: Ladder,
    apart: int,
    method: FlowMethod,
    threads: int,
) -> Iterator[Measured]:
    views = FrameViews(images)

    def one(n: int) -> Measured:
        a, b = n, n + apart
        there, back = (
            flow_from(method, views(m), views(k), chained(ladder, (m, (m + k) // 2, k)))
            for m, k in ((a, b), (b, a))
        )
        return n, with_confidence(there, back, views(a), views(b))

    with one_opencv_thread():
        yield from each(one, range(len(images) - apart), threads if method.at_once else 1)


def chained(ladder: Ladder, frames: tuple[int, int, int]) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow over two steps of a ladder, one after the other: from the first frame by the second to the third."""
    here, there, end = frames
    steps = ladder.between(here, there), ladder.between(there, end)
    assert steps[0] is not None and steps[1] is not None, "shorter steps are measured first"
    first, second = (step[0].astype(np.float32) for step in steps if step is not None)
    rows, cols = first.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1).astype(np.float32)
    at = grid + in_samples(first)
    then = cv2.remap(
        second, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(first + then, np.float32)
