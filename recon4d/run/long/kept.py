"""The jobs of a long video, and what each leaves on disk for the others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from recon4d.core.scene import Flow, MotionMasks, Notice, Scene, Video
from recon4d.core.stages import Stage
from recon4d.optim.solve.jackknife import Moves
from recon4d.run.check import Check
from recon4d.run.long.clips import Clip
from recon4d.run.reconstruct import with_prediction
from recon4d.run.stages import READ
from recon4d.settings.config import RunConfig

ALONE_NOTE, BETWEEN_NOTE = "alone.share", "between.share"
"""Files in a clip's folder that say how far its two jobs are."""


@dataclass(frozen=True)
class ClipJob:
    """What a worker needs to know."""

    config: RunConfig
    """With one worker: the job is one of many."""
    folder: Path
    """Of the run."""
    clip: Clip

    @property
    def own(self) -> Path:
        """Where the clip's stages are stored."""
        return self.clip.folder(self.folder)

    def video(self) -> Video:
        """The clip's frames, mapped from the run's folder, with what a network said of their depth."""
        seen = self.clip.of(READ.load(self.folder))
        return with_prediction(self.own, seen)


@dataclass(frozen=True)
class History:
    """The rounds of a clip, as in run.json."""

    rounds: tuple[dict[str, float | bool], ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Keyframes:
    """The keyframes that every clip is aligned to."""

    frames: Int64[np.ndarray, " keyframes"]
    """Indices in the whole video, ascending."""
    bounds: Int64[np.ndarray, " bounds"]
    """Frames bounds[k] to bounds[k + 1] - 1 belong to clip k."""
    pieces: Int64[np.ndarray, "pieces 3"]
    """Clip, component within the clip, and component in the whole video of every piece of every clip."""
    main: int
    """The component in the whole video that has the most frames: the others are placed by guess."""
    loops: Int64[np.ndarray, "pairs 2"]
    """Frames of the whole video that show the same place again."""
    notices: tuple[Notice, ...] = ()

    def components(self, clip: Clip, scene: Scene) -> Int64[np.ndarray, " frames"]:
        """Component in the whole video of each frame of a clip."""
        out = np.full(len(scene.component), -1)
        for index, own, whole in self.pieces:
            if index == clip.index:
                out[scene.component == own] = whole
        return out


@dataclass(frozen=True)
class Written:
    """What finishing a clip leaves besides the files of its frames."""

    check: Check
    """What its frames show of themselves."""
    notices: tuple[Notice, ...] = ()
    """Of the refinement of the masks; frames of the clip."""


LOCAL = Stage("local", Scene)
"""Of a clip: cameras and depth in a world of its own. What follows lies beside it."""
MOTION = Stage("motion", MotionMasks)
"""Its masks."""
HISTORY = Stage("history", History)
ALIGNED = Stage("aligned", Scene)
"""Cameras and depth between the keyframes."""
WRITTEN = Stage("written", Written)
"""Its frames are in the result."""
KEY_VIDEO = Stage("key_video", Video)
"""Of the run: the keyframes' pictures."""
KEYFRAMES = Stage("keyframes", Keyframes)
KEY_FLOW = Stage("key_flow", Flow)
ALIGNED_KEYFRAMES = Stage("align_keyframes", Scene)
KEY_MOVES = Stage("key_moves", Moves)
"""What the keyframes may be off by."""
