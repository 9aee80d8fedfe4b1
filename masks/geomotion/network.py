"""GeoMotion (CVPR 2026): pi3, whose confidence decoder says what moves, from features of several depths and flow.

Numbers are those of the published network (README of the parity fixtures): four layers of pi3's decoder, the magnitude
of the flow, and the camera's features are fused per patch; pi3's confidence decoder and head make a logit of motion per
pixel of it. Names of parameters are those of the official checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recon4d.core.errors import ConfigError
from recon4d.networks.load import Loader
from recon4d.networks.pi3.config import Pi3Config, config_of
from recon4d.networks.pi3.network import Decoded, Pi3

LOW_BLOCKS = (5, 15)
"""Blocks of pi3's decoder, from 0, that are looked at besides the last two; all frames see each other in both."""
FLOW_CONVS = (0, 2, 4)
"""Places of the convolutions in the flow's encoder."""
FUSION = "motion_aware_decoder.fusion_proj.weight"
"""A parameter that pi3 does not have."""


@dataclass(frozen=True)
class GeoMotionConfig:
    """Sizes; the defaults are those of the released weights."""

    pi3: Pi3Config = field(default_factory=Pi3Config)
    flow_dims: tuple[int, int, int] = (32, 64, 128)
    """Channels of the flow's encoder."""

    def __post_init__(self) -> None:
        if self.pi3.depth <= max(LOW_BLOCKS):
            raise ConfigError(
                f"GeoMotion looks at blocks {LOW_BLOCKS[0]} and {LOW_BLOCKS[1]} of pi3's decoder, which has "
                f"{self.pi3.depth}; give weights with more"
            )


class MotionFusion(nn.Module):
    """Features of pi3, flow and camera to the tokens that the motion decoder reads."""

    def __init__(self, config: GeoMotionConfig) -> None:
        super().__init__()
        twice, first, second, third = 2 * config.pi3.dim, *config.flow_dims
        self.feature_proj = nn.Sequential(nn.Linear(2 * twice, twice), nn.ReLU())
        self.flow_encoder = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
        )
        self.fusion_proj = nn.Linear(twice + third + config.pi3.camera_dim, twice)

    def forward(
        self,
        features: Float[Tensor, "frames tokens four_dim"],
        camera: Float[Tensor, "frames patches camera_dim"],
        flow_px: Float[Tensor, "frames height width"],
        grid: tuple[int, int],
    ) -> Float[Tensor, "frames tokens twice_dim"]:
        """Fuse; registers, which come first, have no flow and keep the projection of their features.

        Args:
            features: Of pi3's decoder: `LOW_BLOCKS`, then the last two.
            camera: Output of the camera's decoder for the patches.
            flow_px: Magnitude of the flow, pixels of these images.
            grid: (rows, cols) of patches.
        """
        projected = self.feature_proj(features).float()
        registers = projected.shape[1] - grid[0] * grid[1]
        moved = torch.cat([self._encoded(flow_px[k : k + 1], grid) for k in range(len(flow_px))])
        patches = torch.cat((projected[:, registers:], moved.flatten(2).mT, camera), dim=-1)
        return torch.cat((projected[:, :registers], self.fusion_proj(patches).float()), dim=1)

    def _encoded(
        self, flow_px: Float[Tensor, "1 height width"], grid: tuple[int, int]
    ) -> Float[Tensor, "1 channels rows cols"]:
        """Features of the flow of one frame: its maps have 200 times the size of what is kept of them."""

        def encode(flow: Tensor) -> Tensor:
            maps = self.flow_encoder(flow[:, None]).float()
            return F.interpolate(maps, grid, mode="bilinear", align_corners=False)

        if not torch.is_grad_enabled():
            return encode(flow_px)
        found: Tensor = checkpoint(encode, flow_px, use_reentrant=False)
        return found


@dataclass(frozen=True)
class Looked:
    """What the parts that are never trained make of images."""

    decoded: Decoded
    features: Float[Tensor, "frames tokens four_dim"]
    camera: Float[Tensor, "frames patches camera_dim"]


class GeoMotion(Pi3):
    """Images of consecutive frames, and how far their pixels move, to what moves by itself."""

    def __init__(self, config: GeoMotionConfig) -> None:
        super().__init__(config.pi3)
        self.motion_aware_decoder = MotionFusion(config)

    @property
    def trained(self) -> tuple[nn.Module, ...]:
        """The parts that learn; all others are pi3's as they are."""
        return (self.motion_aware_decoder, self.conf_decoder, self.conf_head)

    @property
    def side_px(self) -> int:
        """Side of the square images that the network was made for: 518 in the released weights."""
        return self.config.grid * self.config.patch

    def look(self, images: Float[Tensor, "frames 3 height width"], *, sequences: int = 1) -> Looked:
        """Everything before the parts that learn.

        Args:
            images: All frames of the first sequence, then those of the next. They are normalised here, whatever was
                done to them before.
            sequences: How many there are.
        """
        grid = self.grid_of((images.shape[2], images.shape[3]))
        decoded = self.decode(self.encode(images), grid, sequences=sequences, keep=LOW_BLOCKS)
        low = [decoded.kept[index] for index in LOW_BLOCKS]
        camera = self.camera_tokens(decoded)[:, self.config.registers :].float()
        return Looked(decoded, torch.cat((*low, decoded.last), dim=-1), camera)

    def motion(
        self, looked: Looked, flow_px: Float[Tensor, "frames height width"]
    ) -> Float[Tensor, "frames height width"]:
        """Logits of motion; `flow_px` is the magnitude of the flow in pixels of the images."""
        grid = looked.decoded.grid
        fused = self.motion_aware_decoder(looked.features, looked.camera, flow_px, grid)
        tokens = self.conf_decoder(fused, self._angles(looked.decoded)).float()
        with torch.autocast(tokens.device.type, enabled=False):
            logits: Tensor = self.conf_head(tokens[:, self.config.registers :], grid)
        return logits[..., 0]


def geomotion_config(tensors: Mapping[str, Tensor], path: Path) -> GeoMotionConfig:
    """Sizes from the shapes of a checkpoint.

    Raises:
        ConfigError: It is none of GeoMotion.
    """
    convs = [
        tensors.get(f"motion_aware_decoder.flow_encoder.{index}.weight") for index in FLOW_CONVS
    ]
    dims = [len(conv) for conv in convs if conv is not None and conv.dim() == 4]
    if FUSION not in tensors or len(dims) != len(FLOW_CONVS):
        what = "of pi3 alone" if "point_decoder.projects.weight" in tensors else "of something else"
        raise ConfigError(
            f"the weights {path} are {what}: GeoMotion's motion_aware_decoder is not there; give a checkpoint of "
            "GeoMotion, or make one with: recon4d train geomotion"
        )
    return GeoMotionConfig(config_of(tensors), (dims[0], dims[1], dims[2]))


GEOMOTION = Loader(
    lambda weights: geomotion_config(weights.tensors, weights.path),
    lambda config: GeoMotion(config).requires_grad_(False),
    lambda _: "GeoMotion",
)
load_geomotion, geomotion_of, empty_geomotion = (
    GEOMOTION.load,
    GEOMOTION.network_of,
    GEOMOTION.empty,
)
