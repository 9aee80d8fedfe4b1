"""Which frames are read, and how.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

SIDE_MULTIPLE_PX = 8
"""Each side of the working size is a multiple of this: flow and masks work at 1/2, 1/4 and 1/8 of it."""
SMALLEST_SIDE_PX = 64
"""Shorter sides leave fewer than 4x4 cells of the optimizer's 16-pixel grid."""
FOLDER_FPS = 30.0
"""Frames per second of a folder of images that does not tell its times."""


@dataclass(frozen=True)
class ReadOptions:
    """The options of `recon4d run` that concern reading; `recon4d.settings.config.RunConfig` has checked them."""

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
    focal_mm: float | None = None
    """Focal length, about; on a sensor `sensor_mm` wide along the long side of the images, else on 35 mm film."""
    sensor_mm: float | None = None
    with_depth: bool = False
    """Read the sensor depth."""
    depth_factor: float | None = None
    """Value of a depth image for one metre; None: what is plausible."""
