"""Motion masks: which pixels move relative to the static world."""

if __name__ == "masks":  # found through the working directory, not through the package
    raise ImportError("import recon4d.masks, not masks")

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.errors import ConfigError
from recon4d.masks.refine import refine_edges, refine_none
from recon4d.masks.residual import residual_masks
from recon4d.progress import Progress, no_progress
from recon4d.scene import FLOW_STRIDE, Flow, MotionMasks, Scene, Video

MaskFunction = Callable[[Video, Flow, Scene, int, Progress], MotionMasks]


@dataclass(frozen=True)
class MaskMethod:
    """A way to find moving pixels."""

    masks: MaskFunction
    depends_on_scene: bool
    """Whether better geometry gives better masks, so that rounds of the loop make sense."""


def method(name: str, given: Bool[np.ndarray, "frames height width"] | None = None) -> MaskMethod:
    """Find a method by its name on the command line.

    Args:
        name: A name, or anything where `given` is there.
        given: The user's own masks at working size.
    """
    if given is not None:
        return MaskMethod(lambda video, flow, scene, threads, progress: given_masks(given), False)
    if name not in METHODS:
        raise ConfigError(f"masks '{name}' is not there; available: {', '.join(METHODS)}")
    return METHODS[name]


def no_masks(
    video: Video,
    flow: Flow,
    scene: Scene,
    threads: int = 1,
    progress: Progress = no_progress,
) -> MotionMasks:
    """Everything is static."""
    return MotionMasks(np.zeros((video.num_frames, *flow.confidence.shape[1:]), np.float32))


def given_masks(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """The user's masks as probabilities at the sampling of `Flow`: 1 where any part of a sample moves."""
    return MotionMasks((outlines(is_dynamic).probability > 0).astype(np.float32))


def outlines(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """Finished masks at the sampling of `Flow`: the part of each sample that moves."""
    height, width = is_dynamic.shape[1:]
    size = (width // FLOW_STRIDE, height // FLOW_STRIDE)
    small = [
        cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for frame in is_dynamic
    ]
    return MotionMasks(np.stack(small))


def finish(
    refine: str,
    video: Video,
    motion: MotionMasks,
    given: Bool[np.ndarray, "frames height width"] | None,
    threads: int,
    progress: Progress = no_progress,
) -> Bool[np.ndarray, "frames height width"]:
    """The masks that are written: the user's own as they are, others thresholded or snapped to image edges."""
    if given is not None:
        return given
    if refine == "edges":
        return refine_edges(video, motion, threads, progress)
    return refine_none(video, motion)


METHODS: dict[str, MaskMethod] = {
    "residual": MaskMethod(residual_masks, depends_on_scene=True),
    "none": MaskMethod(no_masks, depends_on_scene=False),
}
"""Every method that exists, the default first."""
