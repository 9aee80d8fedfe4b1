"""Pinhole cameras in numpy, for what needs no torch: rays, projection, angles.

`recon4d.core.geometry` has the same for batches of tensors; nothing else divides by a focal length. Intrinsics are
(fx, fy, cx, cy) in pixels.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import torch

Length = TypeVar("Length", float, np.ndarray, "torch.Tensor")


def rays_array(
    uv_px: Float[np.ndarray, "*points 2"], intrinsics: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "*points 3"]:
    """Viewing rays with unit z of pixels `(u, v)`; `ray * z_depth` is the 3D point in the camera frame."""
    xy = view_angle(uv_px - intrinsics[2:], intrinsics[:2])
    return np.concatenate((xy, np.ones_like(xy[..., :1])), axis=-1)


def lift_array(
    uv_px: Float[np.ndarray, "*points 2"],
    depth: Float[np.ndarray, "*points"] | float,
    intrinsics: Float[np.ndarray, "4"],
    world_from_cam: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "*points 3"]:
    """Points of the world that pixels `(u, v)` show at some z-depth."""
    in_cam = np.asarray(depth)[..., None] * rays_array(uv_px, intrinsics)
    return np.asarray(in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3])


def project_array(
    points: Float[np.ndarray, "*points 3"], intrinsics: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "*points 2"]:
    """Pixels `(u, v)` of points in the camera frame; not finite for z = 0, mirrored for z < 0: check z first."""
    return np.asarray(points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:])


def view_angle(length_px: Length, focal_px: Length) -> Length:
    """Small angle in radians, or length on the plane z = 1, that a length in pixels stands for."""
    angle: Length = length_px / focal_px
    return angle


def length_at(depth: float, length_px: float, focal_px: float) -> float:
    """Length across the view, in the unit of a z-depth, that a length in pixels is at that depth."""
    return length_px * depth / focal_px


def field_of_view(size: tuple[int, int], intrinsics: Float[np.ndarray, "4"]) -> tuple[float, float]:
    """Vertical field of view in radians, and width over height of what is seen on the plane z = 1.

    As graphics describe a lens: with the principal point in the middle, whatever the intrinsics say.

    Args:
        size: (width, height) of the image in pixels.
        intrinsics: Of the camera.
    """
    across, down = (
        view_angle(float(n), float(f)) for n, f in zip(size, intrinsics[:2], strict=True)
    )
    return float(2 * np.arctan(down / 2)), across / down
