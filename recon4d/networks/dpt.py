"""The heads that turn tokens into points and confidence: DPT, and one linear layer.

Sources: DPT (Ranftl et al., ICCV 2021) with the activations of DUSt3R (Wang et al., CVPR 2024). Names of parameters
are those of the official checkpoints; some of them appear twice there.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 4
"""x, y, z and confidence before their activations."""
MIN_NORM = 1e-8
"""Shortest vector that has a direction (DUSt3R)."""


def hooks(depth: int) -> tuple[int, int, int, int]:
    """Which entries of the list of a decoder of this depth DPT reads; entry 0 is the encoder's output."""
    return 0, depth // 2, 3 * depth // 4, depth


def as_map(
    tokens: Float[Tensor, "batch tokens dim"], grid: tuple[int, int]
) -> Float[Tensor, "batch dim rows cols"]:
    """Tokens in raster order as a map."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


class ResidualUnit(nn.Module):
    """Two convolutions, each after a ReLU, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "batch width rows cols"]) -> Tensor:
        """Refine."""
        out: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return out


class Fusion(nn.Module):
    """Adds a finer map to the coarser path and doubles its size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)

    def forward(
        self,
        lateral: Float[Tensor, "batch width rows cols"],
        path: Float[Tensor, "batch width rows cols"] | None = None,
    ) -> Float[Tensor, "batch width rows2 cols2"]:
        """Fuse; the coarsest stage has no path, and leaves the first unit unused."""
        mixed = lateral if path is None else path + self.resConfUnit1(lateral)
        out: Tensor = self.out_conv(_double(self.resConfUnit2(mixed)))
        return out


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Scratch(nn.Module):
    """The convolutions between the four levels, two names for some of them."""

    def __init__(self, layer_dims: Sequence[int], width: int) -> None:
        super().__init__()
        self.layer_rn = nn.ModuleList(
            nn.Conv2d(dim, width, 3, padding=1, bias=False) for dim in layer_dims
        )
        for level, conv in enumerate(self.layer_rn, start=1):
            self.add_module(f"layer{level}_rn", conv)
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (
            Fusion(width) for _ in layer_dims
        )

    def forward(self, levels: Sequence[Tensor]) -> Float[Tensor, "batch width rows cols"]:
        """From the coarsest level to the finest, doubled."""
        first, second, third, fourth = (
            conv(x) for conv, x in zip(self.layer_rn, levels, strict=True)
        )
        path = self.refinenet4(fourth)[..., : third.shape[2], : third.shape[3]]
        path = self.refinenet2(second, self.refinenet3(third, path))
        out: Tensor = self.refinenet1(first, path)
        return out


class Dpt(nn.Module):
    """Tokens of four layers as maps at 1/4, 1/8, 1/16 and 1/32 of the image, fused from coarse to fine."""

    def __init__(
        self,
        enc_dim: int,
        dec_dim: int,
        depth: int,
        *,
        layer_dims: Sequence[int],
        feature_dim: int,
        last_dim: int,
    ) -> None:
        super().__init__()
        self.hooks = hooks(depth)
        a, b, c, d = layer_dims
        self.act_postprocess = nn.ModuleList(
            (
                nn.Sequential(nn.Conv2d(enc_dim, a, 1), nn.ConvTranspose2d(a, a, 4, stride=4)),
                nn.Sequential(nn.Conv2d(dec_dim, b, 1), nn.ConvTranspose2d(b, b, 2, stride=2)),
                nn.Sequential(nn.Conv2d(dec_dim, c, 1)),
                nn.Sequential(nn.Conv2d(dec_dim, d, 1), nn.Conv2d(d, d, 3, stride=2, padding=1)),
            )
        )
        self.scratch = Scratch(layer_dims, feature_dim)
        self.head = nn.Sequential(
            nn.Conv2d(feature_dim, last_dim, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(last_dim, last_dim, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last_dim, CHANNELS, 1),
        )

    def forward(
        self, entries: Sequence[Tensor], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        """See `DptHead`."""
        levels = [
            level(as_map(entries[hook], grid))
            for level, hook in zip(self.act_postprocess, self.hooks, strict=True)
        ]
        out: Tensor = self.head(self.scratch(levels))
        return out


class DptHead(nn.Module):
    """DPT under the name that it has in checkpoints."""

    def __init__(self, dpt: Dpt) -> None:
        super().__init__()
        self.dpt = dpt

    def forward(
        self, entries: Sequence[Tensor], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        """Channels before their activations.

        Args:
            entries: Tokens of the encoder and of every decoder layer, (batch, tokens, dim) each.
            grid: (rows, cols) of tokens.
        """
        out: Tensor = self.dpt(entries, grid)
        return out


class LinearHead(nn.Module):
    """One linear layer from the last tokens to the pixels of their patches."""

    def __init__(self, dec_dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(dec_dim, CHANNELS * patch**2)

    def forward(
        self, entries: Sequence[Tensor], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        """Channels before their activations; see `DptHead`."""
        values: Tensor = self.proj(entries[-1])
        return F.pixel_shuffle(as_map(values, grid), self.patch)


def points_and_confidence(
    raw: Float[Tensor, "batch 4 height width"],
) -> tuple[Float[Tensor, "batch height width 3"], Float[Tensor, "batch height width"]]:
    """Points, whose distance grows exponentially, and confidence above 1 (DUSt3R's modes `exp`)."""
    xyz = raw[:, :3].permute(0, 2, 3, 1)
    distance = xyz.norm(dim=-1, keepdim=True)
    points = xyz / distance.clamp(min=MIN_NORM) * torch.expm1(distance)
    return points, 1 + raw[:, 3].exp()
