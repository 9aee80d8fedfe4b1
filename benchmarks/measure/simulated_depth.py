"""What a depth network of single images would say of a scene whose depth is known, with errors as networks have them.

So that what is done with them is measured without their weights. Every frame is asked alone: its errors are its own.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

LEAST_DEPTH = 1e-3
"""Depths are at least this, in the unit of the scene."""


@dataclass(frozen=True)
class Errors:
    """How wrong a network is."""

    warp: float = 0.1
    """Standard deviation of a smooth factor over the picture, as a part of depth."""
    cells: int = 4
    """Independent values of that, along the picture."""
    movers: float = 0.2
    """Mean error of the depth of each moving region, as a part of it."""
    lasting: float = 0.0
    """Part of that variance that is the same in all frames: what no mean over time takes away."""
    blur: float = 0.01
    """Standard deviation of the blur of disparity, parts of the width."""
    factor: float = 0.3
    """Standard deviation of the logarithm of each frame's factor."""
    offset: float = 0.5
    """Largest offset of each frame, in parts of the typical disparity."""


USUAL = Errors()


def simulated(
    depth: Float32[np.ndarray, "frames height width"],
    moving: Bool[np.ndarray, "frames height width"],
    scale: str,
    seed: int,
    errors: Errors = USUAL,
) -> Float32[np.ndarray, "frames height width"]:
    """Maps of every frame, 0 where the truth is not known: disparity of scale `affine`, else depth.

    Args:
        depth: The truth; 0 = unknown.
        moving: What moves.
        scale: `metric`, `relative` or `affine`.
        seed: Of the errors.
        errors: How large they are.
    """
    rng = np.random.default_rng(seed)
    known = depth > 0
    typical = 1 / float(np.median(depth[known]))
    lasting = rng.normal()
    out = np.zeros_like(depth, np.float32)
    for frame, truth in enumerate(depth):
        disparity = _disparity(truth, moving[frame], lasting, rng, errors)
        factor = 1.0 if scale == "metric" else float(np.exp(rng.normal(0, errors.factor)))
        offset = rng.uniform(0, errors.offset) if scale == "affine" else 0.0
        values = (
            factor * (disparity / typical + offset) if scale == "affine" else factor / disparity
        )
        out[frame] = np.where(known[frame], values, 0)
    return out


def _disparity(
    depth: Float32[np.ndarray, "height width"],
    moving: Bool[np.ndarray, "height width"],
    lasting: float,
    rng: np.random.Generator,
    errors: Errors,
) -> Float32[np.ndarray, "height width"]:
    height, width = depth.shape
    few = rng.standard_normal((errors.cells + 1, errors.cells + 1)).astype(np.float32)
    smooth = cv2.resize(few, (width, height), interpolation=cv2.INTER_CUBIC)
    log = np.log(np.maximum(depth, LEAST_DEPTH)) + errors.warp * smooth / smooth.std()
    count, labels = cv2.connectedComponents(moving.astype(np.uint8))
    spread = errors.movers * np.sqrt(np.pi / 2)  # of a normal distribution with this mean size
    for label in range(1, count):
        own = np.sqrt(1 - errors.lasting) * rng.normal() + np.sqrt(errors.lasting) * lasting
        log[labels == label] += spread * own
    blurred = cv2.GaussianBlur(np.exp(-log), (0, 0), errors.blur * width)
    return np.asarray(blurred, np.float32)
