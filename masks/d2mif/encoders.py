"""Small convolutional encoders to the scales 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.

`ConvEncoder` is a plain ResNet (He et al., CVPR 2016) for maps that exist at 1/2 already: flow and geometry. `Lite0` is
EfficientNet-Lite0 without its classifier (Tan and Le, ICML 2019; the Lite variant has neither squeeze-and-excitation
nor swish) for images, with the batch normalisations of its ImageNet weights folded into the convolutions.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

STEM = 32
"""Channels at 1/2 of the image."""
LITE0_STAGES = (  # blocks, expansion, kernel, stride, channels; Tan and Le, table 1
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
LITE0_TAPS = (1, 2, 4, 6)
"""Stages whose outputs are the features at 1/4, 1/8, 1/16 and 1/32."""

Pyramid = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Maps (batch, channels, rows, cols) at 1/2, 1/4, 1/8, 1/16 and 1/32."""


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


class SameConv(nn.Conv2d):
    """Convolution that pads as the ImageNet weights of Lite0 expect: what is uneven goes to the right and below."""

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Output of ceil(size / stride)."""
        total = [
            max(k - s if size % s == 0 else k - size % s, 0)
            for size, k, s in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        ]
        rows, cols = total
        if rows % 2 == cols % 2 == 0:  # a copy with a border takes as long as the convolution
            even = (rows // 2, cols // 2)
            return nn.functional.conv2d(
                x, self.weight, self.bias, self.stride, even, 1, self.groups
            )
        padded = nn.functional.pad(x, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))
        return super().forward(padded)


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1 (Sandler et al., CVPR 2018); normalisations are folded in."""

    def __init__(self, channels_in: int, channels: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        inner = channels_in * expansion
        self.expand = nn.Conv2d(channels_in, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, channels, 1)
        self.has_skip = stride == 1 and channels_in == channels

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Same size, or half of it where the stride is 2."""
        inner = x
        if isinstance(self.expand, nn.Conv2d):
            inner = nn.functional.relu6(self.expand(x), inplace=True)
        inner = nn.functional.relu6(self.depthwise(inner), inplace=True)
        out: Tensor = self.project(inner)
        return x + out if self.has_skip else out


class Lite0(nn.Module):
    """EfficientNet-Lite0 over images."""

    channels = (STEM, 24, 40, 112, 320)
    """Of the features at 1/2, 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        stages, last = [], STEM
        for blocks, expansion, kernel, stride, channels in LITE0_STAGES:
            first = InvertedBottleneck(last, channels, expansion, kernel, stride)
            more = [
                InvertedBottleneck(channels, channels, expansion, kernel, 1)
                for _ in range(blocks - 1)
            ]
            stages.append(nn.Sequential(first, *more))
            last = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Pyramid:
        """Features of images with values in [-1, 1]."""
        x = nn.functional.relu6(self.stem(image))
        found = [x]
        for at, stage in enumerate(self.stages):
            x = stage(x)
            if at in LITE0_TAPS:
                found.append(x)
        half, quarter, eighth, sixteenth, last = found
        return half, quarter, eighth, sixteenth, last
