"""Sensor depth as a prior on the optimizer's samples: metric, and kept so."""

import cv2
import numpy as np
from jaxtyping import Float32, Int64

from recon4d.scene import FLOW_STRIDE

FLOW_SIGMA_PX = 0.2
"""Standard deviation of a good flow measurement, pixels: the unit in which the prior is weighed against the flow."""
RELATIVE_SIGMA = 0.01
"""Relative error of a depth camera near by ..."""
RELATIVE_SIGMA_PER_M = 0.002
"""... and how it grows with distance (Khoshelham and Elberink, Sensors 2012: quadratic in depth)."""
EDGE_RATIO = 1.05
"""Where neighbouring depths differ by more than this factor there is an edge, and the sensor is not to be trusted."""


def sensor_prior(
    sensor_depth: Float32[np.ndarray, "frames height width"],
    samples: Int64[np.ndarray, "frames samples 2"],
) -> tuple[Float32[np.ndarray, "frames samples"], Float32[np.ndarray, "frames samples"]]:
    """Inverse depth (1 / m; 0 where unknown) of each `Flow` sample, and its weight in pixels per relative error."""
    inverse = np.zeros(samples.shape[:2], np.float32)
    weight = np.zeros(samples.shape[:2], np.float32)
    for frame, (row, col) in enumerate(samples.transpose(0, 2, 1)):
        depth = sensor_depth[frame][
            FLOW_STRIDE // 2 :: FLOW_STRIDE, FLOW_STRIDE // 2 :: FLOW_STRIDE
        ]
        depth = np.ascontiguousarray(depth)
        kernel = np.ones((3, 3), np.uint8)
        low, high = cv2.erode(depth, kernel), cv2.dilate(depth, kernel)
        flat = (low > 0) & (high < EDGE_RATIO * low)
        z = depth[row, col]
        known = (z > 0) & flat[row, col]
        inverse[frame][known] = 1 / z[known]
        weight[frame][known] = FLOW_SIGMA_PX / (RELATIVE_SIGMA + RELATIVE_SIGMA_PER_M * z[known])
    return inverse, weight
