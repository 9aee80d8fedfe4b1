"""Images of any size as the official weights of DUSt3R's family got them in training.

Their loader resizes with Pillow. Here is the same arithmetic (separable, antialiased, 8-bit images in fixed point), so
that no further library is needed and images are equal to the last bit.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Shaped, UInt8
from torch import Tensor

LONG_SIDE = 512
"""Of the images that the released weights were trained with, in pixels."""
MULTIPLE = 16
"""Pixels; sides are multiples of it: the patches of the released weights."""
FRACTION_BITS = 22
"""Of a coefficient in fixed point: 32 less 8 of a pixel, less 2 for overshoot."""


def resized(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) with this long side; halves round to even."""
    width, height = size
    longest = max(size)
    return round(width * long_side / longest), round(height * long_side / longest)


def centre_crop(image: Shaped[np.ndarray, "height width *_"]) -> Shaped[np.ndarray, "rows cols *_"]:
    """Cut sides to multiples of 16 around the centre; of a square, the height to 3/4 of the width."""
    height, width = image.shape[:2]
    half_w, half_h = (2 * (side // 2) // MULTIPLE * (MULTIPLE // 2) for side in (width, height))
    if height == width:
        half_h = 3 * half_w // 4 // (MULTIPLE // 2) * (MULTIPLE // 2)
    top, left = height // 2 - half_h, width // 2 - half_w
    return image[top : top + 2 * half_h, left : left + 2 * half_w]


def input_image(
    rgb: UInt8[np.ndarray, "height width 3"], long_side: int = LONG_SIDE
) -> Float32[np.ndarray, "3 rows cols"]:
    """Resize, crop and scale to [-1, 1]."""
    height, width = rgb.shape[:2]
    lanczos = max(height, width) > long_side
    small = centre_crop(resample(rgb, resized((width, height), long_side), lanczos=lanczos))
    scaled = (small.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def resample(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int], *, lanczos: bool
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Resize an image, first along rows, with windows that grow when it shrinks.

    Args:
        image: 8 bits per channel.
        size: Wanted (width, height).
        lanczos: Three lobes of Lanczos' window; otherwise cubic, a = -0.5.
    """
    for axis, wanted in ((1, size[0]), (0, size[1])):
        if image.shape[axis] != wanted:
            matrix = _fixed_point(_windows(image.shape[axis], wanted, lanczos))
            total = np.tensordot(matrix, image.astype(np.float64), axes=(1, axis))
            rounded = np.floor(total / 2**FRACTION_BITS + 0.5)
            image = np.moveaxis(rounded.clip(0, 255).astype(np.uint8), 0, axis)
    return image


def _fixed_point(windows: Float64[np.ndarray, "out in"]) -> Float64[np.ndarray, "out in"]:
    """Coefficients as whole numbers of the smallest fraction, exact in 64 bits like their sums of pixels."""
    scaled = windows * 2**FRACTION_BITS
    whole: np.ndarray = np.trunc(scaled + np.copysign(0.5, scaled))
    return whole


def _windows(have: int, want: int, lanczos: bool) -> Float64[np.ndarray, "want have"]:
    """How much each input pixel counts in each output pixel; rows sum to one."""
    scale = have / want
    stretch = max(scale, 1.0)
    reach = (3.0 if lanczos else 2.0) * stretch
    centre = (np.arange(want) + 0.5) * scale
    first = np.floor(np.maximum(centre - reach + 0.5, 0))
    end = np.minimum(np.floor(centre + reach + 0.5), have)
    pixel = np.arange(have)
    offset = (pixel + 0.5 - centre[:, None]) / stretch
    inside = (pixel >= first[:, None]) & (pixel < end[:, None])
    weights = np.where(inside, _lanczos(offset) if lanczos else _cubic(offset), 0)
    normalised: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _lanczos(x: Float64[np.ndarray, "*_"]) -> Float64[np.ndarray, "*_"]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _cubic(x: Float64[np.ndarray, "*_"]) -> Float64[np.ndarray, "*_"]:
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def network_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the images that the network gets: multiples of 16, the long side at most 512."""
    factor = min(1.0, LONG_SIDE / max(size))
    width, height = (max(MULTIPLE, round(s * factor / MULTIPLE) * MULTIPLE) for s in size)
    return width, height


def network_images(
    images: UInt8[np.ndarray, "frames any_height any_width 3"], size: tuple[int, int]
) -> Float[Tensor, "frames 3 height width"]:
    """Images as the network takes them, in [-1, 1]."""
    is_right = (images.shape[2], images.shape[1]) == size
    resized = [i if is_right else cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1
