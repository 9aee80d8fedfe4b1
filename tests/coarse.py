"""U2-Net on small pictures: at its full size it takes four fifths of the time of a small run."""

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.networks.u2net import U2net

SIDE = 96
"""Of the pictures, pixels, instead of 320; an eleventh of the time. Set by hand."""
_forward = U2net.forward


def forward(self: U2net, image: Float[Tensor, "batch 3 rows cols"]) -> Tensor:
    """In the place of `U2net.forward`."""
    small = torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="area")
    found = _forward(self, small)[:, None]
    large = torch.nn.functional.interpolate(found, image.shape[-2:], mode="bilinear")
    return large[:, 0]
