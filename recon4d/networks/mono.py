"""Depth of single images: Depth Anything V2 and Depth Pro, by the classes of transformers.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.pinhole import view_angle
from recon4d.weights.pretrained import load_pretrained, transformers_package

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's colours, of 1, by which Depth Anything's images are normalised."""
ANYTHING_SIDE = 518
"""The side nearest to its own size becomes this for Depth Anything, pixels."""
MIN_INVERSE = 1e-4
"""Inverse depth below which Depth Pro's answer is cut, as its authors do, 1 / m."""
FIELDS_DEG = (1.0, 175.0)
"""Fields of view that can be."""


@dataclass(frozen=True)
class MonoDepth:
    """What one image says."""

    inverse_depth: Float32[np.ndarray, "height width"]
    """Of Depth Pro in 1 / m, of Depth Anything up to a scale and an offset."""
    focal_px: float | None = None
    """In pixels of the image that was given."""


@dataclass(frozen=True)
class MonoNetwork:
    """Depth Anything or Depth Pro."""

    network: Any
    device: str
    is_pro: bool

    @torch.no_grad()
    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> MonoDepth:
        """Predict one image."""
        height, width = image.shape[:2]
        if self.is_pro:
            return self._pro(image)
        size = anything_size((width, height), self.network.config.patch_size)
        pixels = (_resized(image, size) - _row(IMAGENET_MEAN)) / _row(IMAGENET_STD)
        found = self.network(pixel_values=pixels.to(self.device)).predicted_depth
        return MonoDepth(_enlarged(found, (height, width)))

    def _pro(self, image: UInt8[np.ndarray, "height width 3"]) -> MonoDepth:
        """Depth Pro's canonical inverse depth is that of a lens whose focal length is the image's width."""
        config, (height, width) = self.network.config, image.shape[:2]
        side = round(config.patch_size / min(config.scaled_images_ratios))
        pixels = 2 * _resized(image, (side, side)) - 1
        found = self.network(pixel_values=pixels.to(self.device))
        inverse, focal = _enlarged(found.predicted_depth, (height, width)), None
        if found.field_of_view is not None:
            focal = focal_of(float(found.field_of_view), width)
            inverse = inverse * view_angle(float(width), focal)
        return MonoDepth(np.maximum(inverse, MIN_INVERSE).astype(np.float32), focal)


def focal_of(field_deg: float, width: int) -> float:
    """Focal length in pixels of a horizontal field of view.

    Raises:
        DegenerateError: No lens has such a field.
    """
    low, high = FIELDS_DEG
    if not low < field_deg < high:
        raise DegenerateError(
            f"Depth Pro says a field of view of {field_deg:.3g} degrees, which no lens of a video has; its weights are "
            "not whole, or the image shows no scene: use --geometry parallax"
        )
    return float(0.5 * width / np.tan(np.radians(field_deg) / 2))


def load_mono(name: str, folder: Path, device: str) -> MonoNetwork:
    """Read the network of `--geometry depth-anything` or `depth-pro` from a folder of transformers.

    Raises:
        MissingDependencyError: transformers is not installed.
        ConfigError: The folder holds no such model.
    """
    is_pro = name == "depth-pro"
    kind = "DepthProForDepthEstimation" if is_pro else "DepthAnythingForDepthEstimation"
    what = "Depth Pro" if is_pro else "Depth Anything"
    package = transformers_package(what, kind)
    network = load_pretrained(package, kind, folder, what, device)
    if not is_pro and network.config.depth_estimation_type != "relative":
        raise ConfigError(
            f"{folder} holds Depth Anything for metres; give its relative weights, or use --geometry depth-pro"
        )
    return MonoNetwork(network, device, is_pro)


def anything_size(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """(width, height) of Depth Anything's input: as little resized as possible, sides multiples of the patch."""
    factor = min((ANYTHING_SIDE / side for side in size), key=lambda f: abs(1 - f))
    width, height = (max(patch, round(side * factor / patch) * patch) for side in size)
    return width, height


def _row(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def _resized(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> Float[Tensor, "1 3 rows cols"]:
    """Cubic, values in [0, 1]."""
    small = cv2.resize(image.astype(np.float32) / 255, size, interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None]


def _enlarged(
    values: Float[Tensor, "1 rows cols"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """Bilinear."""
    large = torch.nn.functional.interpolate(
        values[None].float(), size, mode="bilinear", align_corners=False
    )
    return np.asarray(large[0, 0].cpu().numpy())
