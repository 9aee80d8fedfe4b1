"""Focal loss plus dice loss, half each (MuBe4D; GeoMotion).

Numbers here that name no source were set by hand.
"""

import torch
from jaxtyping import Float
from torch import Tensor

GAMMA = 2.0
"""Exponent of the focal loss (Lin et al., ICCV 2017): well-classified pixels count little."""
SMOOTH = 100.0
"""Added to both sides of the dice ratio, samples: without movers one wrong pixel is no total loss."""


def segmentation_loss(
    log_odds: Float[Tensor, "batch rows cols"], truth: Float[Tensor, "batch rows cols"]
) -> Float[Tensor, ""]:
    """Mean over the batch of (focal + dice) / 2; 0 where everything is certain and right."""
    return 0.5 * (focal_loss(log_odds, truth) + dice_loss(log_odds, truth))


def focal_loss(
    log_odds: Float[Tensor, "batch rows cols"], truth: Float[Tensor, "batch rows cols"]
) -> Float[Tensor, ""]:
    """Cross entropy with soft truth, times |truth - probability|^gamma, scaled so that p = 1/2 costs log 2."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds, truth, reduction="none"
    )
    off = (truth - torch.sigmoid(log_odds)).abs()
    return ((2 * off) ** GAMMA * entropy).mean()


def dice_loss(
    log_odds: Float[Tensor, "batch rows cols"], truth: Float[Tensor, "batch rows cols"]
) -> Float[Tensor, ""]:
    """One minus the soft overlap of each image (Milletari et al., 3DV 2016)."""
    probability = torch.sigmoid(log_odds)
    shared = (probability * truth).sum((1, 2))
    total = probability.sum((1, 2)) + truth.sum((1, 2))
    return (1 - (2 * shared + SMOOTH) / (total + SMOOTH)).mean()
