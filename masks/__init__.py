"""Motion masks: which pixels move relative to the static world. Here is what a method of masks is; each has its module.

Uses core, optim, flow, networks and weights; `recon4d.choices` has the methods by name.
"""

if __name__ == "masks":  # found through the working directory, not through the package
    raise ImportError("import recon4d.masks, not masks")

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float16

from recon4d.choices import module_of, table
from recon4d.core.errors import ConfigError, did_you_mean
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Flow, MotionMasks, Notice, Scene, Video
from recon4d.weights.resolve import Resources


@dataclass(frozen=True)
class Features:
    """What a method computes once per video, before the rounds of the loop; it does not depend on the scene."""

    evidence: Float16[np.ndarray, "frames values"]
    """Of image and flow; its layout is the method's own. May be a memory map."""


@dataclass(frozen=True)
class Seen:
    """What masks are found from, besides the current scene."""

    video: Video
    flow: Flow
    features: Features | None = None
    """Of the method that asks; None where it has none."""
    threads: int = 1
    progress: Progress = no_progress


@dataclass(frozen=True)
class MaskMethod:
    """A way to find moving pixels."""

    masks: Callable[[Seen, Scene], MotionMasks]
    depends_on_scene: bool
    """Whether better geometry gives better masks, so that rounds of the loop make sense."""
    features: Callable[[Seen, Path], Features] | None = None
    """What is computed once, before the rounds, with memory maps in a folder; None where nothing is."""
    whole: Callable[[Seen, Scene, MotionMasks], MotionMasks] | None = None
    """What is known of whole objects besides motion: added once, to the last masks before they are refined."""
    unites: bool = False
    """What a segmenter that refines the masks loses of them still moves (MonST3R); else it has the last word."""


@dataclass(frozen=True)
class FinalMasks:
    """The masks that are written."""

    is_dynamic: Bool[np.ndarray, "frames height width"]
    notices: tuple[Notice, ...] = ()


@runtime_checkable
class Refiner(Protocol):
    """From probabilities to the masks that are written."""

    def __call__(self, seen: Seen, motion: MotionMasks, unites: bool) -> FinalMasks:
        """Masks at the working size.

        Args:
            seen: The frames.
            motion: Probabilities at the sampling of `Flow`.
            unites: As `MaskMethod.unites`.
        """


def method(name: str, resources: Resources | None = None) -> MaskMethod:
    """Make the method of a name on the command line ready.

    Raises:
        ConfigError: There is no such method, or its weights are not there.
    """
    made: MaskMethod = module_of("masks", _known("masks", name)).make(resources or Resources())
    return made


def refiner(name: str, resources: Resources | None = None) -> Refiner:
    """Make the refinement of a name on the command line ready.

    Raises:
        ConfigError: There is none of that name, or its weights are not there.
    """
    made: Refiner = module_of("refine", _known("refine", name)).make(resources or Resources())
    return made


def _known(option: str, name: str) -> str:
    names = table(option)
    if name not in names:
        guess = did_you_mean(name, names)
        raise ConfigError(f"{option} '{name}' is not there{guess}; available: {', '.join(names)}")
    return name


def stored_masks(seen: Seen) -> MotionMasks:
    """Masks of a method whose evidence is the probability of each `Flow` sample; the scene has no say."""
    assert seen.features is not None, "the method has features"
    shape = (len(seen.features.evidence), *seen.flow.confidence.shape[1:])
    return MotionMasks(np.asarray(seen.features.evidence, np.float32).reshape(shape))
