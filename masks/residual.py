"""Motion masks from what no static world explains (`recon4d.masks.evidence`), without a network."""

import numpy as np

from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import shrink
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.flow.overlay import hidden_samples
from recon4d.masks import MaskMethod, Seen
from recon4d.masks.evidence import look_around, probability
from recon4d.weights.resolve import Resources


def residual_masks(
    video: Video,
    flow: Flow,
    scene: Scene,
    threads: int = 1,
    progress: Progress = no_progress,
) -> MotionMasks:
    """Probability of motion at every `Flow` sample, from the current cameras.

    Args:
        video: Its images tell what flow can be trusted, and what the background looks like.
        flow: Edges in both directions.
        scene: Current cameras; its depth is not used.
        threads: Frames that are looked at at the same time.
        progress: Told about every finished frame, twice.
    """
    images = np.stack([shrink(image) for image in video.images])
    hidden = None if video.overlay is None else hidden_samples(video.overlay)
    with progress("masks", total=2 * video.num_frames) as counter:
        found = look_around(images, flow, scene, threads, counter, hidden)
    return MotionMasks(probability(np.stack([f.log_odds for f in found])))


def make(resources: Resources) -> MaskMethod:
    """The method of `--masks residual`; it needs no weights."""

    def masks(seen: Seen, scene: Scene) -> MotionMasks:
        return residual_masks(seen.video, seen.flow, scene, seen.threads, seen.progress)

    return MaskMethod(masks, depends_on_scene=True, unites=True)
