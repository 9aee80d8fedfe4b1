"""Refining masks with a video segmenter that is prompted by every other frame (MonST3R, GeoMotion).

Masks of odd frames are prompts, from which the segmenter finds the masks of even frames, and the other way round: no
frame's mask is only its own prompt given back, so that what the segmenter cannot follow from its neighbours vanishes.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from recon4d.core.errors import InputError
from recon4d.core.scene import Notice

CONFIDENT = 0.8
"""Probability above which a pixel is part of a prompt (GeoMotion)."""

Masks = Bool[np.ndarray, "frames height width"]
Prompts = Mapping[int, Bool[np.ndarray, "height width"]]
Propagate = Callable[[Prompts], Masks]
"""From masks of some frames to masks of all frames."""


def refine_odd_even(
    probability: Float[np.ndarray, "frames height width"],
    propagate: Propagate,
    threshold: float = CONFIDENT,
) -> tuple[Masks, tuple[Notice, ...]]:
    """Replace the masks of each half of the frames by what the segmenter makes of the other half's.

    Frames without a pixel above the threshold are no prompts. Where a whole half has none, the frames of the other
    half keep their own masks, probability above the threshold, and a notice says so.

    Args:
        probability: Of motion, per pixel.
        propagate: The segmenter; called at most twice.
        threshold: Above which a pixel is prompted.

    Raises:
        InputError: The threshold is no probability below 1, or the segmenter returned masks of another shape.
    """
    if not 0 <= threshold < 1:
        raise InputError(f"the threshold of prompts is {threshold}; it must be in [0, 1)")
    own = probability > threshold
    refined, kept = own.copy(), []
    for half in (1, 0):  # prompts of odd frames first
        asked = np.arange(1 - half, len(own), 2)
        prompts = {int(k): own[k] for k in range(half, len(own), 2) if own[k].any()}
        if prompts:
            refined[asked] = _checked(propagate(prompts), own.shape)[asked]
        else:
            kept += asked.tolist()
    return refined, _notices(sorted(kept), threshold)


def _checked(masks: Masks, shape: tuple[int, ...]) -> Masks:
    if masks.shape != shape:
        raise InputError(
            f"the segmenter returned masks of shape {masks.shape}; {shape} was needed: give masks of all frames"
        )
    return masks


def _notices(kept: list[int], threshold: float) -> tuple[Notice, ...]:
    if not kept:
        return ()
    message = (
        f"{len(kept)} frames keep the masks they had: no pixel of the frames that would prompt the segmenter for them "
        f"has a probability of motion above {threshold:g}"
    )
    return (Notice("masks_not_refined", message, tuple(kept)),)
