"""Focal lengths and cameras of two images as DUSt3R and MonST3R find them without optimisation."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.peers.objective import Pointmaps, pixel_grid
from recon4d.core.geometry import invert_rigid
from recon4d.optim.pairwise.start import weiszfeld_focal

PNP_TRIALS, PNP_PX, PNP_CONFIDENCE = 100, 5, 3
"""Their viewer's trials of RANSAC, its threshold in pixels, and the confidence from which on a point takes part."""


def focals(
    points: Float[Tensor, "images height width 3"], centre_px: Float[Tensor, "2"]
) -> Float[Tensor, " images"]:
    """Focal length of every point map by Weiszfeld's iteration."""
    height, width = points.shape[1:3]
    flat = points.flatten(1, 2).mT
    offset = pixel_grid((height, width)) - centre_px[:, None]
    return weiszfeld_focal(flat, offset, torch.ones_like(flat[:, 0]))


def median_focal(
    points: Float[Tensor, "height width 3"], centre_px: Float[Tensor, "2"]
) -> Float[Tensor, ""]:
    """Lower median of the focal lengths by which single coordinates of pixels are right."""
    height, width = points.shape[:2]
    x, y, z = points.flatten(0, 1).T
    u, v = pixel_grid((height, width)) - centre_px[:, None]
    return torch.cat((u * z / x, v * z / y)).nanmedian()


@dataclass(frozen=True)
class TwoViews:
    """What MonST3R's and DUSt3R's viewer makes of the two directed pairs of two images."""

    focal_px: Float[Tensor, "2"]
    world_from_cam: Float[Tensor, "2 4 4"]
    depth: Float[Tensor, "2 height width"]
    edge_confidence: Float[Tensor, "2"]


def two_views(pairs: Pointmaps) -> TwoViews:
    """Cameras of two images without optimisation; the edges are (0, 1), (1, 0)."""
    height, width = pairs.size
    centre = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    own, other = pairs.points
    quality = pairs.confidence[0].mean((1, 2)) * pairs.confidence[1].mean((1, 2))
    first = int(quality.argmax())
    second = 1 - first
    focal = focals(own, centre)
    confidence = torch.maximum(pairs.confidence[0][second], pairs.confidence[1][first])
    cam_from_world = _locate(
        other[first], confidence > PNP_CONFIDENCE, float(focal[second]), centre
    )
    poses, depth = torch.eye(4).double().repeat(2, 1, 1), own[..., 2].clone()
    poses[second] = invert_rigid(cam_from_world)
    depth[second] = (other[first] @ cam_from_world[:3, :3].T + cam_from_world[:3, 3])[..., 2]
    return TwoViews(focal, poses, depth, quality)


def _locate(points: Tensor, keep: Tensor, focal_px: float, centre_px: Tensor) -> Tensor:
    """`cam_from_world` of the camera whose pixels show points."""
    matrix = np.diag((focal_px, focal_px, 1.0))
    matrix[:2, 2] = centre_px.numpy()
    uv = pixel_grid((keep.shape[0], keep.shape[1])).T.reshape(*keep.shape, 2)[keep].numpy()
    cv2.setRNGSeed(0)
    is_found, turn, move, _ = cv2.solvePnPRansac(
        points[keep].numpy(),
        uv,
        matrix,
        None,
        iterationsCount=PNP_TRIALS,
        reprojectionError=PNP_PX,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not is_found:
        raise RuntimeError("PnP found no pose")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], move[:, 0]
    return torch.from_numpy(pose)
