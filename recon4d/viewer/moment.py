"""One moment of a result: which frame a viewer shows, what it says of it, and where its camera looks from.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Float64

from recon4d.core.errors import ConfigError
from recon4d.results.cloud import median_depth
from recon4d.results.result import Result

BACK_OFF = 0.35
"""How far a viewer stands behind a camera, in median depths of the scene: the camera itself is seen."""
RAISE = 0.08
"""How far it stands above the camera, in median depths."""


def checked_frame(frame: int | None, num_frames: int, otherwise: int) -> int:
    """The frame that is shown.

    Args:
        frame: What the user asked for; None: nothing.
        num_frames: Frames of the result.
        otherwise: The frame where nothing was asked for.

    Raises:
        ConfigError: There is no such frame.
    """
    if frame is None:
        return otherwise
    if not 0 <= frame < num_frames:
        raise ConfigError(
            f"--frame {frame} is not in the result, whose frames are 0 to {num_frames - 1}; give one of these"
        )
    return frame


def describe_frame(reconstruction: Result, frame: int) -> str:
    """Number and time of a frame, e.g. `frame 12 (0 to 69), 0.48 s`; times count from the first frame."""
    times = reconstruction.timestamps_s
    return f"frame {frame} (0 to {len(times) - 1}), {times[frame] - times[0]:.2f} s"


def behind_camera(
    reconstruction: Result, frame: int
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Where a viewer stands a little behind and above a frame's camera, and what it looks at."""
    pose, depth = reconstruction.world_from_cam[frame], median_depth(reconstruction)
    _, down, ahead = pose[:3, :3].T
    place = pose[:3, 3] - depth * (BACK_OFF * ahead + RAISE * down)
    return np.asarray(place), np.asarray(pose[:3, 3] + depth * ahead)
