"""U2-Net small: which part of an image is an object that a viewer looks at, and features that tell objects apart.

Qin et al., Pattern Recognition 106 (2020): a U-Net whose blocks are small U-Nets themselves (residual U-blocks, RSU);
every scale of its decoder says what it thinks, and a weighted sum of all is the salient map. The batch normalisations
of the published weights are folded into the convolutions (`data/u2netp.md` says where they are from).
"""

import hashlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from recon4d.core.errors import ConfigError
from recon4d.networks.lite0 import channels_last
from recon4d.weights.files import load_into, read_weights

SHIPPED = Path(__file__).parent / "data" / "u2netp.safetensors"
"""The published weights in half precision, which the package holds."""
SHIPPED_SHA256 = "4289e44d62a70d4cec133f51fcae4958d8136e430f75e5452ee1308b5df3d590"
"""Of that file."""
SIDE = 320
"""Sides of the square that the network was trained on, pixels; images are squeezed to it as they were there."""
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
"""Mean of the colours that it was trained on, of 1 (ImageNet) ..."""
STD = np.array((0.229, 0.224, 0.225), np.float32)
"""... and their standard deviation."""
WIDTH = 64
"""Channels between blocks."""
INNER = 16
"""Channels inside a block."""
LEVELS = (6, 5, 4, 3)
"""Scales inside the blocks of the first four stages; blocks of the deeper ones dilate instead."""
DILATIONS = (1, 2, 4, 8)
"""Inside the blocks of the two deepest stages."""


class Conv(nn.Conv2d):
    """3x3 convolution and ReLU."""

    def __init__(self, channels_in: int, channels: int, dilation: int = 1):
        super().__init__(channels_in, channels, 3, 1, dilation, dilation)

    def forward(self, x: Float[Tensor, "batch _ rows cols"]) -> Float[Tensor, "batch _ rows cols"]:
        """Same size."""
        return torch.relu_(super().forward(x))


class UBlock(nn.Module):
    """Residual U-block: a small U-Net over `levels` scales around which its first features are added."""

    def __init__(self, channels_in: int, levels: int):
        super().__init__()
        self.first = Conv(channels_in, WIDTH)
        self.down = nn.ModuleList(Conv(INNER if at else WIDTH, INNER) for at in range(levels))
        self.deepest = Conv(INNER, INNER, 2)
        self.up = nn.ModuleList(
            Conv(2 * INNER, INNER if at else WIDTH) for at in reversed(range(levels))
        )

    def forward(self, x: Float[Tensor, "batch _ rows cols"]) -> Float[Tensor, "batch _ rows cols"]:
        """Same size."""
        first = self.first(x)
        kept = [self.down[0](first)]
        for conv in list(self.down)[1:]:
            kept.append(conv(halved(kept[-1])))
        x = self.deepest(kept[-1])
        for conv, skip in zip(self.up, reversed(kept), strict=True):
            x = conv(torch.cat((enlarged(x, skip), skip), 1))
        out: Tensor = x + first
        return out


class DilatedBlock(nn.Module):
    """The same at one scale, with growing dilation."""

    def __init__(self, channels_in: int):
        super().__init__()
        self.first = Conv(channels_in, WIDTH)
        self.down = nn.ModuleList(
            Conv(INNER if at else WIDTH, INNER, d) for at, d in enumerate(DILATIONS)
        )
        self.up = nn.ModuleList(
            Conv(2 * INNER, INNER if at else WIDTH, DILATIONS[at]) for at in (2, 1, 0)
        )

    def forward(self, x: Float[Tensor, "batch _ rows cols"]) -> Float[Tensor, "batch _ rows cols"]:
        """Same size."""
        first = self.first(x)
        kept = [first]
        for conv in self.down:
            kept.append(conv(kept[-1]))
        x = kept.pop()
        for conv in self.up:
            x = conv(torch.cat((x, kept.pop()), 1))
        out: Tensor = x + first
        return out


class U2net(nn.Module):
    """The network."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(UBlock(WIDTH if at else 3, n) for at, n in enumerate(LEVELS))
        self.deep = nn.ModuleList((DilatedBlock(WIDTH), DilatedBlock(WIDTH)))
        self.up = nn.ModuleList(
            (DilatedBlock(2 * WIDTH), *(UBlock(2 * WIDTH, n) for n in reversed(LEVELS)))
        )
        self.side = nn.ModuleList(nn.Conv2d(WIDTH, 1, 3, 1, 1) for _ in range(len(LEVELS) + 2))
        self.together = nn.Conv2d(len(LEVELS) + 2, 1, 1)

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch height width"]:
        """Log-odds of what is salient.

        Args:
            image: Normalised by `MEAN` and `STD`.
        """
        kept: list[Tensor] = []
        x = image
        for block in (*self.down, *self.deep):
            x = block(halved(x) if kept else x)
            kept.append(x)
        features = [kept.pop()]
        for block in self.up:
            skip = kept.pop()
            features.append(block(torch.cat((enlarged(features[-1], skip), skip), 1)))
        features.reverse()
        said = [enlarged(f(x), image) for f, x in zip(self.side, features, strict=True)]
        found: Tensor = self.together(torch.cat(said, 1))
        return found[:, 0]


@cache
def shipped_u2net() -> U2net:
    """The network with its published weights, for inference.

    Raises:
        ConfigError: The package's own file is missing or damaged.
    """
    if not SHIPPED.is_file() or hashlib.sha256(SHIPPED.read_bytes()).hexdigest() != SHIPPED_SHA256:
        raise ConfigError(
            "the package's own weights of U2-Net are missing or damaged; install recon4d again"
        )
    network = U2net()
    load_into(network, read_weights(SHIPPED), "U2-Net small")
    channels_last(network)
    return network.eval()


@torch.inference_mode()
def salience(image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "320 320"]:
    """Log-odds that each part of an image belongs to an object that a viewer looks at; the image is squeezed."""
    method = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(image), (SIDE, SIDE), interpolation=method)
    normal = (small.astype(np.float32) / max(int(small.max()), 1) - MEAN) / STD
    batch = torch.from_numpy(normal)[None].permute(0, 3, 1, 2)
    found = shipped_u2net()(batch.contiguous(memory_format=torch.channels_last))
    return np.asarray(found[0].numpy(), np.float32)


def halved(x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
    """Most of 2 x 2; of what is left at the border, too."""
    return nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)


def enlarged(x: Float[Tensor, "batch _ _ _"], like: Tensor) -> Float[Tensor, "batch _ _ _"]:
    """At the size of another map, bilinearly."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return nn.functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
