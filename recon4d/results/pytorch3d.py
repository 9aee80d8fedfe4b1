"""Results as PyTorch3D has them: cameras and coloured point clouds.

PyTorch3D is an extra of its own, because it works with one version of torch alone; it is imported when it is used. It
computes in single precision: at 512 pixels its projections resolve 6e-5 px.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from recon4d.core.errors import InputError, MissingDependencyError
from recon4d.results.cloud import PointCloud, moving_cloud, static_cloud
from recon4d.results.result import Result

FLIP = np.diag([-1.0, -1.0, 1.0])
"""From our camera axes (+X right, +Y down) to PyTorch3D's (+X left, +Y up), and back."""


@dataclass(frozen=True)
class PyTorch3DScene:
    """A result in PyTorch3D's conventions. Each part is made when it is first asked for, and kept.

    The world and its scale are the result's. Frames whose pose was not measured are among the others, as in
    `Result.world_from_cam`.
    """

    reconstruction: Result
    device: str
    """Where all tensors are."""

    @cached_property
    def cameras(self) -> Any:
        """`PerspectiveCameras` with one camera per frame, intrinsics in pixels (`in_ndc=False`)."""
        result = self.reconstruction
        height, width = result.depth.shape[1:]
        cam_from_world = np.linalg.inv(result.world_from_cam)
        size = (int(width), int(height))
        return perspective_cameras(cam_from_world, result.intrinsics, size, self.device)

    @cached_property
    def static(self) -> Any:
        """`Pointclouds` with one cloud: what stands still, fused over all frames."""
        return pointclouds([static_cloud(self.reconstruction)], self.device)

    @cached_property
    def moving(self) -> Any:
        """`Pointclouds` with one cloud per frame: what moves in it; empty where nothing does."""
        frames = range(len(self.reconstruction.depth))
        return pointclouds(
            [moving_cloud(self.reconstruction, frame) for frame in frames], self.device
        )

    def at(self, frame: int) -> Any:
        """`Pointclouds` with one cloud: the static world and what moves in a frame.

        Raises:
            InputError: There is no such frame.
        """
        count = len(self.reconstruction.depth)
        if not 0 <= frame < count:
            raise InputError(f"the result has no frame {frame}; its frames are 0 to {count - 1}")
        parts = (self.static[0], self.moving[frame])
        structures = import_pytorch3d("structures")
        return structures.join_pointclouds_as_scene(list(parts))


def to_pytorch3d(reconstruction: Result, device: str) -> PyTorch3DScene:
    """See `Result.to_pytorch3d`."""
    import_pytorch3d("renderer")
    return PyTorch3DScene(reconstruction, device)


def import_pytorch3d(part: str) -> ModuleType:
    """Import a package of PyTorch3D.

    Raises:
        MissingDependencyError: It is not installed, or not with the torch that it was built for.
    """
    try:
        return importlib.import_module(f"pytorch3d.{part}")
    except (ImportError, OSError) as error:
        reason, *_ = str(error).split("\n")
        raise MissingDependencyError(
            f"PyTorch3D cannot be imported ({reason}): "
            'pip install "recon4d[pytorch3d]", best in an environment of its own, because its wheel works with the '
            "CUDA build of torch 2.12.0 alone (a GPU is not needed)"
        ) from error


def perspective_cameras(
    cam_from_world: Float64[np.ndarray, "frames 4 4"],
    intrinsics: Float64[np.ndarray, "frames 4"],
    size: tuple[int, int],
    device: str,
) -> Any:
    """Return `PerspectiveCameras` that project to our pixels, the centre of the first at (0.5, 0.5).

    Args:
        cam_from_world: Poses with our camera axes.
        intrinsics: (fx, fy, cx, cy) in pixels.
        size: (width, height) of the images in pixels.
        device: Where their tensors are.
    """

    def single(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    width, height = size
    return import_pytorch3d(
        "renderer"
    ).PerspectiveCameras(
        R=single((FLIP @ cam_from_world[:, :3, :3]).transpose(0, 2, 1)),  # of row vectors
        T=single(cam_from_world[:, :3, 3] @ FLIP),
        focal_length=single(intrinsics[:, :2]),
        principal_point=single(intrinsics[:, 2:]),
        image_size=torch.tensor([[height, width]] * len(intrinsics), device=device),
        in_ndc=False,
        device=device,
    )


def pointclouds(clouds: list[PointCloud], device: str) -> Any:
    """Return `Pointclouds` with points and normals in the world, and RGB colours from 0 to 1 as features."""

    def tensors(arrays: list[np.ndarray]) -> list[torch.Tensor]:
        return [torch.tensor(array, dtype=torch.float32, device=device) for array in arrays]

    return import_pytorch3d("structures").Pointclouds(
        points=tensors([cloud.points for cloud in clouds]),
        normals=tensors([cloud.normals for cloud in clouds]),
        features=tensors([cloud.colors / np.float32(255) for cloud in clouds]),
    )
