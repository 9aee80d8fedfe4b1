"""A new method of optical flow, in one file: Farneback's (SCIA 2003), as OpenCV has it.

It then measures all flow of a run: of neighbours, of frames far apart with the geometry's help, of loops, and for the
check of the result. A package makes it known by an entry point:

    [project.entry-points."recon4d.flow"]
    farneback = "add_a_flow_method"

In recon4d itself it would be this file in recon4d/flow/ and one line in `FLOW` of recon4d/choices.py.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from recon4d.core.parallel import each
from recon4d.core.sampling import shrink
from recon4d.core.scene import FLOW_STRIDE
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.views import FrameView, FrameViews, looked_at, with_confidence
from recon4d.weights.resolve import Resources


class Farneback:
    """Polynomial expansion, coarse to fine."""

    at_once = True

    def pairs(
        self,
        images: UInt8[np.ndarray, "frames height width 3"],
        pairs: Int64[np.ndarray, "pairs 2"],
        threads: int,
    ) -> Iterator[Measured]:
        """Flow and confidence of every pair, there and back."""
        views = FrameViews(images)

        def one(pair: Int64[np.ndarray, "2"]) -> tuple[np.ndarray, np.ndarray]:
            a, b = (views(int(frame)) for frame in pair)
            return with_confidence(_flow(a.small, b.small), _flow(b.small, a.small), a, b)

        yield from enumerate(each(one, pairs, threads))

    def warped(
        self, first: FrameView, second: FrameView, at: Float32[np.ndarray, "height width 2"]
    ) -> Float32[np.ndarray, "rows cols 2"]:
        """What is left when the second frame has been warped by a prediction."""
        return _flow(first.small, shrink(looked_at(second.gray, at)))


def make(resources: Resources) -> FlowMethod:
    """The method; it needs no weights."""
    return Farneback()


def _flow(
    a: UInt8[np.ndarray, "rows cols"], b: UInt8[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols 2"]:
    """Pixels of the working size, of which the images have every `FLOW_STRIDE`-th."""
    start = np.zeros((*a.shape, 2), np.float32)
    found = cv2.calcOpticalFlowFarneback(a, b, start, 0.5, 4, 15, 5, 7, 1.5, 0)
    return np.asarray(found, np.float32) * FLOW_STRIDE
