"""Occluded background beside movers: static depth from frames in which the mover was elsewhere.

Around a moving region the flow follows the mover, so nothing is triangulated there. The cameras are known, so the sure
points of other frames can be projected into those places instead.

Numbers here that name no source were set by hand.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, transfer
from recon4d.core.scene import Scene
from recon4d.core.tensors import cells_of, sample_grid_px
from recon4d.optim.dense.observed import Observed

SURE = 0.4
"""Confidence from which on a point of another frame is worth projecting."""
UNSURE = 0.15
"""Confidence below which a place beside a mover is filled."""
BESIDE = 10
"""Distance to a mover, `Flow` samples, within which its motion spoils the flow: a patch and a motion blur."""
FILLED = 0.3
"""Confidence of what is filled: seen, but in other frames."""


def fill_beside_movers(
    observed: Observed,
    moving: Float[Tensor, "rows cols"],
    frame: int,
    scene: Scene,
    views: Mapping[int, Observed],
) -> Observed:
    """Replace unsure static depth of one frame beside its movers by what `views` of other frames saw there."""
    if not bool((moving > 0.5).any()):
        return observed
    size = 2 * BESIDE + 1
    beside = F.max_pool2d(moving[None], size, stride=1, padding=BESIDE)[0] > 0.5
    wanted = beside & (moving < 0.5) & (observed.confidence[0] < UNSURE)
    plate = _plate(moving.shape[0], moving.shape[1], frame, scene, views)
    use = wanted & (plate > 0)
    depths = torch.where(use, plate, observed.inverse_depth[0])
    confidence = torch.where(use, FILLED, observed.confidence[0])
    return Observed(depths[None], confidence[None])


def _plate(
    rows: int, cols: int, frame: int, scene: Scene, views: Mapping[int, Observed]
) -> Float[Tensor, "rows cols"]:
    """z-buffer of other frames' sure points in this one: the nearest one's inverse depth; 0 where none falls."""
    device = next(iter(views.values())).inverse_depth.device
    plate = torch.zeros(rows * cols, device=device)
    uv = sample_grid_px(rows, cols, device)
    cam_from_world = np.linalg.inv(scene.world_from_cam[frame])
    intrinsics = torch.from_numpy(np.array(scene.intrinsics, np.float32)).to(device)
    for other, view in views.items():
        if other == frame or scene.component[other] != scene.component[frame]:
            continue
        sure = (view.confidence[0] > SURE).reshape(-1)
        rho = view.inverse_depth.reshape(-1)[sure]
        relative = torch.from_numpy(cam_from_world @ scene.world_from_cam[other]).to(rho)
        there, ratio = transfer(uv[sure], rho, relative, intrinsics[other], intrinsics[frame])
        row, col = cells_of(there)
        inside = (ratio > MIN_DEPTH_RATIO) & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        index = (row * cols + col)[inside]
        plate.scatter_reduce_(0, index, (rho / ratio)[inside], "amax")
    image = plate.view(rows, cols)
    grown = F.max_pool2d(image[None], 3, stride=1, padding=1)[0]
    return torch.where(image > 0, image, grown)  # closes the gaps that magnification leaves
