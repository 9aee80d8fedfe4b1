"""What is said where nothing holds two frames of a video together; `recon4d.flow.unrelated` finds out why."""

from recon4d.core.errors import DegenerateError
from recon4d.core.scene import Video


class UnrelatedError(DegenerateError):
    """No two frames of a video could be related."""


def unrelated_frames(video: Video) -> UnrelatedError:
    """The error for a video no two frames of which optical flow relates."""
    return UnrelatedError(
        f"no two of the {video.num_frames} frames could be related by optical flow"
    )
