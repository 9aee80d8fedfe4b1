"""A new term of the objective: gravity, as a phone's sensor measures it in every frame.

The optimizer, its windows, the clips of long videos and the stated uncertainty take any class with `reach`,
`is_measured`, `linear` and `of`; nothing is registered. Run it: `python examples/add_a_loss_term.py VIDEO`.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.flow import window_pairs
from recon4d.flow.dis import Dis
from recon4d.flow.store import measured_flow
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.objective.camera_terms import TURN, Linear, Rows
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions


@dataclass(frozen=True)
class Gravity:
    """The measured direction of gravity in each camera; float64 unit vectors."""

    reach: ClassVar[int] = 0  # each frame alone: the band of the reduced system needs no more
    is_measured: ClassVar[bool] = True
    in_world: Float[Tensor, "3"]
    in_camera: Float[Tensor, "frames 3"]
    weight_px: float = 100.0
    """Cost of one radian, as one residual in pixels."""

    def linear(self, state: State) -> Linear:
        """Residual w (R g - m), and its derivative by the left twist of each camera, -w [R g]x."""
        turned = state.cam_from_world[:, :3, :3] @ self.in_world
        error = self.weight_px * (turned - self.in_camera)
        by_turn = -self.weight_px * cross_matrix(turned)
        frames = torch.arange(len(error), device=error.device)[:, None]
        rows = Rows(frames, error, by_turn[:, None], TURN, error.new_ones(()))
        return Linear(0.5 * error.square().sum(), (rows,))

    def of(self, frames: Int64[Tensor, " some"]) -> "Gravity":
        """That of some frames, for windows and clips."""
        return Gravity(self.in_world, self.in_camera[frames], self.weight_px)


def cross_matrix(v: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """[v]x: the matrix of the product v x w."""
    zero = torch.zeros_like(v[:, 0])
    x, y, z = v.unbind(1)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), 1).reshape(-1, 3, 3)


def with_gravity(
    video: Video, flow: Flow, scene: Scene, in_camera: Float[np.ndarray, "frames 3"]
) -> Scene:
    """Optimise cameras and depth once more, with gravity as the sensor saw it; the first frame says where down is."""
    in_world = scene.world_from_cam[0, :3, :3] @ in_camera[0]
    term = Gravity(torch.from_numpy(in_world), torch.from_numpy(in_camera))
    nothing_moves = MotionMasks(
        np.zeros((video.num_frames, *flow.confidence.shape[1:]), np.float32)
    )
    return optimise(video, flow, scene, nothing_moves, AlignOptions(), terms=(term,))


def main(path: Path) -> None:
    """Reconstruct some frames with a made-up sensor that holds still."""
    with tempfile.TemporaryDirectory() as folder:
        video = read_video(path, ReadOptions(size=192, max_frames=8), Path(folder))
        flow = measured_flow(Dis(), video.images, window_pairs(video.num_frames), Path(folder), 2)
        scene = initial_scene(video, flow, AlignOptions())
        down = np.repeat([[0.0, 1.0, 0.0]], video.num_frames, axis=0)
        level = with_gravity(video, flow, scene, down)
    for name, found in (("without", scene), ("with gravity", level)):
        off = np.degrees(np.arccos(np.clip(found.world_from_cam[:, 1, 1], -1, 1)))
        print(f"{name}: cameras tilt by up to {off.max():.2f} degrees")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
