"""The seed of a reconstruction: the pair of frames with the best-conditioned two-view geometry.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon4d.optim.objective.problem import Problem
from recon4d.optim.setting import AlignOptions
from recon4d.optim.start.two_view import RelativePose, two_view_poses

GOOD_SEED_PARALLAX_PX = 25.0
"""More parallax than this does not make a better seed."""
SEED_OFFSET = 3
"""Pairs fewer frames apart than this are not considered as seeds."""


def seed_pairs(
    problem: Problem,
) -> tuple[Int64[np.ndarray, "pairs 2"], Int64[np.ndarray, " pairs"]]:
    """Candidates for the first pair: (source, target) and the slot of the target; the farther pairs of the graph."""
    partners = problem.partners.cpu().numpy()
    source, slot = np.nonzero(partners > np.arange(len(partners))[:, None])
    apart = partners[source, slot] - source
    keep = apart >= min(SEED_OFFSET, int(apart.max(initial=1)))
    source, slot = source[keep], slot[keep]
    return np.stack((source, partners[source, slot]), axis=1), slot


def pair_geometry(
    problem: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    slots: Int64[np.ndarray, " pairs"],
    intrinsics: Float64[np.ndarray, "4"],
    options: AlignOptions,
) -> list[RelativePose | None]:
    """Two-view geometry of pairs of a problem."""
    return two_view_poses(
        problem.samples_px[pairs[:, 0]].transpose(1, 2).cpu().numpy(),
        problem.targets_px[pairs[:, 0], slots].transpose(1, 2).cpu().numpy(),
        problem.weight[pairs[:, 0], slots].cpu().numpy(),
        intrinsics,
        options.threads,
    )


@dataclass(frozen=True)
class Seed:
    """The pair that a piece starts from."""

    index: int
    source: int
    target: int
    score: float


def best_seed(
    pairs: Int64[np.ndarray, "pairs 2"],
    geometry: list[RelativePose | None],
    done: Bool[np.ndarray, " frames"],
    tried: Bool[np.ndarray, " frames"],
) -> Seed | None:
    """The pair with many inliers and much parallax, well connected to its neighbours in time."""
    quality = np.zeros(len(done))  # of the flow around each frame: sum of inliers of its pairs
    for (source, target), pose in zip(pairs, geometry, strict=True):
        if pose is not None:
            quality[[source, target]] += pose.num_inliers
    quality = quality / max(quality.max(), 1.0)
    best: Seed | None = None
    for index, ((source, target), pose) in enumerate(zip(pairs, geometry, strict=True)):
        if pose is None or done[source] or done[target] or (tried[source] and tried[target]):
            continue
        gain = min(pose.parallax_px, GOOD_SEED_PARALLAX_PX) / GOOD_SEED_PARALLAX_PX
        score = pose.num_inliers * pose.inlier_share * gain * min(quality[source], quality[target])
        score += 1e-3 * pose.inlier_share
        if best is None or score > best.score:
            best = Seed(index, int(source), int(target), float(score))
    return best
