"""Tokens of the frames of all clips, computed once before the training: the network that makes them is frozen.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from recon4d.core.progress import Progress
from recon4d.core.stages import run_stage
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.train.d2mif.samples import Samples
from recon4d.networks.tokens import TokenSource, video_tokens

SHOWN = 12
"""Characters of a fingerprint that name a folder."""


@dataclass(frozen=True)
class ClipTokens:
    """Of every frame of a clip, which is seen together with the next one of the clip."""

    tokens: Float16[np.ndarray, "frames token_rows token_cols values"]


def with_tokens(
    folder: Path, clips: Sequence[Samples], source: TokenSource, progress: Progress
) -> tuple[Samples, ...]:
    """Clips with the tokens of their frames, as memory maps; what is there is not computed again.

    Args:
        folder: Of the training; gets a folder for the tokens of this network.
        clips: Of the library.
        source: The network.
        progress: Told about every finished clip.
    """
    inside = folder / f"tokens-{source.fingerprint[:SHOWN]}"
    inside.mkdir(exist_ok=True)
    found = []
    with progress("tokens", total=len(clips)) as counter:
        for at, clip in enumerate(clips):

            def compute(own: Path, clip: Samples = clip) -> ClipTokens:
                return ClipTokens(video_tokens(source, clip.images, own / "tokens.npy"))

            stored = run_stage(inside, f"{at:06d}", ClipTokens, compute)
            found.append(replace(clip, tokens=stored.tokens))
            counter.advance()
    return tuple(found)


def reading(network: NetworkConfig, name: str, source: TokenSource) -> NetworkConfig:
    """The network that reads the tokens of a backbone."""
    return replace(
        network,
        token_channels=source.channels,
        attention_channels=source.statistics,
        backbone=name,
        fingerprint=source.fingerprint,
    )
