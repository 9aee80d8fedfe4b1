"""Parts of networks of the CroCo family: patches, cross-attention with what Easi3R needs of it, decoder blocks.

Sources: CroCo v2 (Weinzaepfel et al., ICCV 2023); statistics and re-weighting: Easi3R (Chen et al., ICCV 2025).
Names of parameters are those of the official checkpoints.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from recon4d.core.errors import InputError
from recon4d.networks.transformer import NORM_EPS, Angles, Mlp, SelfAttention, rotate


@dataclass(frozen=True)
class Attention:
    """What is wanted of the cross-attention beside its output; the defaults are nothing."""

    statistics: bool = False
    """Whether the mean over queries of the logits is returned."""
    dynamic1: Bool[Tensor, "batch tokens1"] | None = None
    """Tokens of view 1 that move; with `dynamic2`, static tokens of view 1 do not look at moving ones of view 2."""
    dynamic2: Bool[Tensor, "batch tokens2"] | None = None

    def __post_init__(self) -> None:
        if (self.dynamic1 is None) != (self.dynamic2 is None):
            raise InputError("moving tokens of one view were given; give those of both, or none")


class PatchEmbed(nn.Module):
    """Each patch of an image as a token, in raster order."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Embed."""
        out: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return out


class CrossAttention(nn.Module):
    """Multi-head attention of the tokens of one view to those of the other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def queries_and_keys(
        self,
        x: Float[Tensor, "batch queries dim"],
        y: Float[Tensor, "batch keys dim"],
        x_angles: Angles,
        y_angles: Angles,
    ) -> tuple[Float[Tensor, "batch heads queries head"], Float[Tensor, "batch heads keys head"]]:
        """Queries of one view and keys of the other, with their rotary positions."""
        return (
            rotate(self._split(self.projq(x)), x_angles),
            rotate(self._split(self.projk(y)), y_angles),
        )

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "batch queries dim"],
        y: Float[Tensor, "batch keys dim"],
        x_angles: Angles,
        y_angles: Angles,
        wanted: Attention,
    ) -> tuple[Float[Tensor, "batch queries dim"], Float[Tensor, "batch heads keys"] | None]:
        """Attend; the mean logit of each key where it is wanted."""
        q, k = self.queries_and_keys(x, y, x_angles, y_angles)
        mixed = _attend(q, k, self._split(self.projv(y)), wanted)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out, mean_logits(q, k) if wanted.statistics else None


def _attend(q: Tensor, k: Tensor, v: Tensor, wanted: Attention) -> Tensor:
    """Attention; entries of static queries and moving keys are 0 after the softmax, and nothing takes their share.

    A key whose entry is 0 adds nothing, just as one whose value is 0.
    """
    plain = F.scaled_dot_product_attention(q, k, v)
    if wanted.dynamic1 is None or wanted.dynamic2 is None:
        return plain
    static_values = v.masked_fill(wanted.dynamic2[:, None, :, None], 0)
    weighted = F.scaled_dot_product_attention(q, k, static_values)
    return torch.where(wanted.dynamic1[:, None, :, None], plain, weighted)


def mean_logits(
    q: Float[Tensor, "batch heads queries head"], k: Float[Tensor, "batch heads keys head"]
) -> Float[Tensor, "batch heads keys"]:
    """Mean over queries of the attention's logits: linear in the queries, hence the logit of their mean."""
    mean: Tensor = q.float().mean(dim=2, keepdim=True) * q.shape[-1] ** -0.5
    return (mean * k.float()).sum(dim=-1)


class DecoderBlock(nn.Module):
    """Pre-norm block: attention to the own view, to the other, then MLP."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, heads)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.norm_y = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        y: Float[Tensor, "batch others dim"],
        x_angles: Angles,
        y_angles: Angles,
        wanted: Attention,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch heads others"] | None]:
        """Transform x, looking at y; the mean logits where they are wanted."""
        x = x + self.attn(self.norm1(x), x_angles)
        seen, logits = self.cross_attn(self.norm2(x), self.norm_y(y), x_angles, y_angles, wanted)
        x = x + seen
        out: Tensor = x + self.mlp(self.norm3(x))
        return out, logits
