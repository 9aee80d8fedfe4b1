"""Masks refined by SAM 2: what it makes of the masks of every other frame replaces those of the frames between."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.parallel import torch_threads
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import MotionMasks, Notice, Video
from recon4d.masks.refine.edges import enlarge
from recon4d.masks.refine.odd_even import CONFIDENT, Masks, Prompts, Propagate, refine_odd_even
from recon4d.masks.refine.sam2 import sam2_propagator

MOVING = 0.5
"""Probability above which a pixel moves where nothing refines it."""
UNITED = ("residual", "easi3r")
"""Methods of MonST3R's kind: the whole mask prompts the segmenter, and what moved without it still moves.

GeoMotion, and D2MIF with it, prompt by what is certain alone, and what the segmenter cannot follow does not move.
"""


@dataclass(frozen=True)
class Sam2Options:
    """How SAM 2 is used."""

    weights: Path
    """Folder of the model."""
    unites: bool = False
    """Whether the masks keep what they had; see `UNITED`."""
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
