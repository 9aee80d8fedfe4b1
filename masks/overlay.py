"""What sticks to the picture does not move in the world, whatever a method of masks makes of it."""

from dataclasses import replace

import numpy as np

from recon4d.core.scene import MotionMasks, Overlay, Scene
from recon4d.flow.overlay import hidden_samples
from recon4d.masks import FinalMasks, MaskMethod, Seen


def outside_overlay(method: MaskMethod, overlay: Overlay | None) -> MaskMethod:
    """The same method, whose masks say nothing of an overlay.

    Args:
        method: Finds what moves.
        overlay: Of the frames that it is asked about.
    """
    if overlay is None:
        return method

    hidden = hidden_samples(overlay)

    def masks(seen: Seen, scene: Scene) -> MotionMasks:
        found = method.masks(seen, scene)
        return replace(found, probability=np.where(hidden, np.float32(0), found.probability))

    return replace(method, masks=masks)


def final_outside(final: FinalMasks, overlay: Overlay | None) -> FinalMasks:
    """Finished masks without the pixels of an overlay."""
    if overlay is None:
        return final
    is_dynamic = np.array(final.is_dynamic)
    for frame, own in enumerate(is_dynamic):
        own[overlay.at(frame)] = False
    return replace(final, is_dynamic=is_dynamic)
