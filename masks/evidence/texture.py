"""How exactly flow can be known where: its covariance from the texture of the image.

The flow of a patch minimises a sum of squared differences whose curvature is the structure tensor (Lucas and Kanade,
1981): along an edge, and where there is no texture, the flow is interpolated from elsewhere, and its disagreement
with a prediction in such a direction says little. Noise of camera images, reflections and repeated patterns live there.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from recon4d.core.scene import FLOW_STRIDE

PATCH = 9
"""Side of the patch that determines the flow of a sample, `Flow` samples: DIS' patches are 8 wide."""
MISMATCH = 8.0
"""Standard deviation of grey levels (0..255) between matching patches: noise, interpolation, reflections, shading."""
SCHARR_GAIN = 32.0
"""What OpenCV's Scharr kernel returns for a slope of 1 per pixel."""
FLAT = 1e-3
"""Keeps the inverse of the structure tensor finite where the image is perfectly flat."""


def texture_covariance(
    gray: Float32[np.ndarray, "rows cols"],
) -> Float[Tensor, "3 rows cols"]:
    """Covariance (uu, uv, vv) of the flow in square pixels of the working size, as far as the texture limits it."""
    across = np.asarray(cv2.Scharr(gray, cv2.CV_32F, 1, 0, scale=1 / SCHARR_GAIN), np.float32)
    down = np.asarray(cv2.Scharr(gray, cv2.CV_32F, 0, 1, scale=1 / SCHARR_GAIN), np.float32)
    uu, uv, vv = (
        np.asarray(cv2.boxFilter(product, -1, (PATCH, PATCH), normalize=False), np.float32)
        for product in (across * across, across * down, down * down)
    )
    noise = np.float32(2 * (MISMATCH * FLOW_STRIDE) ** 2)
    scale = noise / np.maximum(uu * vv - uv * uv, FLAT)
    return torch.from_numpy(np.stack((vv * scale, -uv * scale, uu * scale)))


def mahalanobis2(
    residual_px: tuple[Float[Tensor, "edges rows cols"], Float[Tensor, "edges rows cols"]],
    covariance: Float[Tensor, "3 rows cols"],
    variance: Float[Tensor, "edges rows cols"],
) -> Float[Tensor, "edges rows cols"]:
    """Square of residuals (u, v) in standard deviations, with a covariance plus an isotropic variance."""
    u, v = residual_px
    uu, uv, vv = covariance[0] + variance, covariance[1], covariance[2] + variance
    # u (vv u - uv v) + v (uu v - uv u) over the determinant, in place: memory is what it costs
    total = (vv * u).addcmul_(uv, v, value=-1).mul_(u)
    total.addcmul_((uu * v).addcmul_(uv, u, value=-1), v)
    return total.div_(uu.mul_(vv).sub_(uv * uv))
