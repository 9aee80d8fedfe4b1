"""Frozen data types whose fields are tensors, and the samples of `Flow` (`recon4d.core.sampling`) as tensors."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from recon4d.core.sampling import ONE_PER_CELL, sample_px
from recon4d.core.scene import FLOW_STRIDE, Flow

Data = TypeVar("Data")

EDGE_RATIO = 1.05
"""Where neighbouring depths differ by more than this factor there is an edge, and neither side is to be trusted. Set by
hand."""


def map_tensors(data: Data, change: Callable[[Tensor], Tensor]) -> Data:
    """A copy of a dataclass with all of its tensors changed, also in dataclasses and tuples of them inside it."""
    changed: dict[str, object] = {}
    for name, value in vars(data).items():
        if isinstance(value, Tensor):
            changed[name] = change(value)
        elif dataclasses.is_dataclass(value):
            changed[name] = map_tensors(value, change)
        elif isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
            changed[name] = tuple(map_tensors(item, change) for item in value)
    return dataclasses.replace(data, **changed)  # type: ignore[type-var]


def on_device(data: Data, device: torch.device) -> Data:
    """The same on another device."""
    return map_tensors(data, lambda tensor: tensor.to(device))


def sample_grid_px(rows: int, cols: int, device: torch.device) -> Float[Tensor, "pixels 2"]:
    """Pixels (u, v) of all `Flow` samples, row by row."""
    return torch.from_numpy(sample_px(rows, cols)).reshape(-1, 2).to(device)


def flow_targets(
    flow: Flow, edges: Int64[np.ndarray, " edges"], device: torch.device
) -> tuple[Float[Tensor, "edges pixels"], Float[Tensor, "edges pixels"]]:
    """Pixels u and v where the flow of some edges leads all samples."""
    rows, cols = flow.confidence.shape[1:]
    found = torch.from_numpy(flow.flow_px[edges]).to(device).reshape(len(edges), -1, 2)
    u, v = sample_grid_px(rows, cols, device).unbind(-1)
    return found[..., 0].float().add_(u), found[..., 1].float().add_(v)


def cells_of(
    px: Float[Tensor, "*batch 2"],
) -> tuple[Int64[Tensor, "*batch"], Int64[Tensor, "*batch"]]:
    """Row and column of the samples whose cells hold pixels (u, v); outside of the image where the pixels are."""
    col, row = (px / FLOW_STRIDE).floor().to(torch.int64).unbind(-1)
    return row, col


def nearest_cells(
    u: Float[Tensor, "*batch"], v: Float[Tensor, "*batch"], rows: int, cols: int
) -> Int[Tensor, "*batch"]:
    """Index, row by row, of the samples whose cells hold pixels, or are nearest to those outside; int32: small."""
    row = (v * (1 / FLOW_STRIDE)).clamp_(0, rows - 1).int()
    return row.mul_(cols).add_((u * (1 / FLOW_STRIDE)).clamp_(0, cols - 1).int())


def depth_at_samples(
    depth: Float[Tensor, "*frames height width"],
) -> Float[Tensor, "*frames rows cols"]:
    """Depth where the samples of `Flow` lie; 0 = unknown.

    Inverse depth is linear on planes, so its mean over a cell is that of the cell's middle. Where the cell's depths are
    not all known, or are of two surfaces, one pixel's depth stands for it (`ONE_PER_CELL`).
    """
    rows, cols = (side // FLOW_STRIDE for side in depth.shape[-2:])
    whole = depth[..., : rows * FLOW_STRIDE, : cols * FLOW_STRIDE]
    cells = whole.reshape(*whole.shape[:-2], rows, FLOW_STRIDE, cols, FLOW_STRIDE)
    nearest, farthest = cells.amin((-3, -1)), cells.amax((-3, -1))
    is_one = (nearest > 0) & (farthest < EDGE_RATIO * nearest)
    return torch.where(is_one, 1 / cells.reciprocal().mean((-3, -1)), depth[ONE_PER_CELL])
