"""The network of pi3: images of one scene, in any order, to points in each camera and the cameras' poses.

Sources: pi3 (Wang et al., 2025), its encoder is DINOv2 with registers (Oquab et al., TMLR 2024; Darcet et al.,
ICLR 2024). Names of parameters are those of the official checkpoints.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recon4d.networks.croco.blocks import PatchEmbed
from recon4d.networks.pi3.config import Pi3Config
from recon4d.networks.pi3.heads import CameraHead, FrameDecoder, PixelHead
from recon4d.networks.transformer import (
    NORM_EPS,
    Angles,
    Block,
    grid_positions,
    patch_grid,
    rope_angles,
)

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet; checkpoints have them among their tensors."""


@dataclass(frozen=True)
class Decoded:
    """Tokens of all frames after the decoder: registers first, then patches row by row.

    Frames are those of all sequences of the batch, one sequence after the other.
    """

    last: Float[Tensor, "frames tokens twice_dim"]
    """Outputs of the last two blocks, one behind the other: what the three further decoders read."""
    kept: Mapping[int, Float[Tensor, "frames tokens dim"]]
    """Outputs of the blocks that were asked for, by their index from 0."""
    positions: Int[Tensor, "frames tokens 2"]
    """Row and column: (0, 0) for registers, from (1, 1) for patches."""
    grid: tuple[int, int]
    """(rows, cols) of patches."""
    sequences: int
    """How many there are in the batch, all equally long."""


@dataclass(frozen=True)
class Predicted:
    """What the network says, in 32 bits; lengths are in one unknown unit for each sequence."""

    local_points: Float[Tensor, "batch views height width 3"]
    """Of each pixel in its own camera."""
    confidence: Float[Tensor, "batch views height width"]
    """Logit: any sign, larger is surer."""
    world_from_cam: Float[Tensor, "batch views 4 4"]
    """The world is the network's choice, none of the cameras."""

    @property
    def points(self) -> Float[Tensor, "batch views height width 3"]:
        """In the world."""
        rotation, origin = self.world_from_cam[..., :3, :3], self.world_from_cam[..., :3, 3]
        turned = torch.einsum("bnij,bnhwj->bnhwi", rotation, self.local_points)
        return turned + origin[:, :, None, None]


class Encoder(nn.Module):
    """DINOv2 with registers: images to tokens, each image alone."""

    def __init__(self, config: Pi3Config) -> None:
        super().__init__()
        self.grid = config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, config.dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.enc_registers, config.dim))
        self.patch_embed = PatchEmbed(config.patch, config.dim)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp_ratio, layer_scale=True)
            for _ in range(config.enc_depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)

    def forward(
        self, images: Float[Tensor, "frames 3 height width"], grid: tuple[int, int]
    ) -> Float[Tensor, "frames patches dim"]:
        """Tokens of the patches; `grid` is their (rows, cols), images are normalised."""
        tokens = self.first_tokens(images, grid)
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens)[:, 1 + self.register_tokens.shape[1] :]
        return out

    def first_tokens(
        self, images: Float[Tensor, "frames 3 height width"], grid: tuple[int, int]
    ) -> Float[Tensor, "frames tokens dim"]:
        """Class token, registers (which have no position), and patches, as the first block gets them."""
        patches = self.patch_embed(images).float() + self._positions(grid)
        cls = self.cls_token + self.pos_embed[:, :1]
        alone = torch.cat((cls, self.register_tokens), dim=1)
        return torch.cat((alone.expand(len(images), -1, -1), patches), dim=1)

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "1 patches dim"]:
        stored = self.pos_embed[:, 1:]
        if grid == (self.grid, self.grid):
            return stored
        square = stored.reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2).float()
        resized = F.interpolate(square, grid, mode="bicubic", antialias=True, align_corners=False)
        return resized.flatten(2).mT


class Pi3(nn.Module):
    """Encoder of single frames, decoder of all frames of a scene, and decoders with heads of single frames again."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: Pi3Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("image_mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1))
        self.register_token = nn.Parameter(torch.zeros(1, 1, config.registers, config.dim))
        self.encoder = Encoder(config)
        self.decoder = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp_ratio, qk_norm=True, layer_scale=True)
            for _ in range(config.depth)
        )
        self.point_decoder = FrameDecoder(config, config.point_dim)
        self.point_head = PixelHead(config.point_dim, 3, config.patch)
        self.conf_decoder = FrameDecoder(config, config.conf_dim)
        self.conf_head = PixelHead(config.conf_dim, 1, config.patch)
        self.camera_decoder = FrameDecoder(config, config.camera_dim)
        self.camera_head = CameraHead(config.camera_dim)

    def grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of tokens of images of (height, width) pixels; `InputError` where they do not divide."""
        return patch_grid(size, self.config.patch)

    def encode(
        self, images: Float[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, "frames patches dim"]:
        """Tokens of images, needed once for each.

        Args:
            images: Values in [0, 1], sides multiples of the patch.

        Raises:
            InputError: They are none.
        """
        grid = self.grid_of((images.shape[2], images.shape[3]))
        out: Tensor = self.encoder((images - self.image_mean) / self.image_std, grid)
        return out

    def decode(
        self,
        tokens: Float[Tensor, "frames patches dim"],
        grid: tuple[int, int],
        *,
        sequences: int = 1,
        keep: Collection[int] = (),
    ) -> Decoded:
        """Let the tokens of each frame look at each other, and at those of all frames of their sequence, in turn.

        Args:
            tokens: Of the encoder; all frames of the first sequence, then those of the next.
            grid: (rows, cols) of patches.
            sequences: How many there are.
            keep: Indices of blocks whose output is wanted, from 0; `camera_decoder` and others read `Decoded.last`.
        """
        frames, head = len(tokens), self.config.head_dim
        x = torch.cat((self.register_token[0].expand(frames, -1, -1), tokens.float()), dim=1)
        positions = self._positions(grid, tokens.device).expand(frames, -1, -1)
        within = rope_angles(positions[:1], head)
        across = rope_angles(positions[: frames // sequences].reshape(1, -1, 2), head)
        shape, before = x.shape, x
        kept: dict[int, Tensor] = {}
        for index, block in enumerate(self.decoder):
            before = x
            if index % 2 == 0:
                x = block(x, within)
            else:
                x = block(x.reshape(sequences, -1, shape[-1]), across).reshape(shape)
            if index in keep:
                kept[index] = x
        return Decoded(torch.cat((before, x), dim=-1), kept, positions, grid, sequences)

    def _positions(self, grid: tuple[int, int], device: torch.device) -> Int[Tensor, "1 tokens 2"]:
        registers = torch.zeros(self.config.registers, 2, dtype=torch.int64, device=device)
        return torch.cat((registers, grid_positions(*grid, device) + 1))[None]

    def camera_tokens(self, decoded: Decoded) -> Float[Tensor, "frames tokens camera_dim"]:
        """Output of the camera's decoder, its registers first."""
        out: Tensor = self.camera_decoder(decoded.last, self._angles(decoded))
        return out

    def confidence_tokens(self, decoded: Decoded) -> Float[Tensor, "frames tokens conf_dim"]:
        """Output of the confidence's decoder, its registers first."""
        out: Tensor = self.conf_decoder(decoded.last, self._angles(decoded))
        return out

    def point_tokens(self, decoded: Decoded) -> Float[Tensor, "frames tokens point_dim"]:
        """Output of the points' decoder, its registers first."""
        out: Tensor = self.point_decoder(decoded.last, self._angles(decoded))
        return out

    def _angles(self, decoded: Decoded) -> Angles:
        return rope_angles(decoded.positions[:1], self.config.head_dim)

    def predict(self, decoded: Decoded) -> Predicted:
        """Points, confidence and poses."""
        decoders = (self.point_tokens, self.confidence_tokens, self.camera_tokens)
        begin = self.config.registers
        points, confidence, camera = (part(decoded).float()[:, begin:] for part in decoders)
        with torch.autocast(decoded.last.device.type, enabled=False):
            raw = self.point_head(points, decoded.grid)
            depth = raw[..., 2:].exp()
            local = torch.cat((raw[..., :2] * depth, depth), dim=-1)
            logit = self.conf_head(confidence, decoded.grid)[..., 0]
            poses = self.camera_head(camera)
        return Predicted(*(x.unflatten(0, (decoded.sequences, -1)) for x in (local, logit, poses)))

    def forward(self, images: Float[Tensor, "batch views 3 height width"]) -> Predicted:
        """Predict sequences of images at once.

        Args:
            images: Values in [0, 1], sides multiples of the patch.

        Raises:
            InputError: They are none.
        """
        grid = self.grid_of((images.shape[3], images.shape[4]))
        tokens = self.encode(images.flatten(0, 1))
        return self.predict(self.decode(tokens, grid, sequences=len(images)))
