"""What a frozen network exposes of every frame of a video: tokens of its encoder and decoder, for D2MIF.

MuBe4D (Zhang et al., Information Fusion 133, 2026) reads the encoder's output, three layers spread over the decoder,
and statistics of the cross-attention. A network takes part with one function that makes a `TokenSource`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor, nn

from recon4d.choices import table, with_tokens
from recon4d.core.arrays import GrowingArray
from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress, no_progress
from recon4d.weights.resolve import Backbone

DECODER_LAYERS = 3
"""Layers of the decoder that are read; with the encoder's output that makes four per image (MuBe4D)."""
LAYERS = 1 + DECODER_LAYERS
"""Layers per image: the encoder's output, and those of the decoder."""

Values = Float[Tensor, "rows cols values"]
"""Of one image: per token, `LAYERS` layers one after the other, then statistics (`packed`)."""
Look = Callable[
    [UInt8[np.ndarray, "frames height width 3"], Sequence[tuple[int, int]]], Iterator[Values]
]


@dataclass(frozen=True)
class TokenSource:
    """A network whose tokens are read."""

    channels: int
    """Of a token of one layer, equal in all."""
    statistics: int
    """Numbers per token beside the layers; 0 for a network without cross-attention."""
    fingerprint: str
    """Of its weights (`fingerprint`)."""
    look: Look
    """Tokens of the first image of each pair, which is seen together with the second.

    The network gets whole images, stretched to a size that it likes, so that its tokens divide the image evenly."""


def sampled_layers(depth: int) -> tuple[int, int, int]:
    """Which decoder layers are read, uniformly over the decoder: the number of layers that made the tokens.

    Args:
        depth: Layers of the decoder, at least 3; 12 gives (4, 8, 12).
    """
    first, second, third = (round(depth * k / DECODER_LAYERS) for k in (1, 2, 3))
    return first, second, third


def token_source(backbone: Backbone, device: str) -> TokenSource:
    """Make a network ready whose tokens are read.

    Raises:
        ConfigError: There is no such network, or its weights do not fit.
    """
    able = with_tokens()
    if backbone.name not in able:
        raise ConfigError(
            f"there are no tokens of '{backbone.name}'; networks that have some are {', '.join(able)}"
        )
    module = table("geometry")[backbone.name].tokens
    assert module is not None, "it is among those that have some"
    source: TokenSource = import_module(module).tokens(backbone, device)
    return source


def packed(
    layers: Float[Tensor, f"{LAYERS} tokens channels"],
    grid: tuple[int, int],
    statistics: Float[Tensor, "statistics rows cols"] | None = None,
) -> Values:
    """Values of one image.

    Every token of every layer has mean 0 and variance 1 over its channels, whatever the network's units, and fits into
    16 bits.

    Args:
        layers: Encoder, then `sampled_layers`; without class or register tokens, row by row.
        grid: (rows, cols).
        statistics: Of the attention that the tokens get.
    """
    normal = nn.functional.layer_norm(layers.float(), layers.shape[-1:])
    values = normal.transpose(0, 1).reshape(*grid, -1)
    if statistics is None:
        return values
    return torch.cat((values, statistics.float().permute(1, 2, 0)), dim=-1)


def neighbours(frames: int) -> list[tuple[int, int]]:
    """Every frame with the next one, the last with the one before: two frames suffice. A single one sees itself."""
    return [(n, n + 1 if n + 1 < frames else max(n - 1, 0)) for n in range(frames)]


@torch.no_grad()
def video_tokens(
    source: TokenSource,
    images: UInt8[np.ndarray, "frames height width 3"],
    path: Path,
    progress: Progress = no_progress,
) -> Float16[np.ndarray, "frames rows cols values"]:
    """Tokens of every frame, seen together with its neighbour; a memory map at `path`."""
    with GrowingArray(path) as stored, progress("tokens", total=len(images)) as counter:
        for values in source.look(images, neighbours(len(images))):
            stored.append(values.cpu().numpy().astype(np.float16))
            counter.advance()
        return stored.finish()


def fingerprint(network: nn.Module, also: str = "") -> str:
    """Hash of a network's biases and norms: the same for the same weights in any file, and quick.

    Args:
        network: With its weights.
        also: What else the tokens depend on.
    """
    digest = hashlib.sha256(also.encode())
    for name, value in sorted(network.state_dict().items()):
        if value.dim() == 1:
            digest.update(name.encode() + value.float().cpu().numpy().tobytes())
    return digest.hexdigest()
