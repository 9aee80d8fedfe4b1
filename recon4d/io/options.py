"""Which frames are read, and how."""

import math
from dataclasses import dataclass

from recon4d.core.errors import ConfigError

SIDE_MULTIPLE_PX = 8
"""Each side of the working size is a multiple of this: flow and masks work at 1/2, 1/4 and 1/8 of it."""
SMALLEST_SIDE_PX = 64
"""Shorter sides leave fewer than 4x4 cells of the optimizer's 16-pixel grid."""
FOLDER_FPS = 30.0
"""Frames per second of a folder of images that does not tell its times."""


@dataclass(frozen=True)
class ReadOptions:
    """The options of `recon4d run` that concern reading; `recon4d.settings.config.RunConfig` says the same to users."""

    size: int = 512
    """Long side of the working size in pixels."""
    fps: float | None = None
    """Frames per second to keep; for a folder of images without times, its rate."""
    stride: int = 1
    """Keep every n-th frame."""
    start: float = 0.0
    """Seconds after the first frame."""
    max_frames: int | None = None
    """Most frames to keep."""
    intrinsics: str | None = None
    """`FX,FY,CX,CY` or the path of a file; None: what the input brings along."""
    with_depth: bool = False
    """Read the sensor depth."""
    depth_factor: float | None = None
    """Value of a depth image for one metre; None: what is plausible."""

    def __post_init__(self) -> None:
        if self.fps is not None and self.stride != 1:
            raise ConfigError(
                f"--fps {self.fps:g} and --stride {self.stride} both choose frames; give one of the two"
            )
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(
                f"--fps must be above 0, got {self.fps:g}; leave it out to keep all frames"
            )
        if self.stride < 1:
            raise ConfigError(f"--stride must be at least 1, got {self.stride}; 1 keeps all frames")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ConfigError(f"--start must be 0 or more seconds, got {self.start:g}")
        if self.max_frames is not None and self.max_frames < 2:
            raise ConfigError(f"--max-frames must be at least 2, got {self.max_frames}")
        if self.size < SMALLEST_SIDE_PX:
            raise ConfigError(f"--size must be at least {SMALLEST_SIDE_PX} px, got {self.size}")
