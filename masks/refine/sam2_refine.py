"""Masks refined by SAM 2: what it makes of the masks of every other frame replaces those of the frames between.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.parallel import torch_threads
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import MotionMasks, Notice, Video
from recon4d.masks import FinalMasks, Refiner, Seen
from recon4d.masks.refine.edges import enlarge
from recon4d.masks.refine.odd_even import CONFIDENT, Masks, Prompts, Propagate, refine_odd_even
from recon4d.masks.refine.sam2 import check_sam2, sam2_propagator
from recon4d.weights.resolve import Resources

MOVING = 0.5
"""Probability above which a pixel moves where nothing refines it."""


@dataclass(frozen=True)
class Sam2Options:
    """How SAM 2 is used."""

    weights: Path
    """Folder of the model."""
    unites: bool = False
    """Whether the masks keep what they had (`recon4d.masks.MaskMethod.unites`): then the whole mask prompts the
    segmenter. GeoMotion, and D2MIF with it, prompt by what is certain alone."""
    device: str = "cpu"


def refine_sam2(
    video: Video,
    motion: MotionMasks,
    options: Sam2Options,
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Bool[np.ndarray, "frames height width"], tuple[Notice, ...]]:
    """Refine masks by SAM 2, which is loaded when there is something to prompt it with.

    Frames that nothing prompts the segmenter for keep their own masks; a notice names them.

    Args:
        video: Frames.
        motion: What moves, and how surely.
        options: Which SAM 2.
        threads: That its network uses on the CPU.
        progress: Told about every frame, twice.

    Raises:
        ConfigError: The folder of the weights does not hold them.
    """
    probability = np.stack([enlarge(p, video.size) for p in motion.probability])
    with progress("refine", total=2 * video.num_frames) as counter:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            counter.advance()

        with torch_threads(threads):
            found, notices = refine_odd_even(
                probability,
                _when_prompted(video, options, advance),
                MOVING if options.unites else CONFIDENT,
            )
        counter.advance(2 * video.num_frames - done)
    own = probability > MOVING
    kept = [frame for notice in notices for frame in notice.frames]
    found[kept] = own[kept]
    return (found | own if options.unites else found), notices


def _when_prompted(video: Video, options: Sam2Options, advance: Callable[[], None]) -> Propagate:
    """The segmenter, loaded at its first prompt."""
    loaded: list[Propagate] = []

    def propagate(prompts: Prompts) -> Masks:
        if not loaded:
            images = np.asarray(video.images)
            loaded.append(sam2_propagator(images, options.weights, options.device, advance))
        return loaded[0](prompts)

    return propagate


def make(resources: Resources) -> Refiner:
    """The refinement of `--refine sam2`.

    Raises:
        ConfigError: The folder of the weights is not there or holds no SAM 2.
        MissingDependencyError: transformers is not installed.
    """
    weights = resources.weights("sam2")
    check_sam2(weights)

    def refine(seen: Seen, motion: MotionMasks, unites: bool) -> FinalMasks:
        options = Sam2Options(weights, unites, resources.device)
        return FinalMasks(*refine_sam2(seen.video, motion, options, seen.threads, seen.progress))

    return refine
