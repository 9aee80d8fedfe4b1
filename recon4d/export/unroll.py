"""Pictures of a rolling shutter as one would have taken them that is open at once, through their depth.

Each pixel of the new picture is looked up where the shutter shows its point; what the shutter did not see there is not
made up: it has no depth.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.geometry import project, rays_by_column
from recon4d.core.shutter import RowMotion, rotated
from recon4d.core.tensors import EDGE_RATIO
from recon4d.export.views import unposed_frames
from recon4d.results.result import Result

MS = 1e-3
"""Seconds in a millisecond."""
LOOK_UPS = 6
"""Times that a pixel is looked up where the last time says: it then moves by less than a tenth of a pixel."""


def readout_s(result: Result) -> float:
    """Seconds from the first row to the last, as `run.json` says; 0 where all are read at once."""
    found = result.run.get("readout_ms", 0.0)
    return float(found) * MS if isinstance(found, int | float) else 0.0


def motion_of(result: Result) -> RowMotion:
    """How the cameras of a result move while a picture is read."""
    component = np.zeros(len(result), np.int64)
    component[list(unposed_frames(result))] = -1
    return RowMotion.of(
        torch.from_numpy(np.array(result.world_from_cam)),
        torch.from_numpy(np.array(result.timestamps_s)),
        torch.from_numpy(component),
        readout_s(result),
        result.depth.shape[1],
    )


def unrolled(result: Result) -> Result:
    """The same with pictures, depth and masks of the middle rows' cameras.

    Raises:
        ConfigError: Its shutter does not roll.
    """
    if not readout_s(result):
        raise ConfigError(
            "--unroll is for results of a shutter that rolls, and this one has a readout of 0; leave it out"
        )
    motion, frames = motion_of(result), range(len(result))
    parts = [_Frame(result, motion, frame).seen() for frame in frames]
    images, depth, confidence, moving, std = (np.stack(each) for each in zip(*parts, strict=True))
    return replace(
        result,
        images=images,
        depth=depth,
        confidence=confidence,
        is_dynamic=moving,
        depth_std=None if result.depth_std is None else std,
        run=result.run | {"readout_ms": 0.0},
    )


@dataclass(frozen=True)
class _Frame:
    """One frame of a result."""

    result: Result
    motion: RowMotion
    frame: int

    def seen(self) -> tuple[np.ndarray, ...]:
        """Image, depth, confidence, mask and standard deviation of the depth, of the middle row's camera."""
        result, frame = self.result, self.frame
        at = self._looked_up()
        image = _remapped(result.images[frame], at, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        std = (
            np.zeros(at.shape[:2], np.float16)
            if result.depth_std is None
            else result.depth_std[frame]
        )
        depth = _between(result.depth[frame], at)
        _, z = self._there(at, depth)
        z = np.where(depth > 0, z, 0).astype(np.float32)
        confidence = _nearest(result.confidence[frame], at)
        moving = _nearest(result.is_dynamic[frame].astype(np.uint8), at) > 0
        deviation = _nearest(std.astype(np.float32), at).astype(np.float16)
        return image, z, np.where(z > 0, confidence, 0).astype(np.uint8), moving, deviation

    def _looked_up(self) -> Float32[np.ndarray, "height width 2"]:
        """Column and row in the picture where each pixel of the new one is seen."""
        depth = np.array(self.result.depth[self.frame])
        known = depth[depth > 0]
        depth[depth <= 0] = np.median(known) if len(known) else 1.0
        height, width = depth.shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
        at = grid.copy()
        for _ in range(LOOK_UPS):
            near = _remapped(depth, at, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            at += grid - self._there(at, near)[0]
        return at

    def _there(
        self, at: Float32[np.ndarray, "height width 2"], depth: Float32[np.ndarray, "height width"]
    ) -> tuple[Float32[np.ndarray, "height width 2"], Float32[np.ndarray, "height width"]]:
        """Column, row and z-depth in the middle row's camera of points that the shutter shows in some places."""
        uv = (
            torch.from_numpy(at.reshape(1, -1, 2)).transpose(1, 2) + 0.5
        )  # centre of the first pixel
        intrinsics = torch.from_numpy(np.array(self.result.intrinsics[self.frame])).float()
        turn, move = self.motion.at(torch.tensor([self.frame]), uv[:, 1])
        z = torch.from_numpy(np.ascontiguousarray(depth)).reshape(1, 1, -1)
        points = rotated(rays_by_column(uv, intrinsics[None]), turn) * z + move
        pixels = project(points[0].T, intrinsics) - 0.5
        return pixels.numpy().reshape(at.shape), points[0, 2].numpy().reshape(depth.shape)


def _between(
    depth: Float32[np.ndarray, "height width"], at: Float32[np.ndarray, "height width 2"]
) -> Float32[np.ndarray, "height width"]:
    """Depth at some places: between those of the pixels around where they are of one surface; 0 outside."""
    near = _nearest(depth, at)
    mean = _remapped(depth, at, cv2.INTER_LINEAR)
    is_one = (mean < EDGE_RATIO * near) & (near < EDGE_RATIO * mean)
    return np.asarray(np.where(is_one, mean, near), np.float32)


def _nearest(values: np.ndarray, at: Float32[np.ndarray, "height width 2"]) -> np.ndarray:
    """Values at the pixels nearest to some places; 0 outside."""
    return _remapped(values, at, cv2.INTER_NEAREST)


def _remapped(
    values: np.ndarray,
    at: Float32[np.ndarray, "height width 2"],
    how: int,
    border: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    col, row = (np.ascontiguousarray(at[..., axis]) for axis in (0, 1))
    return np.asarray(cv2.remap(np.ascontiguousarray(values), col, row, how, borderMode=border))


def row_poses(result: Result) -> Float64[np.ndarray, "frames 2 4 4"]:
    """`world_from_cam` of the first and of the last row of every frame."""
    motion, count = motion_of(result), len(result)
    rows = torch.tensor([[0.0, float(motion.height_px)]], dtype=torch.float64).expand(count, 2)
    turn, move = motion.at(torch.arange(count), rows)
    out = np.tile(np.eye(4), (count, 2, 1, 1))
    out[..., :3, :3] = _rotations(turn.transpose(1, 2)).numpy()
    out[..., :3, 3] = move.transpose(1, 2).numpy()
    return np.asarray(result.world_from_cam[:, None] @ out)


def _rotations(vectors: Float64[Tensor, "frames rows 3"]) -> Float64[Tensor, "frames rows 3 3"]:
    eye = torch.eye(3, dtype=vectors.dtype).expand(*vectors.shape[:2], 3, 3)
    return rotated(eye, vectors[..., None].expand_as(eye))
