"""D2MIF: evidence for motion from geometry, appearance and flow, summed and refined from coarse to fine.

Zhang et al., MuBe4D, Information Fusion 133 (2026): encoders of 3D spatio-temporal priors, of the image and of the flow
give maps at 1/4, 1/8, 1/16 and 1/32 of the image, all projected to one width and added (Eq. 1,
`F_s = F_3D,s + F_2DA,s + F_2DM,s`); residual conv units refine every scale, the coarser map is upsampled and added
(Lin et al., RefineNet, CVPR 2017). Ours also adds the encoders' first features at 1/2, where the head decides; and
several partner frames of one image are a confidence-weighted mean of their evidence, so that one partner is the paper's
network and more cost only their encoders. The evidence of 3D has two feeds, which are added too: geometric maps, which
any geometry gives, and tokens of a network that one's weights are trained for (`recon4d.masks.d2mif.feed`).

Numbers here that name no source were set by hand.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recon4d.core.errors import ConfigError
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.encoders import ConvEncoder
from recon4d.masks.d2mif.feed import Part, TokenFeed
from recon4d.networks.lite0 import Lite0, Pyramid, channels_last
from recon4d.networks.tokens import LAYERS

GEOMETRY_CHANNELS = 12
"""Of `recon4d.masks.d2mif.maps.geometry_maps`."""
MOTION_CHANNELS = 6
"""Of `recon4d.masks.d2mif.maps.motion_maps`."""
LITTLE = 0.05
"""Weight of a partner where its flow fails the forward-backward check: better than nothing where all fail."""
DROPOUT = 0.1
"""Of the head (MuBe4D)."""


class ResidualUnit(nn.Module):
    """Two activated 3x3 convolutions around which the input is added (RefineNet)."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "batch width rows cols"]) -> Tensor:
        """Same shape."""
        inner = self.norm1(self.conv1(torch.relu(x)))
        out: Tensor = x + self.norm2(self.conv2(inner.relu_()))
        return out


@dataclass(frozen=True)
class Tokens:
    """What a backbone exposes of an image (`recon4d.networks.tokens.packed`)."""

    values: Float[Tensor, "token_rows token_cols values"]
    """Layers, then statistics; the tokens divide the image evenly."""
    size: tuple[int, int]
    """(width, height) of the whole image in pixels."""
    part: Part | None = None
    """Of the image, which is looked at; None: all of it."""

    def to(self, device: str) -> "Tokens":
        """The same on a device."""
        return replace(self, values=self.values.to(device))


class TokenBranch(nn.Module):
    """Evidence from tokens: nothing at 1/2 of the image, where no token sees anything."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.head = config.head
        self.statistics = config.attention_channels
        self.feed = TokenFeed(config.token_channels, config.width, config.attention_channels)

    def forward(self, given: Tokens) -> Pyramid:
        """All scales, of one image."""
        rows, cols, channels = given.values.shape
        of_layers = channels - self.statistics
        layers = given.values[..., :of_layers].reshape(rows * cols, LAYERS, -1).transpose(0, 1)
        attention = given.values[..., of_layers:].permute(2, 0, 1)[None]
        width, height = given.size
        maps = self.feed(
            layers[None],
            (rows, cols),
            (width / cols, height / rows),
            given.size,
            attention if self.statistics else None,
            given.part,
        )
        _, _, width, height = given.part or (0, 0, width, height)
        half = maps[0].new_zeros((1, self.head, (height + 1) // 2, (width + 1) // 2))
        return half, *maps


class Projection(nn.Module):
    """Features of one encoder to the common widths at 1/2 and at the other four scales."""

    def __init__(self, channels: Sequence[int], config: NetworkConfig):
        super().__init__()
        widths = (config.head, *(config.width,) * 4)
        self.to_width = nn.ModuleList(
            nn.Conv2d(c, w, 1) for c, w in zip(channels, widths, strict=True)
        )

    def forward(self, features: Pyramid) -> Pyramid:
        """All scales."""
        half, *rest = (f(x) for f, x in zip(self.to_width, features, strict=True))
        quarter, eighth, sixteenth, last = rest
        return half, quarter, eighth, sixteenth, last


class D2mif(nn.Module):
    """The network; every branch's features can be computed once and kept."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        stem = config.head
        self.encoders, self.projections = nn.ModuleDict(), nn.ModuleDict()
        inputs = {"geometry": GEOMETRY_CHANNELS, "motion": MOTION_CHANNELS}
        for branch in config.branches:
            encoder: ConvEncoder | Lite0
            if branch == "appearance" and config.appearance == "lite0":
                encoder = Lite0()
            else:
                channels = inputs.get(branch, 12)  # an image at 1/2: 2 x 2 pixels of 3 colours
                encoder = ConvEncoder(channels, stem, config.encoder, config.blocks)
            self.encoders[branch] = encoder
            self.projections[branch] = Projection(encoder.channels, config)
        self.skips = nn.ModuleList(ResidualUnit(config.width) for _ in range(4))
        self.merges = nn.ModuleList(ResidualUnit(config.width) for _ in range(4))
        self.shrink = nn.Conv2d(config.width, config.head, 1)
        self.head = nn.Sequential(
            nn.Conv2d(config.head, config.head, 3, 1, 1, bias=False),
            nn.BatchNorm2d(config.head),
            nn.ReLU(),
            nn.Dropout2d(DROPOUT),
            nn.Conv2d(config.head, 1, 1),
        )
        self.tokens = TokenBranch(config) if config.token_channels else None

    def features(self, branch: str, maps: Float[Tensor, "batch channels _ _"]) -> Pyramid:
        """Evidence of one branch, projected.

        Args:
            branch: A branch that the network has.
            maps: An image (3 channels, values in [-1, 1], at full size), or maps of `recon4d.masks.d2mif.maps` at 1/2
            of it.
        """
        encoder = self.encoders[branch]
        if branch == "appearance" and isinstance(encoder, ConvEncoder):
            maps = nn.functional.pixel_unshuffle(maps, 2)
        found: Pyramid = self.projections[branch](encoder(maps))
        return found

    def token_features(self, given: Sequence[Tokens]) -> Pyramid:
        """Evidence of the tokens of a batch of images, whose parts have one size.

        Raises:
            ConfigError: The network reads no tokens, there are none, or they are not those that it reads.
        """
        config = self.config
        wanted = LAYERS * config.token_channels + config.attention_channels
        found = {x.values.shape[-1] for x in given} or {0}
        if self.tokens is None or found != {wanted}:
            raise ConfigError(
                f"tokens with {max(found)} numbers were given, and these weights of D2MIF read {wanted}; use weights "
                "that were trained with tokens of the same network"
            )
        half, *scales = (torch.cat(x) for x in zip(*map(self.tokens, given), strict=True))
        quarter, eighth, sixteenth, last = scales
        return half, quarter, eighth, sixteenth, last

    def decode(self, evidence: Pyramid) -> Float[Tensor, "batch rows cols"]:
        """Log-odds of motion at 1/2 of the image from the sum of all evidence."""
        half, *scales = evidence
        x = None
        for at in (3, 2, 1, 0):
            skip = self.skips[at](scales[at])
            x = self.merges[at](skip if x is None else skip + _enlarge(x, skip))
        assert x is not None
        found: Tensor = self.head(torch.relu(half + _enlarge(self.shrink(x), half)))
        return found[:, 0]

    def forward(
        self,
        image: Float[Tensor, "batch 3 height width"],
        motion: Float[Tensor, "batch partners _ rows cols"],
        geometry: Float[Tensor, "batch partners _ rows cols"],
        confidence: Float[Tensor, "batch partners rows cols"],
        without: Sequence[str] = (),
        tokens: Sequence[Tokens] = (),
    ) -> Float[Tensor, "batch rows cols"]:
        """Log-odds of motion; branches that the network does not have, or shall do `without`, are not read.

        Tokens, of every image, belong to the branch `geometry`; they are read if the network has a feed for them.
        """
        branches = [b for b in self.config.branches if b not in without]
        partners = motion.shape[1]
        pairs: list[Pyramid] = []
        if "motion" in branches:
            pairs.append(self.features("motion", motion.flatten(0, 1)))
        if "geometry" in branches:
            pairs.append(self.features("geometry", geometry.flatten(0, 1)))
        parts = []
        if pairs:
            parts.append(over_partners(add(pairs), confidence, partners))
        if "appearance" in branches:
            parts.append(self.features("appearance", image))
        if self.tokens is not None and "geometry" not in without:
            parts.append(self.token_features(tokens))
        return self.decode(add(parts))


def fold_norms(network: D2mif) -> D2mif:
    """The network for inference alone, with its batch normalisations folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        children = dict(module.named_children())
        for at, (name, child) in enumerate(children.items()):
            following = list(children.items())[at + 1 : at + 2]
            if isinstance(child, nn.Conv2d) and following:
                norm_name, norm = following[0]
                if isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(child, norm))
                    setattr(module, norm_name, nn.Identity())
    channels_last(folded)
    return folded


def add(pyramids: Sequence[Pyramid]) -> Pyramid:
    """Evidence summation (MuBe4D Eq. 1)."""
    half, quarter, eighth, sixteenth, last = (sum(x[1:], x[0]) for x in zip(*pyramids, strict=True))
    return half, quarter, eighth, sixteenth, last


def over_partners(
    evidence: Pyramid, confidence: Float[Tensor, "batch partners rows cols"], partners: int
) -> Pyramid:
    """Mean of the evidence of all partners of each image, weighted with the confidence of their flow.

    Args:
        evidence: Of (batch * partners) pairs.
        confidence: Of the flow to each partner, in [0, 1], at 1/2 of the image.
        partners: Partners per image.
    """
    weight = confidence + LITTLE
    found = []
    for x in evidence:
        if weight.shape[-2:] != x.shape[-2:]:
            rows, cols = x.shape[-2:]
            weight = nn.functional.adaptive_avg_pool2d(weight, (rows, cols))
        share = (weight / weight.sum(1, keepdim=True))[:, :, None]
        of_pair = x.reshape(-1, partners, *x.shape[1:])
        total = share[:, 0] * of_pair[:, 0]
        for at in range(1, partners):
            total = total + share[:, at] * of_pair[:, at]
        found.append(total)
    half, quarter, eighth, sixteenth, last = found
    return half, quarter, eighth, sixteenth, last


def _enlarge(
    x: Float[Tensor, "batch _ small_rows small_cols"], like: Float[Tensor, "batch _ rows cols"]
) -> Float[Tensor, "batch _ rows cols"]:
    return nn.functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
