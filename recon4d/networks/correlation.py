"""Correlation of the features of two images, and its values around positions of the second."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def cell_grid(
    like: Float[Tensor, "batch channels rows cols"],
) -> Float[Tensor, "1 2 rows cols"]:
    """Column and row of every cell."""
    rows, cols = (torch.arange(n, dtype=torch.float32, device=like.device) for n in like.shape[-2:])
    row, col = torch.meshgrid(rows, cols, indexing="ij")
    return torch.stack((col, row))[None]


def correlation_pyramid(
    source: Float[Tensor, "batch features rows cols"],
    target: Float[Tensor, "batch features rows cols"],
    levels: int,
) -> list[Float[Tensor, "cells 1 _ _"]]:
    """Products of every source cell's features with every target cell's, and their means over 2, 4, ... cells.

    In single precision also where the features are in half.
    """
    batch, channels, rows, cols = source.shape
    with torch.autocast(source.device.type, enabled=False):
        products = source.flatten(2).transpose(1, 2).float() @ target.flatten(2).float()
    level = (products / channels**0.5).reshape(batch * rows * cols, 1, rows, cols)
    pyramid = [level]
    for _ in range(levels - 1):
        level = F.avg_pool2d(level, 2)
        pyramid.append(level)
    return pyramid


def look_up(
    pyramid: list[Float[Tensor, "cells 1 _ _"]],
    at: Float[Tensor, "batch 2 rows cols"],
    radius: int,
) -> Float[Tensor, "batch seen rows cols"]:
    """Correlation in a square around a position of the target, in every level; zero outside the image.

    Args:
        pyramid: Of `correlation_pyramid`.
        at: Column and row in the target, cells, for every source cell.
        radius: Of the square, cells of each level.
    """
    batch, _, rows, cols = at.shape
    reach = torch.arange(-radius, radius + 1, dtype=at.dtype, device=at.device)
    around = torch.cartesian_prod(reach, reach).reshape(1, len(reach), len(reach), 2)
    centre = at.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    seen = []
    for number, level in enumerate(pyramid):
        size = torch.tensor(level.shape[:-3:-1], dtype=at.dtype, device=at.device)
        place = (2 * (centre / 2**number + around) + 1) / size - 1
        values = F.grid_sample(level, place, align_corners=False)
        seen.append(values.reshape(batch, rows, cols, -1))
    return torch.cat(seen, dim=-1).permute(0, 3, 1, 2).contiguous()
