"""Sizes of a network of the pi3 family, read from the shapes of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.weights.files import count_blocks, shape_of

CAMERA_LAYERS = 2
"""Residual blocks of the camera's head, in all released weights."""


@dataclass(frozen=True)
class Pi3Config:
    """Sizes of a network; the defaults are those of the released weights."""

    dim: int = 1024
    """Channels of all tokens."""
    head_dim: int = 64
    """Channels of each attention head, everywhere."""
    mlp_ratio: float = 4.0
    """Hidden channels of an MLP over its input's."""
    enc_depth: int = 24
    enc_registers: int = 4
    grid: int = 37
    """Tokens along a side of the images whose position embedding is stored."""
    patch: int = 14
    """Pixels along the side of a token."""
    depth: int = 36
    """Blocks that look within a frame and at all frames in turn."""
    registers: int = 5
    """Tokens of each frame besides those of its patches."""
    head_depth: int = 5
    """Blocks of each of the three decoders behind them."""
    point_dim: int = 1024
    """Channels that these hand over to their heads."""
    conf_dim: int = 1024
    camera_dim: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(
                    f"{field.name} must be positive, got {getattr(self, field.name)!r}"
                )
        if self.dim % self.head_dim or self.head_dim % 4:
            raise ConfigError(
                f"{self.dim} channels cannot be split into heads of {self.head_dim}, which must be a multiple of 4; "
                "give sizes that belong together"
            )
        if self.depth < 2 or self.depth % 2:
            raise ConfigError(
                f"the decoder needs blocks for one frame and for all frames in turn, got {self.depth}; "
                "give an even number"
            )

    @property
    def heads(self) -> int:
        """Attention heads of every block."""
        return self.dim // self.head_dim


def config_of(tensors: Mapping[str, Tensor]) -> Pi3Config:
    """Sizes from the shapes of a state dict; further tensors do not matter.

    The width of attention heads is that of the norm of the decoder's queries; in all released weights it is the
    encoder's, too.

    Raises:
        ConfigError: A tensor that has a size is not there or has too few dimensions.
    """
    _, _, registers, dim = _shape(tensors, "register_token", 4)
    _, _, patch, _ = _shape(tensors, "encoder.patch_embed.proj.weight", 4)
    hidden, _ = _shape(tensors, "decoder.0.mlp.fc1.weight", 2)
    _, positions, _ = _shape(tensors, "encoder.pos_embed", 3)
    return Pi3Config(
        dim=dim,
        head_dim=_shape(tensors, "decoder.0.attn.q_norm.weight", 1)[0],
        mlp_ratio=hidden / dim,
        enc_depth=count_blocks(tensors, "encoder.blocks"),
        enc_registers=_shape(tensors, "encoder.register_tokens", 3)[1],
        grid=round(max(positions - 1, 0) ** 0.5),
        patch=patch,
        depth=count_blocks(tensors, "decoder"),
        registers=registers,
        head_depth=count_blocks(tensors, "point_decoder.blocks"),
        point_dim=_shape(tensors, "point_decoder.linear_out.weight", 2)[0],
        conf_dim=_shape(tensors, "conf_decoder.linear_out.weight", 2)[0],
        camera_dim=_shape(tensors, "camera_decoder.linear_out.weight", 2)[0],
    )


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    return shape_of(tensors, name, dimensions, "pi3", "; give an official checkpoint")
