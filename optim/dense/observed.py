"""What is known about the inverse depth of some frames, and where it changes too fast for one surface.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

STEEP = 3.0
"""Change of inverse depth, relative to it, per width of the image from which on a slope is a border of two surfaces."""
FLOW_BLUR = 7
"""Side of the window of `Flow` samples in which a patch of the flow mixes two surfaces."""


@dataclass(frozen=True)
class Observed:
    """Inverse depth of some frames with the trust it deserves, in [0, 1]; 0 = says nothing."""

    inverse_depth: Float[Tensor, "frames rows cols"]
    confidence: Float[Tensor, "frames rows cols"]


def relative_range(
    depths: Float[Tensor, "frames rows cols"], size: int
) -> Float[Tensor, "frames rows cols"]:
    """Largest minus smallest value in a square window of odd size, relative to the value."""
    return window_max(depths, size).add_(window_max(-depths, size)).div_(depths)


def window_max(
    values: Float[Tensor, "frames rows cols"], size: int
) -> Float[Tensor, "frames rows cols"]:
    """Largest value in a square window of odd size."""
    return _max_along(_max_along(values, size, 1), size, 2)


def _max_along(values: Tensor, size: int, dim: int) -> Tensor:
    """Maximum in a centred window along one axis, by windows of doubling length."""
    length = values.shape[dim]
    edge = [0, 0, 0, 0]
    edge[0 if dim == 2 else 2] = edge[1 if dim == 2 else 3] = size // 2
    values = F.pad(values[:, None], edge, mode="replicate")[:, 0]
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        kept = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, kept), values.narrow(dim, step, kept))
        reach += step
    return values.narrow(dim, 0, length)


def flatness(
    depths: Float[Tensor, "frames rows cols"], window: int = FLOW_BLUR
) -> Float[Tensor, "frames rows cols"]:
    """1 inside a surface, towards 0 near a border between two, where flow mixes both."""
    step = STEEP * (window - 1) / depths.shape[2]
    return (relative_range(depths, window) / step).pow_(4).add_(1).reciprocal_()
