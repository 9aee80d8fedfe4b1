"""Dense inverse search flow (Kroeger et al., ECCV 2016; OpenCV's DIS), forward and backward, with a confidence."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float16, Float32, Int64, UInt8

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.sampling import shrink
from recon4d.core.scene import FLOW_STRIDE
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.matched import flow_of_pairs
from recon4d.flow.views import FrameView, looked_at, with_confidence
from recon4d.weights.resolve import Resources


@dataclass(frozen=True)
class DisSettings:
    """What of OpenCV's DIS is not as in its medium preset."""

    patch_stride: int
    """Samples between two patches; they are 8 wide."""
    descent_steps: int
    """Of every patch."""
    refinement_steps: int
    """Of the variational refinement, per scale: more smooth over what the patches have found, and take longer."""


FROM_NOTHING = DisSettings(patch_stride=4, descent_steps=12, refinement_steps=3)
"""Where nothing is known of the motion; with less smoothing the cameras of DAVIS `car-shadow` follow the car."""
FROM_NEAR = DisSettings(patch_stride=5, descent_steps=16, refinement_steps=1)
"""Where little is left to find: faster, and the cameras of `exact_static` and `exact_crowd` come out a tenth better."""


class Dis:
    """`--flow dis`: on the CPU, a few milliseconds per pair."""

    at_once = True

    def pairs(
        self,
        images: UInt8[np.ndarray, "frames height width 3"],
        pairs: Int64[np.ndarray, "pairs 2"],
        threads: int,
    ) -> Iterator[Measured]:
        """As `FlowMethod.pairs`, in the order of first frames; from sparse matches where the camera is fast."""
        with one_opencv_thread():
            yield from flow_of_pairs(self, both_ways, images, pairs, threads)

    def warped(
        self, first: FrameView, second: FrameView, at: Float32[np.ndarray, "height width 2"]
    ) -> Float32[np.ndarray, "rows cols 2"]:
        """As `FlowMethod.warped`."""
        return dis_flow(first.small, shrink(looked_at(second.gray, at)), FROM_NEAR)


def make(resources: Resources) -> FlowMethod:
    """The method of `--flow dis`; it needs no weights."""
    return Dis()


def both_ways(
    a: FrameView, b: FrameView
) -> tuple[Float16[np.ndarray, "2 rows cols 2"], UInt8[np.ndarray, "2 rows cols"]]:
    """Flow a to b and b to a with their consistency confidence, sampled every `FLOW_STRIDE` pixels."""
    there, back = dis_flow(a.small, b.small), dis_flow(b.small, a.small)
    return with_confidence(there, back, a, b)


def dis_flow(
    small_a: UInt8[np.ndarray, "rows cols"],
    small_b: UInt8[np.ndarray, "rows cols"],
    settings: DisSettings = FROM_NOTHING,
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow a to b, in pixels of the working size, from images at the sampling of `Flow`.

    OpenCV's medium preset halves the image in the same way, spends twice the time on more patches and more descent,
    and gains nothing that the next round's flow or the optimizer would notice.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setPatchStride(settings.patch_stride)
    dis.setGradientDescentIterations(settings.descent_steps)
    dis.setVariationalRefinementIterations(settings.refinement_steps)
    start = np.zeros((*small_a.shape, 2), np.float32)
    return np.asarray(dis.calc(small_a, small_b, start), np.float32) * FLOW_STRIDE
