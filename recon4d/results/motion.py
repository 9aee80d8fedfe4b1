"""What a result may say of motion beyond its masks: followed points, and the objects that move.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8


@dataclass(frozen=True)
class Tracks:
    """Points followed through the video, static and moving ones."""

    uv: Float32[np.ndarray, "frames points 2"]
    """Pixels of the working size, centre of the first pixel at (0.5, 0.5); where a point is not seen, where it would
    be; nan where nothing tells."""
    is_visible: Bool[np.ndarray, "frames points"]
    sigma_px: Float32[np.ndarray, "frames points"]
    """Standard deviation of `uv` along each axis; infinite where it is not known."""
    world: Float32[np.ndarray, "frames points 3"]
    """In the world; nan where nothing tells."""
    sigma: Float32[np.ndarray, "frames points"]
    """Standard deviation of the distance from the camera, scene units; infinite where it is not known."""
    start: Int32[np.ndarray, " points"]
    """Frame in which each was given or chosen."""
    object_id: Int32[np.ndarray, " points"]
    """0 = static; -1 = moving, of no object that is known."""

    def of(self, frames: list[int]) -> "Tracks":
        """The same points in some frames alone; one that was chosen in another is given in the one next to that."""
        near = np.abs(np.array(frames)[:, None] - self.start[None]).argmin(0).astype(np.int32)
        return Tracks(
            self.uv[frames],
            self.is_visible[frames],
            self.sigma_px[frames],
            self.world[frames],
            self.sigma[frames],
            near,
            self.object_id,
        )

    @property
    def num_points(self) -> int:
        """Number of points."""
        return len(self.start)


@dataclass(frozen=True)
class MovingObject:
    """One thing that moves. Lengths are in scene units, axes are the world's."""

    id: int
    """From 1 on; the value of its pixels in `objects/`."""
    frames: tuple[int, ...]
    """In which it is seen."""
    path: tuple[tuple[float, float, float], ...]
    """Where its middle is in each of them."""
    path_sigma: tuple[float | None, ...]
    """Standard deviation of that, mostly along the view; None: not known."""
    box: tuple[tuple[float, float, float, float, float, float], ...]
    """Least x, y, z and largest x, y, z of what is seen of it, in each of them."""
    speed: float | None
    """Median over the frames, scene units per second; None: seen too briefly."""
    speed_sigma: float | None
    is_rigid: bool | None
    """Whether its points move like those of one solid; None: too few of them tell."""


@dataclass(frozen=True)
class Objects:
    """The things that move, and where they are in every picture."""

    ids: UInt8[np.ndarray, "frames height width"]
    """0 = static, or of no object."""
    items: tuple[MovingObject, ...] = field(default=())
