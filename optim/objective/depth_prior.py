"""Depth that a camera or a network tells, as a prior on the optimizer's samples.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from recon4d.core.errors import DegenerateError
from recon4d.core.sampling import ONE_PER_CELL
from recon4d.core.scene import DepthPrior
from recon4d.core.tensors import EDGE_RATIO, depth_at_samples
from recon4d.optim.objective.noise import FLOW_SIGMA_PX
from recon4d.optim.objective.problem import GUESS_PX

SENSOR_SIGMA = 0.01
"""Relative error of a depth camera near by ..."""
SENSOR_SIGMA_PER_M = 0.002
"""... and how it grows with distance (Khoshelham and Elberink, Sensors 2012: quadratic in depth)."""


def relative_sigma(
    prior: DepthPrior, frames: slice | list[int] | Int64[np.ndarray, " some"]
) -> Float32[np.ndarray, "some height width"]:
    """Standard deviation over depth of every pixel of some frames."""
    if prior.relative_sigma is None:
        return SENSOR_SIGMA + SENSOR_SIGMA_PER_M * np.asarray(prior.depth[frames])
    return np.asarray(prior.relative_sigma[frames], np.float32)


def prior_at(
    prior: DepthPrior, samples: Int64[np.ndarray, "frames samples 2"]
) -> tuple[Float[np.ndarray, "frames samples"], Float[np.ndarray, "frames samples"]]:
    """Inverse depth of each `Flow` sample, and its weight in pixels per relative error; a guess where it is unknown.

    Raises:
        DegenerateError: It is unknown everywhere.
    """
    inverse = np.zeros(samples.shape[:2], np.float32)
    weight = np.zeros(samples.shape[:2], np.float32)
    kernel = np.ones((3, 3), np.uint8)
    for frame, (row, col) in enumerate(samples.transpose(0, 2, 1)):
        depth = depth_at_samples(torch.from_numpy(np.array(prior.depth[frame]))).numpy()
        sigma = relative_sigma(prior, slice(frame, frame + 1))[0][ONE_PER_CELL]
        flat = cv2.dilate(depth, kernel) < EDGE_RATIO * cv2.erode(depth, kernel)
        known = (depth[row, col] > 0) & flat[row, col]
        inverse[frame][known] = 1 / depth[row, col][known]
        weight[frame][known] = FLOW_SIGMA_PX / sigma[row, col][known]
    is_known = weight > 0
    if not is_known.any():
        raise DegenerateError(
            "the known depth is unknown at every sample; check the depth images, or use --geometry parallax"
        )
    inverse = np.where(is_known, inverse, np.median(inverse[is_known]))
    return inverse, np.where(is_known, weight, GUESS_PX).astype(np.float32)
