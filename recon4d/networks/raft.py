"""RAFT (Teed and Deng, ECCV 2020), large and small: features, all-pairs correlation, recurrent updates of the flow.

Parameters have torchvision's names. Maps are at an eighth of the image, flows in pixels of the image unless they are
called coarse: those are in cells of 8 pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recon4d.networks.correlation import cell_grid, correlation_pyramid, look_up
from recon4d.networks.residual import BottleneckBlock, Encoder, ResidualBlock, conv_norm

CELL_PX = 8
"""Pixels of the image per cell of the maps, in each direction."""
LEVELS = 4
"""Of the correlation pyramid; each halves the one before."""
NEIGHBOURS = 9
"""Coarse flows that each full-size flow is a convex combination of (large alone)."""
MASK_FACTOR = 0.25
"""On the logits of that combination; it balances gradients in training and is part of the weights."""


@dataclass(frozen=True)
class RaftSize:
    """Widths of one of the two networks."""

    stem: int
    stages: tuple[int, int, int]
    features: int
    hidden: int
    context: int
    radius: int
    """Of the correlation lookup, cells of each level."""
    correlation: tuple[int, ...]
    """Widths of the layers that read the correlation; the first is 1x1, others 3x3."""
    flow: tuple[int, int]
    motion: int
    """Width of what is made of correlation and flow, the flow itself not counted."""
    recurrent: tuple[tuple[int, int], ...]
    """Kernels of the recurrent units, one after the other."""
    head: int
    large: bool
    """Plain residual blocks, batch norm in the context encoder, convex upsampling."""


LARGE = RaftSize(
    stem=64,
    stages=(64, 96, 128),
    features=256,
    hidden=128,
    context=128,
    radius=4,
    correlation=(256, 192),
    flow=(128, 64),
    motion=126,
    recurrent=((1, 5), (5, 1)),
    head=256,
    large=True,
)
SMALL = RaftSize(
    stem=32,
    stages=(32, 64, 96),
    features=128,
    hidden=96,
    context=64,
    radius=3,
    correlation=(96,),
    flow=(64, 32),
    motion=80,
    recurrent=((3, 3),),
    head=128,
    large=False,
)


@dataclass(frozen=True)
class Encoded:
    """What RAFT needs of a batch of frames, whatever they are compared with."""

    features: Float[Tensor, "batch features rows cols"]
    hidden: Float[Tensor, "batch hidden rows cols"]
    """Where the recurrent state begins."""
    context: Float[Tensor, "batch context rows cols"]

    @staticmethod
    def cat(parts: "list[Encoded]") -> "Encoded":
        """Batches one after the other."""
        return Encoded(
            *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Encoded))
        )


class Raft(nn.Module):
    """Optical flow between encoded frames."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        self.size = size
        norm = nn.BatchNorm2d if size.large else None
        block = ResidualBlock if size.large else BottleneckBlock
        widths = (size.stem, *size.stages)
        self.feature_encoder = Encoder(widths, block, nn.InstanceNorm2d, size.features)
        self.context_encoder = Encoder(widths, block, norm, size.hidden + size.context)
        self.update_block = UpdateBlock(size)
        self.mask_predictor = MaskPredictor(size) if size.large else None

    def encode(self, images: Float[Tensor, "batch 3 height width"]) -> Encoded:
        """Encode frames with values in [-1, 1] and sides that are multiples of `CELL_PX`."""
        features = self.feature_encoder(images)
        hidden, context = self.context_encoder(images).split(
            (self.size.hidden, self.size.context), dim=1
        )
        return Encoded(features, hidden.tanh(), context.relu())

    def updates(
        self,
        source: Encoded,
        target: Encoded,
        count: int,
        start: Float[Tensor, "batch 2 rows cols"] | None = None,
    ) -> Iterator[tuple[Float[Tensor, "batch 2 rows cols"], Tensor]]:
        """Coarse flow from source to target and recurrent state after each of `count` updates.

        Args:
            source: Frames whose pixels are followed.
            target: Where they are looked for.
            count: Updates.
            start: Coarse flow to begin from; None: zero.
        """
        pyramid = correlation_pyramid(source.features, target.features, LEVELS)
        hidden, grid = source.hidden, cell_grid(source.features)
        flow = torch.zeros_like(grid).expand(len(hidden), -1, -1, -1) if start is None else start
        for _ in range(count):
            seen = look_up(pyramid, grid + flow, self.size.radius)
            hidden, delta = self.update_block(hidden, source.context, seen, flow)
            flow = flow + delta.float()
            yield flow, hidden

    def upsample(
        self, flow: Float[Tensor, "batch 2 rows cols"], hidden: Tensor
    ) -> Float[Tensor, "batch 2 height width"]:
        """Flow at the size of the image, pixels, of a coarse flow."""
        if self.mask_predictor is None:
            return CELL_PX * F.interpolate(
                flow, scale_factor=CELL_PX, mode="bilinear", align_corners=True
            )
        return upsample_convex(flow, self.mask_predictor(hidden).float())


class UpdateBlock(nn.Module):
    """One update: what correlation and flow say goes into the recurrent state, and the state into a step."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        self.motion_encoder = MotionEncoder(size)
        self.recurrent_block = RecurrentBlock(size)
        self.flow_head = FlowHead(size)

    def forward(
        self, hidden: Tensor, context: Tensor, seen: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Next state and step of the coarse flow."""
        given = torch.cat((context, self.motion_encoder(seen, flow)), dim=1)
        hidden = self.recurrent_block(hidden, given)
        return hidden, self.flow_head(hidden)


class MotionEncoder(nn.Module):
    """Reads the correlation around the present flow, and the flow."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        first, *second = size.correlation
        self.convcorr1 = conv_norm(LEVELS * (2 * size.radius + 1) ** 2, first, 1)
        self.convcorr2 = conv_norm(first, second[0], 3) if second else nn.Identity()
        self.convflow1 = conv_norm(2, size.flow[0], 7)
        self.convflow2 = conv_norm(size.flow[0], size.flow[1], 3)
        self.conv = conv_norm(size.correlation[-1] + size.flow[1], size.motion, 3)

    def forward(self, seen: Tensor, flow: Tensor) -> Tensor:
        """Motion features; the last two channels are the flow itself."""
        both = (self.convcorr2(self.convcorr1(seen)), self.convflow2(self.convflow1(flow)))
        return torch.cat((self.conv(torch.cat(both, dim=1)), flow), dim=1)


class RecurrentBlock(nn.Module):
    """Convolutional gated recurrent units, one after the other."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        given = size.context + size.motion + 2
        first, *second = (ConvGru(size.hidden, given, kernel) for kernel in size.recurrent)
        self.convgru1 = first
        self.convgru2 = second[0] if second else None

    def forward(self, hidden: Tensor, given: Tensor) -> Tensor:
        """Next state."""
        hidden = self.convgru1(hidden, given)
        return hidden if self.convgru2 is None else self.convgru2(hidden, given)


class ConvGru(nn.Module):
    """Gated recurrent unit (Cho et al., EMNLP 2014) with convolutions."""

    def __init__(self, hidden: int, given: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convz, self.convr, self.convq = (
            nn.Conv2d(hidden + given, hidden, kernel, padding=padding) for _ in range(3)
        )

    def forward(self, hidden: Tensor, given: Tensor) -> Tensor:
        """Next state."""
        both = torch.cat((hidden, given), dim=1)
        update, reset = self.convz(both).sigmoid(), self.convr(both).sigmoid()
        proposed = self.convq(torch.cat((reset * hidden, given), dim=1)).tanh()
        mixed: Tensor = (1 - update) * hidden + update * proposed
        return mixed


class FlowHead(nn.Module):
    """Step of the coarse flow that the recurrent state asks for."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size.hidden, size.head, 3, padding=1)
        self.conv2 = nn.Conv2d(size.head, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Predict."""
        step: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return step


class MaskPredictor(nn.Module):
    """Logits of the convex combination that makes the full-size flow."""

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        self.convrelu = conv_norm(size.hidden, size.head, 3)
        self.conv = nn.Conv2d(size.head, NEIGHBOURS * CELL_PX**2, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Predict."""
        logits: Tensor = MASK_FACTOR * self.conv(self.convrelu(hidden))
        return logits


def upsample_convex(
    flow: Float[Tensor, "batch 2 rows cols"], logits: Float[Tensor, "batch logits rows cols"]
) -> Float[Tensor, "batch 2 height width"]:
    """Flow at the size of the image, pixels: every pixel mixes the coarse flows of its cell and the eight around."""
    batch, _, rows, cols = flow.shape
    share = logits.reshape(batch, 1, NEIGHBOURS, CELL_PX, CELL_PX, rows, cols).softmax(dim=2)
    near = F.unfold(CELL_PX * flow, 3, padding=1)
    near = near.reshape(batch, 2, NEIGHBOURS, 1, 1, rows, cols)
    mixed = (share * near).sum(2).permute(0, 1, 4, 2, 5, 3)
    return mixed.reshape(batch, 2, CELL_PX * rows, CELL_PX * cols)
