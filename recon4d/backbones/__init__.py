"""Geometry-first networks behind one protocol: what each says about a video becomes a `DepthPrior`.

The optimizer treats all alike. `parallax` (flow alone) and `rgbd` (the input's own depth) need no network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recon4d.progress import Progress, no_progress
from recon4d.scene import DepthPrior, Flow, Video


@dataclass(frozen=True)
class Question:
    """What a network is asked about."""

    video: Video
    flow: Flow
    weights: Path
    """File or folder of its checkpoint."""
    folder: Path
    """For large arrays; they may be removed with it when the answer is stored."""
    device: str = "cpu"
    progress: Progress = no_progress


Network = Callable[[Question], DepthPrior]


def network(name: str) -> Network | None:
    """The network of a name on the command line; None for a geometry that needs none."""
    if name in ("dust3r", "monst3r"):
        from recon4d.backbones.croco_prior import pair_prior  # loads torch's network parts

        return pair_prior
    return None
