"""Images as pi3 gets them, and how many of them at once.

Numbers here that name no source were set by hand.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.parallel import half
from recon4d.networks.pi3.network import Pi3

PIXELS = 255_000
"""Most pixels of an image that goes into the network: the limit of its authors' own loader."""
ENCODED_AT_ONCE = 4
"""Images that go through the encoder together; more need memory and are no faster."""


@dataclass(frozen=True)
class ViewOptions:
    """How many frames are seen at once."""

    chunk: int = 32
    """Frames that go through the decoder together: every token looks at those of all of them, so that time grows with
    the square; 32 need 3 GB besides the weights with images of 512x288 pixels in 32 bits."""
    overlap: int = 8
    """Frames, at least, that a chunk shares with the one before."""
    half: bool = False
    """Whether the transformers compute in 16 bits, which needs CUDA; the heads always have 32."""

    def __post_init__(self) -> None:
        if not 0 < self.overlap < self.chunk:
            raise ConfigError(
                f"chunks of {self.chunk} frames cannot overlap by {self.overlap}; give an overlap from 1 and below "
                "the chunk's length"
            )


def network_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """(width, height) of the network's images: nearly the video's aspect, `PIXELS` at most.

    Never enlarged beyond the next multiple.
    """
    factor = min(1.0, (PIXELS / (size[0] * size[1])) ** 0.5)
    cols, rows = (max(1, round(side * factor / multiple)) for side in size)
    while cols * rows * multiple**2 > PIXELS:
        if rows == 1 or (cols > 1 and cols / size[0] > rows / size[1]):
            cols -= 1
        else:
            rows -= 1
    return cols * multiple, rows * multiple


def encoded(
    network: Pi3,
    images: UInt8[np.ndarray, "frames rows cols 3"],
    size: tuple[int, int],
    options: ViewOptions,
) -> Float[Tensor, "frames patches dim"]:
    """Tokens of all images, a few at a time."""
    found = []
    for start in range(0, len(images), ENCODED_AT_ONCE):
        given = _network_images(images[start : start + ENCODED_AT_ONCE], size)
        with precision(network, options):
            found.append(network.encode(given.to(network.register_token.device)))
    return torch.cat(found)


def _network_images(
    images: UInt8[np.ndarray, "frames rows cols 3"], size: tuple[int, int]
) -> Float[Tensor, "frames 3 height width"]:
    """As the network takes them, values in [0, 1]."""
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def precision(network: Pi3, options: ViewOptions) -> AbstractContextManager[object]:
    """In 16 bits with the range of 32 where the device has such numbers: activations of DINOv2 are large."""
    device = network.register_token.device
    if options.half and device.type != "cuda":
        raise ConfigError(f"half precision needs CUDA, the network is on {device}; leave it out")
    return half(device, options.half)
