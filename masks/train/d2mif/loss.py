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


Maps = Float[Tensor, "batch rows cols"]


def segmentation_loss(log_odds: Maps, truth: Maps, known: Maps | None = None) -> Float[Tensor, ""]:
    """Mean over the batch of (focal + dice) / 2; 0 where everything is certain and right.

    Args:
        log_odds: What is said.
        truth: Part of each sample that moves.
        known: 0 where the truth is not known and nothing counts; 1 everywhere if not given.
    """
    return 0.5 * (focal_loss(log_odds, truth, known) + dice_loss(log_odds, truth, known))


def focal_loss(log_odds: Maps, truth: Maps, known: Maps | None = None) -> Float[Tensor, ""]:
    """Cross entropy with soft truth, times |truth - probability|^gamma, scaled so that p = 1/2 costs log 2."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds, truth, reduction="none"
    )
    off = (truth - torch.sigmoid(log_odds)).abs()
    cost = (2 * off) ** GAMMA * entropy
    return cost.mean() if known is None else (cost * known).sum() / known.sum().clamp_min(1)


def dice_loss(log_odds: Maps, truth: Maps, known: Maps | None = None) -> Float[Tensor, ""]:
    """One minus the soft overlap of each image (Milletari et al., 3DV 2016)."""
    probability = torch.sigmoid(log_odds)
    if known is not None:
        probability, truth = probability * known, truth * known
    shared = (probability * truth).sum((1, 2))
    total = probability.sum((1, 2)) + truth.sum((1, 2))
    return (1 - (2 * shared + SMOOTH) / (total + SMOOTH)).mean()
