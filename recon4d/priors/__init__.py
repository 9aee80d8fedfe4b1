"""Geometry-first networks behind one protocol: what each says about a video becomes a `DepthPrior`.

The optimizer treats all alike. `parallax` (flow alone) and `rgbd` (the input's own depth) need no network. Uses core,
networks, weights and the alignment of pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recon4d.choices import module_of, table
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import DepthPrior, Flow, Scene, Video
from recon4d.weights.resolve import Backbone, Mono, Resources

NO_WEIGHTS = Backbone("none", Path())
"""Of something that says depth without a network."""


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
class Prior:
    """A network, and how it is asked."""

    answer: Callable[[Question], DepthPrior]
    backbone: Backbone = NO_WEIGHTS
    device: str = "cpu"
    needs_scene: bool = False
    """Asked after the first geometry, because its unit follows from that."""

    def of(
        self, video: Video, flow: Flow, scene: Scene | None, folder: Path, progress: Progress
    ) -> DepthPrior:
        """What the network says of the depth of a video.

        Args:
            video: The frames.
            flow: Of neighbouring frames.
            scene: The first cameras and depth, where the network `needs_scene`.
            folder: For large arrays; they may be removed with it when the answer is stored.
            progress: Told about every frame or pair.
        """
        weights, mono = self.backbone.weights, self.backbone.mono
        return self.answer(
            Question(video, flow, weights, folder, scene, self.device, progress, mono)
        )


def prior(name: str, resources: Resources) -> Prior | None:
    """The network of a name on the command line; None for a geometry that needs none.

    Raises:
        ConfigError: Its weights are not there.
    """
    if table("geometry")[name].module is None:
        return None
    made: Prior = module_of("geometry", name).make(resources)
    return made
