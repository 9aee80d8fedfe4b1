"""The network of DUSt3R and MonST3R: two images to points of both in the first one's camera.

Sources: DUSt3R (Wang et al., CVPR 2024), MonST3R (Zhang et al., ICLR 2025): the same network with other weights.
Names of parameters are those of the official checkpoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recon4d.core.errors import InputError
from recon4d.networks.croco.blocks import Attention, DecoderBlock, PatchEmbed
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.dpt import Dpt, DptHead, LinearHead, points_and_confidence
from recon4d.networks.transformer import NORM_EPS, Block, grid_positions, patch_grid, rope_angles


@dataclass(frozen=True)
class View:
    """Images after the encoder: one side of a batch of pairs."""

    tokens: Float[Tensor, "batch tokens dim"]
    positions: Int[Tensor, "batch tokens 2"]
    size: tuple[int, int]
    """(height, width) of the images in pixels, as they are stored."""
    portrait: Bool[Tensor, " batch"] | None = None
    """Images that are stored transposed (the official `landscape_only`); None where none is."""
    added: tuple[Float[Tensor, "batch tokens dec_dim"], ...] = ()
    """What the point maps add to the decoder's tokens before its first layer and after some (Align3R)."""

    def take(self, index: Int[Tensor, " chosen"]) -> "View":
        """Some of the images, in this order."""
        return replace(
            self,
            tokens=self.tokens[index],
            positions=self.positions[index],
            portrait=None if self.portrait is None else self.portrait[index],
            added=tuple(term[index] for term in self.added),
        )


@dataclass(frozen=True)
class Decoded:
    """Tokens of pairs after the encoder and each decoder layer."""

    layers1: tuple[Tensor, ...]
    """Of view 1, (batch, tokens, dim) each: entry 0 is the encoder's output, the last one is normalised."""
    layers2: tuple[Tensor, ...]
    logits1: Float[Tensor, "batch layers heads tokens2"] | None
    """Mean over the tokens of view 1 of the logits of their attention to each token of view 2; where wanted."""
    logits2: Float[Tensor, "batch layers heads tokens1"] | None


@dataclass(frozen=True)
class Predicted:
    """Points of both views in the camera of view 1, in a scale of the pair's own, and confidence above 1."""

    points1: Float[Tensor, "batch height1 width1 3"]
    confidence1: Float[Tensor, "batch height1 width1"]
    points2: Float[Tensor, "batch height2 width2 3"]
    confidence2: Float[Tensor, "batch height2 width2"]


class Croco(nn.Module):
    """Encoder of single images, twin decoder of pairs, one head for each view."""

    def __init__(self, config: CrocoConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.patch, config.enc_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.dec_dim))
        self.enc_blocks = nn.ModuleList(
            Block(config.enc_dim, config.enc_heads, config.mlp_ratio)
            for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(config.enc_dim, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(config.enc_dim, config.dec_dim)
        self.dec_blocks, self.dec_blocks2 = (_decoder(config) for _ in range(2))
        self.dec_norm = nn.LayerNorm(config.dec_dim, eps=NORM_EPS)
        self.downstream_head1, self.downstream_head2 = (_head(config) for _ in range(2))

    def encode(
        self,
        images: Float[Tensor, "batch 3 height width"],
        portrait: Bool[Tensor, " batch"] | None = None,
        points: Float[Tensor, "batch height width 3"] | None = None,
    ) -> View:
        """Tokens of images, needed once for each.

        Args:
            images: Values in [-1, 1], sides multiples of the patch; portrait ones as they are.
            portrait: Which images are stored transposed; None for none.
            points: Normalised point maps, which this network cannot use (see `Align3R`).

        Raises:
            InputError: The sides are no multiples of the patch, or point maps are given.
        """
        if points is not None:
            raise InputError("point maps were given to a network without a point branch; omit them")
        return self._encode(images, portrait)

    def _encode(self, images: Tensor, portrait: Tensor | None) -> View:
        height, width = images.shape[2:]
        rows, cols = self.grid((height, width))
        tokens = self._patches(images, portrait).float()
        positions = grid_positions(rows, cols, images.device).expand(len(images), -1, -1)
        if portrait is not None:
            tall = grid_positions(cols, rows, images.device)
            positions = torch.where(portrait[:, None, None], tall, positions)
        angles = rope_angles(positions, self.config.enc_dim // self.config.enc_heads)
        for block in self.enc_blocks:
            tokens = block(tokens, angles)
        return View(self.enc_norm(tokens), positions, (height, width), portrait)

    def _patches(self, images: Tensor, portrait: Tensor | None) -> Tensor:
        if portrait is None:
            out: Tensor = self.patch_embed(images)
            return out
        wide = self.patch_embed(images[~portrait])
        return _merge(portrait, wide, self.patch_embed(images[portrait].mT))

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of tokens of images of (height, width) pixels; `InputError` where they do not divide."""
        return patch_grid(size, self.config.patch)

    def decode(self, view1: View, view2: View, wanted: Attention | None = None) -> Decoded:
        """Let the tokens of both views of each pair look at each other.

        Args:
            view1: First images of the pairs.
            view2: Second images; their size may differ.
            wanted: What is wanted of the cross-attention.
        """
        wanted = wanted or Attention()
        head_dim = self.config.dec_dim // self.config.dec_heads
        a1, a2 = (rope_angles(view.positions, head_dim) for view in (view1, view2))
        x1, x2 = (
            _augmented(self.decoder_embed(view.tokens).float(), view, 0) for view in (view1, view2)
        )
        other = Attention(wanted.statistics)
        layers, logits = [(view1.tokens, view2.tokens)], []
        blocks = zip(self.dec_blocks, self.dec_blocks2, strict=True)
        for depth, (block1, block2) in enumerate(blocks, start=1):
            one, two = block1(x1, x2, a1, a2, wanted), block2(x2, x1, a2, a1, other)
            x1, x2 = _augmented(one[0], view1, depth), _augmented(two[0], view2, depth)
            layers.append((x1, x2))
            logits.append((one[1], two[1]))
        layers[-1] = (self.dec_norm(x1), self.dec_norm(x2))
        layers1, layers2 = zip(*layers, strict=True)
        mean1, mean2 = zip(*logits, strict=True)
        return Decoded(layers1, layers2, _stacked(mean1), _stacked(mean2))

    def predict(self, decoded: Decoded, view1: View, view2: View) -> Predicted:
        """Points and confidence of both views from their tokens, in 32 bits."""
        found: list[Tensor] = []
        heads = (self.downstream_head1, self.downstream_head2)
        with torch.autocast(view1.tokens.device.type, enabled=False):
            for head, layers, view in zip(
                heads, (decoded.layers1, decoded.layers2), (view1, view2), strict=True
            ):
                raw = self._head(head, [layer.float() for layer in layers], view)
                found.extend(points_and_confidence(raw))
        return Predicted(*found)

    def _head(self, head: nn.Module, layers: list[Tensor], view: View) -> Tensor:
        rows, cols = self.grid(view.size)
        if view.portrait is None:
            out: Tensor = head(layers, (rows, cols))
            return out
        wide = head([layer[~view.portrait] for layer in layers], (rows, cols))
        tall = head([layer[view.portrait] for layer in layers], (cols, rows))
        return _merge(view.portrait, wide, tall.mT)

    def layer_tokens(
        self, layers: Sequence[Tensor], wanted: Sequence[int]
    ) -> Float[Tensor, "batch wanted tokens dec_dim"]:
        """Tokens of some layers in the decoder's width: 0 is the encoder after `decoder_embed`, k the k-th layer."""
        chosen = [self.decoder_embed(layers[0]) if k == 0 else layers[k] for k in wanted]
        return torch.stack([tokens.float() for tokens in chosen], dim=1)

    def forward(
        self, view1: View, view2: View, wanted: Attention | None = None
    ) -> tuple[Decoded, Predicted]:
        """Decode, and predict."""
        decoded = self.decode(view1, view2, wanted)
        return decoded, self.predict(decoded, view1, view2)


def _decoder(config: CrocoConfig) -> nn.ModuleList:
    return nn.ModuleList(
        DecoderBlock(config.dec_dim, config.dec_heads, config.mlp_ratio)
        for _ in range(config.dec_depth)
    )


def _head(config: CrocoConfig) -> nn.Module:
    if config.head == "linear":
        return LinearHead(config.dec_dim, config.patch)
    return DptHead(
        Dpt(
            config.enc_dim,
            config.dec_dim,
            config.dec_depth,
            layer_dims=config.layer_dims,
            feature_dim=config.feature_dim,
            last_dim=config.last_dim,
        )
    )


def _merge(portrait: Tensor, wide: Tensor, tall: Tensor) -> Tensor:
    """Put the results of both kinds of images back into their order."""
    merged = wide.new_empty((len(portrait), *wide.shape[1:]))
    merged[~portrait], merged[portrait] = wide, tall
    return merged


def _augmented(tokens: Tensor, view: View, depth: int) -> Tensor:
    return tokens + view.added[depth] if depth < len(view.added) else tokens


def _stacked(logits: Sequence[Tensor | None]) -> Tensor | None:
    found = [value for value in logits if value is not None]
    return torch.stack(found, dim=1) if found else None


def moving_tokens(
    masks: Bool[Tensor, "batch height width"], patch: int
) -> Bool[Tensor, "batch tokens"]:
    """Tokens with at least one moving pixel."""
    count, height, width = masks.shape
    tiles = masks.reshape(count, height // patch, patch, width // patch, patch)
    return tiles.any(dim=4).any(dim=2).flatten(1)
