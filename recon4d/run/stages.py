"""What a run leaves on disk while it goes on, in order: the stages of a video, or of each clip of a long one."""

from recon4d.core.scene import DenseDepth, DepthPrior, Flow, KnownPoses, MotionMasks, Scene, Video
from recon4d.core.stages import Stage
from recon4d.masks import Features, FinalMasks
from recon4d.optim.lens.find import FoundLens
from recon4d.run.check import Check
from recon4d.run.spread import DepthSpread

READ = Stage("read", Video)
"""The frames, and what their source says of them."""
POSES = Stage("poses", KnownPoses)
"""Those that the user gives."""
FLOW = Stage("flow", Flow)
"""Of frames a few apart."""
GEOMETRY = Stage("geometry", DepthPrior)
"""What a network says of the depth; before or after `INITIALISE`."""
INITIALISE = Stage("initialise", Scene)
"""First cameras and depth."""
LENS = Stage("lens", FoundLens)
"""The lens, found from first flow, cameras and depth of the frames as they came."""
FEATURES = Stage("features", Features)
"""What the masks need of the video whatever the scene."""
UNDISTORTED = "undistorted"
"""Folder of the stages of a video whose lens was found; beside it are those that found it."""
ALONE = "lens_alone"
"""Folder of the stages that find a lens and are of no use for anything else."""
FIRST_LOOK = "first_look"
"""Folder of the stages that look at a fisheye a second time: the video without the one that was found first."""
GUIDED_FLOW = Stage("guided_flow", Flow)
"""Flow measured anew with the help of the scene of round 0, for the rounds after it."""
REFINE = Stage("refine", FinalMasks)
GUIDE = Stage("guide", DepthPrior)
"""Depth of the user's own, aligned to the last scene."""
DEPTH = Stage("depth", DenseDepth)
SPREAD = Stage("spread", DepthSpread)
"""How far depth may be off."""
CHECK = Stage("check", Check)
"""The result's own motion against the flow."""


def masks_of(round_: int) -> Stage[MotionMasks]:
    """The masks of a round of the loop."""
    return Stage(f"masks_{round_}", MotionMasks)


def optimised(round_: int) -> Stage[Scene]:
    """Cameras and depth of a round of the loop."""
    return Stage(f"optimise_{round_}", Scene)
