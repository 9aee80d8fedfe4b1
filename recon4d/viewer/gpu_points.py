"""Points as soft discs, drawn by PyTorch3D.

Numbers here that name no source were set by hand.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from recon4d.results.cloud import PointCloud
from recon4d.results.pytorch3d import import_pytorch3d, perspective_cameras, pointclouds

RADIUS_PX = 2.0
"""Of a disc: points of one surface are one to two pixels apart and must close it."""
POINTS_PER_PIXEL = 16
"""Nearest discs of a pixel that are blended: about those of one surface."""
NEAREST = 1e-6
"""z-depth, in the scale of the scene, up to which points are behind the view."""
EPS = 1e-6
"""Coverage below which a pixel has no colour of its own."""


def draw_points(
    cloud: PointCloud,
    view_from_world: Float64[np.ndarray, "4 4"],
    focal: float,
    size: tuple[int, int],
    background: tuple[int, int, int],
    device: str,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw points as discs with a soft rim, the nearest in front.

    Args:
        cloud: The points.
        view_from_world: Pose of the view with our camera axes.
        focal: Focal length in pixels; the principal point is the picture's middle.
        size: (width, height) of the picture in pixels.
        background: RGB colour where there are no points.
        device: Where it is computed. On a CPU every pixel asks every point.
    """
    width, height = size
    shown = cloud.select(cloud.points @ view_from_world[2, :3] + view_from_world[2, 3] > NEAREST)
    if not shown.num_points:
        return np.full((height, width, 3), background, np.uint8)
    intrinsics = np.array([[focal, focal, width / 2, height / 2]])
    cameras = perspective_cameras(view_from_world[None], intrinsics, size, device)
    radius = RADIUS_PX * 2 / min(size)  # the shorter side of PyTorch3D's pictures is 2 long
    renderer = import_pytorch3d("renderer")
    settings = renderer.PointsRasterizationSettings(
        image_size=(height, width),
        radius=radius,
        points_per_pixel=POINTS_PER_PIXEL,
        max_points_per_bin=shown.num_points,  # no part of the picture can have more: none is lost
    )
    points = pointclouds([shown], device)
    index, _, distance2 = renderer.PointsRasterizer(cameras, settings)(points)
    alpha = (2 - 2 * distance2[0] / radius**2).clamp(0, 1)  # opaque on half of the disc's area
    picture = _blend(index[0], alpha, points.features_packed(), background)
    return np.asarray(picture.cpu().numpy())


def _blend(
    index: Int[Tensor, "height width discs"],
    alpha: Float[Tensor, "height width discs"],
    colors: Float[Tensor, "points 3"],
    background: tuple[int, int, int],
) -> UInt8[Tensor, "height width 3"]:
    """RGB picture of the discs in front of the background.

    Args:
        index: Points whose discs cover each pixel, nearest first, -1 = none.
        alpha: How opaque each disc is there.
        colors: RGB from 0 to 1.
        background: RGB.
    """
    alpha = torch.where(index >= 0, alpha, 0.0)
    before = torch.cumprod(1 - alpha, dim=-1)
    weight = alpha * torch.cat((torch.ones_like(alpha[..., :1]), before[..., :-1]), dim=-1)
    coverage = weight.sum(-1, keepdim=True)
    color = (weight[..., None] * colors[index.clamp_min(0).long()]).sum(-2)
    color = color / coverage.clamp_min(EPS)
    is_full = index[..., -1:] >= 0  # there may be more discs than were kept
    coverage = torch.where(is_full, 1.0, coverage)
    behind = torch.tensor(background, dtype=color.dtype, device=color.device)
    return (coverage * 255 * color + (1 - coverage) * behind).round().to(torch.uint8)
