"""Jackknife replicates: cameras without one region of the image at a time, and the covariance that follows.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.special import stdtrit
from torch import Tensor

from recon4d.core.geometry import adjoint_se3, invert_rigid

REGIONS = (3, 4)
"""Rows and columns of image regions: as large as can be while their number still tells a covariance of six numbers.
On `exact_static` the standard deviations of 12x16, 6x8 and 3x4 regions are as 1 : 1.3 : 1.7."""
MIN_REGIONS = 8
"""With fewer regions that measure anything there is no covariance."""
ONE_SIGMA = 0.8413
"""Probability that a normal number is below one standard deviation."""


@dataclass(frozen=True)
class Moves:
    """Replicates of a delete-a-group jackknife: where the cameras go when one region of the image is left out."""

    cameras: Float64[np.ndarray, "regions frames camera"]
    """Twist (rotation vector, translation; axes of the camera) and, where it is its own, log focal of every frame."""
    log_focal: Float64[np.ndarray, " regions"]
    """Of a shared focal length; 0 where it is known."""
    told_focal: Float64[np.ndarray, " regions"]
    """The same by the motion alone, without what is expected of lenses."""
    growth: Float64[np.ndarray, " regions"]
    """Logarithm of the scale; 0 where lengths are known."""
    is_used: Bool[np.ndarray, " regions"]
    """Regions that measure anything; none where too little is known."""

    @classmethod
    def unknown(cls, num_frames: int) -> "Moves":
        """Nothing is measured."""
        regions = REGIONS[0] * REGIONS[1]
        none = np.zeros(regions)
        return cls(np.zeros((regions, num_frames, 6)), none, none, none, none > 0)

    def covariance(
        self, cam_from_world: Float64[np.ndarray, "frames 4 4"]
    ) -> Float64[np.ndarray, "frames 6 6"]:
        """Covariance of the pose of every frame relative to the one before, see `relative_pose_covariance`.

        That of the first frame, which has none before, is infinite.
        """
        count = int(self.is_used.sum())
        out = np.full((len(cam_from_world), 6, 6), np.inf)
        if count >= MIN_REGIONS:
            errors = self._relative_errors(torch.from_numpy(cam_from_world))[self.is_used]
            out[1:] = (count - 1) / count * np.einsum("gti,gtj->tij", errors, errors)
        return out

    def widened(
        self, cam_from_world: Float64[np.ndarray, "frames 4 4"]
    ) -> Float64[np.ndarray, "frames 6 6"]:
        """The same, enlarged so that one standard deviation holds 68 % although few regions tell it.

        An error over a deviation that comes from n regions is distributed as Student's t with n - 1 degrees of freedom.
        """
        return self._widening**2 * self.covariance(cam_from_world)

    @property
    def focal_std(self) -> float:
        """Standard deviation of the logarithm of the focal length, without what is expected of lenses.

        That of its mean, where every frame has its own; 0 where it is known, or too little is.
        """
        count = int(self.is_used.sum())
        if count < MIN_REGIONS:
            return 0.0
        errors = (self.told_focal + self.cameras[..., 6:].sum(-1).mean(1))[self.is_used]
        return self._widening * float(np.sqrt((count - 1) / count * (errors**2).sum()))

    @property
    def _widening(self) -> float:
        """What deviations are enlarged by, see `widened`."""
        count = int(self.is_used.sum())
        return float(stdtrit(count - 1, ONE_SIGMA)) if count > 1 else 1.0

    def _relative_errors(
        self, poses: Float64[Tensor, "frames 4 4"]
    ) -> Float64[np.ndarray, "regions steps 6"]:
        """Twists of the relative poses from those of the poses."""
        twists = self.cameras[..., :6]
        relative = poses[1:] @ invert_rigid(poses[:-1])
        carried = np.asarray(adjoint_se3(relative))
        errors = twists[:, 1:] - (carried @ twists[:, :-1, :, None])[..., 0]
        errors[..., 3:] -= self.growth[:, None, None] * np.asarray(relative[:, :3, 3])
        return np.asarray(errors)

    def of(self, frames: Int64[np.ndarray, " some"]) -> "Moves":
        """Those of some frames."""
        return replace(self, cameras=np.array(self.cameras[:, frames]))


@dataclass(frozen=True)
class HeldMoves:
    """Replicates of cameras that an optimization held where they were: they are off all the same."""

    is_held: Bool[np.ndarray, " frames"]
    moves: Moves
    """Of the frames that are held."""
