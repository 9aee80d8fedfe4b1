"""The parts that vision transformers of the CroCo family and pi3 share: 2-D rotary positions, attention, blocks.

Sources: rotary positions (Su et al., Neurocomputing 2024) in two dimensions and the twin decoder: CroCo v2 (Weinzaepfel
et al., ICCV 2023); LayerScale: Touvron et al., ICCV 2021. Names of parameters are those of the official checkpoints.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recon4d.core.errors import InputError

NORM_EPS = 1e-6
"""Of every layer norm but that of queries and keys; this and the next are those of the official networks."""
QK_NORM_EPS = 1e-5
"""Of the layer norm of queries and keys."""
ROPE_BASE = 100.0
"""Ratio of the longest to the shortest wavelength of rotary positions, nearly."""

Angles = tuple[Tensor, Tensor]
"""Cosine and sine of rotary positions, (batch, 1, tokens, head) each."""


def grid_positions(rows: int, cols: int, device: torch.device) -> Int[Tensor, "tokens 2"]:
    """Row and column of each token in raster order."""
    return torch.cartesian_prod(
        torch.arange(rows, device=device), torch.arange(cols, device=device)
    )


def rope_angles(positions: Int[Tensor, "batch tokens 2"], head_dim: int) -> Angles:
    """Cosine and sine for each channel of a head: its first half turns with the row, its second with the column.

    Computed once and used by all layers.
    """
    quarter = head_dim // 4
    step = torch.arange(quarter, dtype=torch.float32, device=positions.device)
    angle = positions[..., None].float() * ROPE_BASE ** (-step / quarter)
    angle = torch.cat((angle, angle), dim=-1).flatten(-2)[:, None]
    return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "batch heads tokens head"], angles: Angles | None
) -> Float[Tensor, "batch heads tokens head"]:
    """Apply rotary positions to queries or keys: channel c turns with channel c + a quarter of the head."""
    if angles is None:
        return x
    first, second = x.reshape(*x.shape[:-1], 2, 2, -1).unbind(-2)
    turned = torch.stack((-second, first), dim=-2).flatten(-3)
    return x * angles[0].to(x.dtype) + turned * angles[1].to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head attention of a set of tokens to itself, queries, keys and values from one matrix."""

    def __init__(self, dim: int, heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.q_norm, self.k_norm = (
            nn.LayerNorm(dim // heads, eps=QK_NORM_EPS) if qk_norm else nn.Identity()
            for _ in range(2)
        )

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], angles: Angles | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend; `angles` are the tokens' rotary positions."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(mixed)
        return out


class Mlp(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Token by token."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Scale."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each added to what it got."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4,
        *,
        qk_norm: bool = False,
        layer_scale: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, heads, qk_norm=qk_norm)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls1 = LayerScale(dim) if layer_scale else nn.Identity()
        self.ls2 = LayerScale(dim) if layer_scale else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], angles: Angles | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend and transform; `angles` are the tokens' rotary positions."""
        x = x + self.ls1(self.attn(self.norm1(x), angles))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


def patch_grid(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """(rows, cols) of patches of images of (height, width) pixels.

    Raises:
        InputError: A side is no multiple of the patch.
    """
    if min(size) < patch or size[0] % patch or size[1] % patch:
        raise InputError(
            f"images of {size[1]}x{size[0]} px were given; sides that are multiples of {patch} px are needed: "
            "resize or crop them"
        )
    return size[0] // patch, size[1] // patch
