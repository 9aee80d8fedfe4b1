"""Geometry-first networks behind one protocol: what each says about a video becomes a `DepthPrior`.

The optimizer treats all alike. `parallax` (flow alone) and `rgbd` (the input's own depth) need no network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import DepthPrior, Flow, Scene, Video
from recon4d.weights.resolve import Mono


@dataclass(frozen=True)
class Question:
    """What a network is asked about."""

    video: Video
    flow: Flow
    weights: Path
    """File or folder of its checkpoint."""
    folder: Path
    """For large arrays; they may be removed with it when the answer is stored."""
    scene: Scene | None = None
    """The first cameras and depth, for a network that is asked after them."""
    device: str = "cpu"
    progress: Progress = no_progress
    mono: Mono | None = None
    """For a network that needs the depth of single images."""


@dataclass(frozen=True)
class Network:
    """How a network is asked."""

    answer: Callable[[Question], DepthPrior]
    needs_scene: bool = False
    """Asked after the first geometry, because its unit follows from that."""


def network(name: str) -> Network | None:
    """The network of a name on the command line; None for a geometry that needs none."""
    if name in ("dust3r", "monst3r", "align3r"):
        from recon4d.priors.pairs import pair_prior

        return Network(pair_prior)
    if name == "pi3":
        from recon4d.priors.chunks import views_prior

        return Network(views_prior)
    if name in ("depth-anything", "depth-pro"):
        from recon4d.priors.mono import depth_anything_prior, depth_pro_prior

        is_pro = name == "depth-pro"
        return Network(depth_pro_prior if is_pro else depth_anything_prior, needs_scene=not is_pro)
    return None
