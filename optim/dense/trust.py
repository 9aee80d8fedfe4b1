"""How far the depth of a pixel is to be trusted: measured, completed, or completed and borne out by the flow.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from recon4d.core.scene import Flow, Scene
from recon4d.optim.dense.observed import Observed
from recon4d.optim.triangulate import confirmed

CLOSE = 0.05
"""Relative distance from the measurement at which a completed pixel has lost most of its confidence."""
COMPLETED = 0.1
"""Confidence of completed pixels beside what was seen, in a frame that has parallax."""
SEEN = 0.1
"""Confidence from which on a pixel was seen, not completed."""
COMPLETED_REACH = 0.02
"""Distance from what was seen, parts of the image's width, at which a completed pixel has half of that confidence."""
CONFIRMED = 0.4
"""Most confidence of a completed pixel that the flow bears out. Away from edges its depth is off by 1.0 to 1.5 % in the
median on `exact_crowd` and `exact_dancer`, like what was measured at a confidence below 0.1; but in a video of little
parallax hardly anything is measured better, and what nothing bears out is off by ten times as much."""
REFUTED = 0.3
"""Part of its weight among other frames that is left to a pixel that no flow agrees with. With this and the above the
static Abs Rel of `exact_dancer`, `_heavy`, `_crowd` and `kitchen_static` is 1.8, 8.7, 8.5 and 0 % lower."""
AGREES = 0.7
"""Part of the flow that agrees from which on it bears a depth out wholly."""
TOLD = 0.05
"""Relative standard deviation by the flow at which it does so by half."""
PATCH = 5
"""Side of the window of `Flow` samples that is asked together: what single pixels say makes depth flicker."""
LEAST = 0.004
"""Least confidence of a pixel whose depth is known at all: 1 of 255."""


@dataclass(frozen=True)
class Verdict:
    """What the flow of a frame says of its depth."""

    agreement: Float[Tensor, "rows cols"]
    """How far it agrees, in [0, 1]."""
    borne_out: Float[Tensor, "rows cols"]
    """How far it agrees and would not with another depth, in [0, 1]."""


def trust_of(
    surface: Float[Tensor, "frames rows cols"], observed: Observed
) -> Float[Tensor, "frames rows cols"]:
    """That of the measurement where the surface follows it, else that of a completion: less the farther it reaches."""
    moved = (surface / observed.inverse_depth).log() / CLOSE
    kept = observed.confidence * torch.exp(-(moved**2))
    unseen = (kept < SEEN).cpu().numpy().astype(np.uint8)
    far = np.stack([cv2.distanceTransform(one, cv2.DIST_L2, 5) for one in unseen])
    reach = COMPLETED_REACH * surface.shape[2]
    completed = (COMPLETED / (1 + torch.from_numpy(far).to(kept) / reach)).clamp_min(LEAST)
    return completed + (1 - completed) * kept


def confidence_of(
    trust: Float[Tensor, "rows cols"], verdict: Verdict
) -> Float[Tensor, "rows cols"]:
    """Trust, or that of a completed depth which the flow bears out, whichever is more.

    Flow that is too noisy, pixel by pixel, to measure depth may still agree with what its surroundings tell: a floor
    that glides by.
    """
    return torch.maximum(trust, CONFIRMED * verdict.borne_out)


def weight_of(trust: Float[Tensor, "rows cols"], verdict: Verdict) -> Float[Tensor, "rows cols"]:
    """What a frame's surface counts where frames are joined: its confidence, less of it where flow does not agree."""
    return confidence_of(trust, verdict) * (REFUTED + (1 - REFUTED) * verdict.agreement)


def judged(
    surface: Float[Tensor, "rows cols"],
    flow: Flow,
    frame: int,
    scene: Scene,
    static: Float32[np.ndarray, "rows cols"],
) -> Verdict:
    """Ask the flow of one frame.

    Args:
        surface: Inverse depth of its static surface.
        flow: What was measured from the frame to others.
        frame: Its number.
        scene: Cameras.
        static: Probability that a pixel is static.
    """
    agreement, std = confirmed(flow, frame, scene, static, surface)
    agreement = (agreement / AGREES).clamp_max_(1)
    both = torch.stack((agreement, agreement.square() / (1 + (std / TOLD).square_())))
    around = F.avg_pool2d(both, PATCH, stride=1, padding=PATCH // 2, count_include_pad=False)
    return Verdict(around[0], around[1])
