"""Small convolutional encoders to the scales 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.

`ConvEncoder` is a plain ResNet (He et al., CVPR 2016) for maps that exist at 1/2 already: flow and geometry. `Lite0` is
EfficientNet-Lite0 without its classifier (Tan and Le, ICML 2019; the Lite variant has neither squeeze-and-excitation
nor swish) for images, with the batch normalisations of its ImageNet weights folded into the convolutions.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon4d.networks.lite0 import Pyramid


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input is added; the input is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        same = stride == 1 and channels_in == channels
        self.stride = stride  # torch 2.13's backward of a strided 1x1 convolution corrupts the heap on AVX-512
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Same size, or half of it where the stride is 2."""
        inner = torch.relu(self.norm1(self.conv1(x)))
        skipped = self.skip(x[..., :: self.stride, :: self.stride])
        return torch.relu(self.norm2(self.conv2(inner)) + skipped)


class ConvEncoder(nn.Module):
    """ResNet over maps at 1/2 of the image."""

    def __init__(self, channels_in: int, stem: int, channels: Sequence[int], blocks: int = 1):
        super().__init__()
        self.stem = nn.Conv2d(channels_in, stem, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        stages, last = [], stem
        for width in channels:
            more = [Residual(width, width) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(Residual(last, width, stride=2), *more))
            last = width
        self.stages = nn.ModuleList(stages)
        self.channels = (stem, *channels)

    def forward(self, maps: Float[Tensor, "batch _ rows cols"]) -> Pyramid:
        """Features at all scales."""
        found = [torch.relu(self.norm(self.stem(maps)))]
        for stage in self.stages:
            found.append(stage(found[-1]))
        half, quarter, eighth, sixteenth, last = found
        return half, quarter, eighth, sixteenth, last
