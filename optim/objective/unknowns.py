"""What the optimizer varies, and which of it may move."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import Scene


@dataclass(frozen=True)
class State:
    """What the optimizer varies."""

    cam_from_world: Float[Tensor, "frames 4 4"]
    """float64."""
    inverse_depth: Float[Tensor, "frames samples"]
    intrinsics: Float[Tensor, "frames 4"]
    """float64 (fx, fy, cx, cy) in pixels; fx and fy vary by a common factor, the centre is fixed."""
    log_gain: Float[Tensor, " frames"] | None = None
    """float64 logarithm of the factor of each frame's depth prior, whose scale is then known only as well as
    `SolveOptions.gain_px` says; None: the prior's scale is right."""

    @classmethod
    def of(cls, scene: Scene) -> "State":
        """The cameras and the sparse depth of a scene, on the CPU."""
        return cls(
            invert_rigid(torch.from_numpy(np.array(scene.world_from_cam))),
            torch.from_numpy(np.array(scene.inverse_depth)),
            torch.from_numpy(np.array(scene.intrinsics)),
        )

    @property
    def shared_intrinsics(self) -> Float[Tensor, "4"]:
        """Those of all frames, where they share them."""
        return self.intrinsics[0]

    def centred(self) -> "State":
        """The same rotations about one centre; depth, which then has no effect, is 1."""
        poses = self.cam_from_world.clone()
        poses[:, :3, 3] = 0
        return State(poses, torch.ones_like(self.inverse_depth), self.intrinsics)


@dataclass(frozen=True)
class Freedom:
    """Which unknowns may move."""

    pose: Bool[Tensor, " frames"]
    depth: Bool[Tensor, " frames"]
    turns_only: bool = False
    """Poses turn but do not translate."""
    focal: Bool[Tensor, " frames"] | None = None
    """Focal lengths of single frames, where these have their own; None: those of frames whose depth may move."""

    def turning(self) -> "Freedom":
        """The same, for cameras that turn about one centre."""
        focal = self.depth if self.focal is None else self.focal
        return Freedom(self.pose, torch.zeros_like(self.depth), turns_only=True, focal=focal)

    def with_frames(self, more: Bool[Tensor, " frames"]) -> "Freedom":
        """The same where more frames move."""
        focal = None if self.focal is None else self.focal | more
        depth = self.depth if self.turns_only else self.depth | more
        return Freedom(self.pose | more, depth, self.turns_only, focal)

    def cameras(self, own_focal: bool) -> Bool[Tensor, "frames camera"]:
        """Which of each camera's unknowns may move: its twist, and its log focal where it has one of its own."""
        if not own_focal:
            return self.twists()
        focal = self.depth if self.focal is None else self.focal
        return torch.cat((self.twists(), focal[:, None]), dim=1)

    def twists(self) -> Bool[Tensor, "frames 6"]:
        """Which components of each pose's twist (rotation, translation) may move."""
        free = self.pose[:, None].repeat(1, 6)
        free[:, 3:] &= not self.turns_only
        return free

    @classmethod
    def all_but_first(cls, num_frames: int, device: torch.device) -> "Freedom":
        """Everything but the first pose, which holds the world frame."""
        pose = torch.ones(num_frames, dtype=torch.bool, device=device)
        pose[0] = False
        return cls(pose, torch.ones_like(pose))
