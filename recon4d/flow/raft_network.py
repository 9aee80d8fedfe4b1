"""RAFT (Teed and Deng, ECCV 2020), large and small, with the names of torchvision's checkpoints.

Features of a frame do not depend on its partner, so they are computed by `encode`, once per frame; `flow` compares two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 4
"""Of the correlation pyramid; each halves the resolution of the target."""
STRIDE = 8
"""Pixels per feature."""
MASK_SCALE = 0.25
"""Of the logits of the convex upsampling, so that its gradients are not too large (RAFT's code)."""


@dataclass(frozen=True)
class RaftConfig:
    """Sizes of the network."""

    stages: tuple[int, int, int, int]
    """Channels of the stem and of three stages of both encoders."""
    features: int
    hidden: int
    context: int
    radius: int
    """Of the window in which correlations are looked up, in features."""
    correlation: tuple[int, ...]
    """Channels of the convolutions that the correlations go through."""
    flow: tuple[int, int]
    """Channels of the convolutions that the flow goes through."""
    motion: int
    """Channels of the motion features, the flow itself included."""
    head: int
    """Channels of the flow head."""
    is_small: bool
    """Bottleneck blocks, a context encoder without norms, one square GRU, bilinear upsampling."""


LARGE = RaftConfig(
    (64, 64, 96, 128), 256, 128, 128, 4, (256, 192), (128, 64), 128, 256, is_small=False
)
SMALL = RaftConfig((32, 32, 64, 96), 128, 96, 64, 3, (96,), (64, 32), 82, 128, is_small=True)


class Unit(nn.Sequential):
    """Convolution, norm where there is one, and ReLU where wanted."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        norm: type[nn.Module] | None = None,
        *,
        relu: bool = True,
    ) -> None:
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2)
        parts: list[nn.Module] = [nn.Conv2d(channels_in, channels, sides, stride, padding)]
        if norm is not None:
            parts.append(norm(channels))
        if relu:
            parts.append(nn.ReLU())
        super().__init__(*parts)


class Residual(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1, added to the input."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        norm: type[nn.Module] | None,
        is_bottleneck: bool,
    ) -> None:
        super().__init__()
        narrow = channels // 4
        if is_bottleneck:
            self.convnormrelu1 = Unit(channels_in, narrow, 1, 1, norm)
            self.convnormrelu2 = Unit(narrow, narrow, 3, stride, norm)
            self.convnormrelu3: nn.Module = Unit(narrow, channels, 1, 1, norm)
        else:
            self.convnormrelu1 = Unit(channels_in, channels, 3, stride, norm)
            self.convnormrelu2 = Unit(channels, channels, 3, 1, norm)
            self.convnormrelu3 = nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = Unit(channels_in, channels, 1, stride, norm, relu=False)

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Same size, or half of it where the stride is 2."""
        inner = self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x)))
        return torch.relu(self.downsample(x) + inner)


class Encoder(nn.Module):
    """Features at 1/8 of the image."""

    def __init__(self, config: RaftConfig, channels: int, norm: type[nn.Module] | None) -> None:
        super().__init__()
        stem, first, second, third = config.stages
        small = config.is_small

        def stage(channels_in: int, width: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                Residual(channels_in, width, stride, norm, small),
                Residual(width, width, 1, norm, small),
            )

        self.convnormrelu = Unit(3, stem, 7, 2, norm)
        self.layer1 = stage(stem, first, 1)
        self.layer2 = stage(first, second, 2)
        self.layer3 = stage(second, third, 2)
        self.conv = nn.Conv2d(third, channels, 1)

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels rows cols"]:
        """Encode images in [-1, 1]."""
        found: Tensor = self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(image)))))
        return found


class MotionEncoder(nn.Module):
    """What the correlations and the flow so far say together."""

    def __init__(self, config: RaftConfig) -> None:
        super().__init__()
        window = LEVELS * (2 * config.radius + 1) ** 2
        self.convcorr1 = Unit(window, config.correlation[0], 1)
        self.convcorr2: nn.Module = nn.Identity()
        if len(config.correlation) > 1:
            self.convcorr2 = Unit(config.correlation[0], config.correlation[1])
        self.convflow1 = Unit(2, config.flow[0], 7)
        self.convflow2 = Unit(*config.flow)
        self.conv = Unit(config.correlation[-1] + config.flow[1], config.motion - 2)

    def forward(
        self,
        correlation: Float[Tensor, "batch window rows cols"],
        flow: Float[Tensor, "batch 2 rows cols"],
    ) -> Float[Tensor, "batch motion rows cols"]:
        """Motion features, the last two of which are the flow."""
        parts = self.convcorr2(self.convcorr1(correlation)), self.convflow2(self.convflow1(flow))
        return torch.cat((self.conv(torch.cat(parts, 1)), flow), 1)


class ConvGru(nn.Module):
    """Gated recurrent unit of convolutions."""

    def __init__(self, hidden: int, channels_in: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convz, self.convr, self.convq = (
            nn.Conv2d(hidden + channels_in, hidden, kernel, padding=padding) for _ in range(3)
        )

    def forward(
        self, hidden: Float[Tensor, "batch h rows cols"], x: Float[Tensor, "batch c rows cols"]
    ) -> Float[Tensor, "batch h rows cols"]:
        """The new state."""
        both = torch.cat((hidden, x), 1)
        update, reset = torch.sigmoid(self.convz(both)), torch.sigmoid(self.convr(both))
        proposed = torch.tanh(self.convq(torch.cat((reset * hidden, x), 1)))
        return (1 - update) * hidden + update * proposed


class Recurrent(nn.Module):
    """One square unit, or a row and a column one after the other."""

    def __init__(self, config: RaftConfig) -> None:
        super().__init__()
        wide = config.context + config.motion
        kernels = [(3, 3)] if config.is_small else [(1, 5), (5, 1)]
        units = [ConvGru(config.hidden, wide, kernel) for kernel in kernels]
        self.convgru1 = units[0]
        self.convgru2 = units[1] if len(units) > 1 else None

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """The new state."""
        hidden = self.convgru1(hidden, x)
        if self.convgru2 is not None:
            hidden = self.convgru2(hidden, x)
        return hidden


class FlowHead(nn.Module):
    """From the state to a change of the flow."""

    def __init__(self, hidden: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(hidden, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """In features."""
        change: Tensor = self.conv2(torch.relu(self.conv1(hidden)))
        return change


class Update(nn.Module):
    """One step of the recurrence."""

    def __init__(self, config: RaftConfig) -> None:
        super().__init__()
        self.motion_encoder = MotionEncoder(config)
        self.recurrent_block = Recurrent(config)
        self.flow_head = FlowHead(config.hidden, config.head)

    def forward(
        self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new state, and the change of the flow."""
        motion = self.motion_encoder(correlation, flow)
        hidden = self.recurrent_block(hidden, torch.cat((context, motion), 1))
        return hidden, self.flow_head(hidden)


class MaskPredictor(nn.Module):
    """Weights with which each pixel mixes the flow of the 3x3 features around it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convrelu = Unit(hidden, 256)
        self.conv = nn.Conv2d(256, 9 * STRIDE * STRIDE, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.conv(self.convrelu(hidden))
        return MASK_SCALE * logits


@dataclass(frozen=True)
class Encoded:
    """What is known of a frame before its partner is."""

    features: Float[Tensor, "batch channels rows cols"]
    hidden: Float[Tensor, "batch h rows cols"]
    context: Float[Tensor, "batch c rows cols"]


class Raft(nn.Module):
    """The whole network."""

    def __init__(self, config: RaftConfig) -> None:
        super().__init__()
        self.config = config
        norm = None if config.is_small else nn.BatchNorm2d
        self.feature_encoder = Encoder(config, config.features, nn.InstanceNorm2d)
        self.context_encoder = Encoder(config, config.hidden + config.context, norm)
        self.update_block = Update(config)
        self.mask_predictor = None if config.is_small else MaskPredictor(config.hidden)

    def encode(self, image: Float[Tensor, "batch 3 height width"]) -> Encoded:
        """Features and context of images in [-1, 1] whose sides are multiples of 8."""
        both = self.context_encoder(image)
        hidden, context = both.split((self.config.hidden, self.config.context), 1)
        return Encoded(self.feature_encoder(image), torch.tanh(hidden), torch.relu(context))

    def flow(
        self,
        source: Encoded,
        target: Encoded,
        updates: int,
        start: Float[Tensor, "batch 2 rows cols"] | None = None,
    ) -> Iterator[Float[Tensor, "batch 2 height width"]]:
        """Flow from source to target in pixels after every update.

        Args:
            source: Frames that flow starts from.
            target: Their partners.
            updates: Steps of the recurrence.
            start: Flow to begin with, in features; zero if not given.
        """
        pyramid = correlations(source.features, target.features)
        hidden = source.hidden
        rows, cols = hidden.shape[-2:]
        place = places(rows, cols, hidden)
        flow = torch.zeros_like(place).expand(len(hidden), -1, -1, -1) if start is None else start
        for _ in range(updates):
            seen = look_up(pyramid, place + flow, self.config.radius)
            hidden, change = self.update_block(hidden, source.context, seen, flow)
            flow = flow + change
            yield self._enlarged(flow, hidden)

    def _enlarged(self, flow: Tensor, hidden: Tensor) -> Tensor:
        if self.mask_predictor is None:
            large = F.interpolate(flow, scale_factor=STRIDE, mode="bilinear", align_corners=True)
            return STRIDE * large
        return convex_upsampling(flow, self.mask_predictor(hidden))


def places(rows: int, cols: int, like: Tensor) -> Float[Tensor, "1 2 rows cols"]:
    """(x, y) of every feature."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device),
        torch.arange(cols, device=like.device),
        indexing="ij",
    )
    return torch.stack((x, y)).to(like.dtype)[None]


def correlations(
    source: Float[Tensor, "batch channels rows cols"],
    target: Float[Tensor, "batch channels rows cols"],
) -> list[Float[Tensor, "pixels 1 _ _"]]:
    """Similarity of every source feature to every target feature, at four resolutions of the target."""
    channels, rows, cols = source.shape[1:]
    product = source.flatten(2).transpose(1, 2) @ target.flatten(2) / channels**0.5
    level = product.reshape(-1, 1, rows, cols)
    pyramid = [level]
    for _ in range(LEVELS - 1):
        level = F.avg_pool2d(level, 2, 2)
        pyramid.append(level)
    return pyramid


def look_up(
    pyramid: list[Float[Tensor, "pixels 1 _ _"]],
    place: Float[Tensor, "batch 2 rows cols"],
    radius: int,
) -> Float[Tensor, "batch window rows cols"]:
    """Correlations in a window around a place in the target, bilinear, zero outside; columns of the window first."""
    batch, _, rows, cols = place.shape
    side = 2 * radius + 1
    reach = torch.arange(-radius, radius + 1, device=place.device, dtype=place.dtype)
    offset = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), -1)
    centre = place.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for number, level in enumerate(pyramid):
        high, wide = level.shape[-2:]
        size = place.new_tensor((wide - 1, high - 1))
        grid = 2 * (centre / 2**number + offset) / size - 1
        values = F.grid_sample(level, grid, mode="bilinear", align_corners=True)
        found.append(values.reshape(batch, rows, cols, side * side))
    return torch.cat(found, -1).permute(0, 3, 1, 2)


def convex_upsampling(
    flow: Float[Tensor, "batch 2 rows cols"], logits: Float[Tensor, "batch weights rows cols"]
) -> Float[Tensor, "batch 2 height width"]:
    """Every pixel's flow as a mean of that of the 3x3 features around it, in pixels."""
    batch, _, rows, cols = flow.shape
    weight = logits.reshape(batch, 1, 9, STRIDE, STRIDE, rows, cols).softmax(2)
    around = F.unfold(STRIDE * flow, 3, padding=1).reshape(batch, 2, 9, 1, 1, rows, cols)
    mixed = (weight * around).sum(2).permute(0, 1, 4, 2, 5, 3)
    return mixed.reshape(batch, 2, STRIDE * rows, STRIDE * cols)
