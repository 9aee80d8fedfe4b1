"""One depth per moving object over time: what single frames say of its regions, joined along the flow.

Regions of frames that are a few apart are linked where the flow leads from one to the other. Between linked ones,
inverse depth changes as the apparent size does: that is what the flow inside tells. Where a region stands on the
ground, and what it hides, a frame says alone, and is often wrong: robust least squares over all regions of a video
weigh both, by their numbers of samples, so that small pieces follow the body that they come off.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from recon4d.core.sampling import cell_of, sample_px
from recon4d.core.scene import Flow, Scene
from recon4d.optim.dense.movers import Regions

LINKED = (1, 2, 3)
"""Frames between linked regions: masks may miss an object for two frames."""
MIN_SHARED = 12
"""Samples that the flow must lead from one region to another."""
SIZE_SIGMA = 0.02
"""Standard deviation of the logarithm of the change of size, per frame: limbs and turning bodies change it, too."""
LARGEST_CHANGE = 0.05
"""Change of size per frame beyond which it is no object's."""
STANDS_SIGMA = 0.3
"""Standard deviation of the logarithm of the ground's inverse depth as a single frame sees it."""
NEARER_SIGMA = 1.5
"""Same, above what is only a bound: it may be this much nearer."""
DOUBTED = 1.0
"""Scale of the robust kernel, in standard deviations."""
ROUNDS = 8
"""Iterations of the weights; they settle in fewer."""


@dataclass(frozen=True)
class _Links:
    """Pairs of regions, numbered over the whole video."""

    pair: Int64[np.ndarray, "links 2"]
    growth: Float64[np.ndarray, " links"]
    """Logarithm of the second's size over the first's."""
    weight: Float64[np.ndarray, " links"]
    """Samples over variance."""


def joint_levels(
    regions: list[Regions], flow: Flow, scene: Scene, wanted: range
) -> list[Float32[np.ndarray, " regions"]]:
    """Inverse depth of every region of every frame.

    Args:
        regions: Of the wanted frames.
        flow: Leads from region to region.
        scene: Its pieces, of which each has a scale of its own, are not linked.
        wanted: The frames' numbers in it.
    """
    ends = np.cumsum([0, *(len(one.level) for one in regions)])
    if ends[-1] == 0:
        return [one.level for one in regions]
    level = np.log(np.concatenate([one.level for one in regions]).astype(np.float64))
    stands = np.concatenate([one.stands for one in regions])
    area = np.concatenate([one.area for one in regions]).astype(np.float64)
    links = _links(regions, ends, flow, scene.component, wanted)
    found = np.exp(_solved(level, stands, area, links)).astype(np.float32)
    return [found[a:b] for a, b in pairwise(ends)]


def _solved(
    level: Float64[np.ndarray, " regions"],
    stands: np.ndarray,
    area: Float64[np.ndarray, " regions"],
    links: _Links,
) -> Float64[np.ndarray, " regions"]:
    count, rows = len(level), np.arange(len(links.pair)).repeat(2)
    signs = np.tile((-1.0, 1.0), len(links.pair))
    change = coo_matrix((signs, (rows, links.pair.ravel())), (len(links.pair), count)).tocsr()
    x, tied = level.copy(), np.ones(len(links.pair))
    for _ in range(ROUNDS):
        sigma = np.where(stands | (x < level), STANDS_SIGMA, NEARER_SIGMA)
        own = area / sigma**2 / (1 + ((x - level) / sigma / DOUBTED) ** 2)
        pull = change.T @ diags(links.weight * tied)
        x = spsolve((pull @ change + diags(own)).tocsc(), own * level + pull @ links.growth)
        tied = 1 / (1 + ((change @ x - links.growth) / STANDS_SIGMA) ** 2)
    return np.asarray(x)


def _links(
    regions: list[Regions],
    ends: Int64[np.ndarray, " starts"],
    flow: Flow,
    component: Int64[np.ndarray, " frames"],
    wanted: range,
) -> _Links:
    pairs, growths, weights = [], [], []
    for edge, (source, target) in enumerate(flow.edges.tolist()):
        apart = target - source
        is_one = component[source] == component[target] >= 0
        if apart not in LINKED or source not in wanted or target not in wanted or not is_one:
            continue
        a, b = source - wanted.start, target - wanted.start
        for first, second, start, end in _shared(regions[a], regions[b], flow.flow_px[edge]):
            pairs.append((ends[a] + first, ends[b] + second))
            growths.append(_growth(start, end, LARGEST_CHANGE * apart))
            weights.append(len(start) / (SIZE_SIGMA**2 * apart))
    return _Links(np.array(pairs, np.int64).reshape(-1, 2), np.array(growths), np.array(weights))


def _shared(
    here: Regions, there: Regions, flow_px: np.ndarray
) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Regions that flow leads from and to, with the pixels where it does so."""
    rows, cols = here.labels.shape
    row, col = np.nonzero(here.labels)
    start = sample_px(rows, cols)[row, col]
    end = start + flow_px[row, col].astype(np.float32)
    at = cell_of(end)
    inside = ((at >= 0) & (at < (rows, cols))).all(1)
    first = here.labels[row, col]
    second = np.zeros_like(first)
    second[inside] = there.labels[tuple(at[inside].T)]
    found = []
    for a, b in np.unique(np.stack((first, second), 1)[second > 0], axis=0):
        both = (first == a) & (second == b)
        if both.sum() >= MIN_SHARED:
            found.append((int(a) - 1, int(b) - 1, start[both], end[both]))
    return found


def _growth(
    start: Float32[np.ndarray, "pixels 2"], end: Float32[np.ndarray, "pixels 2"], most: float
) -> float:
    """Logarithm of how much larger a patch has become: of a similarity's scale, without the pixels that fit worst."""
    keep, growth = np.ones(len(start), bool), 0.0
    for _ in range(2):
        a, b = (x[keep] - x[keep].mean(0) for x in (start, end))
        size = float((a * a).sum())
        real, imaginary = float((a * b).sum()), float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
        growth = float(np.log(max(np.hypot(real, imaginary), 1e-9) / max(size, 1e-9)))
        cos, sin = real / max(size, 1e-9), imaginary / max(size, 1e-9)
        fit = (start - start[keep].mean(0)) @ np.array(((cos, sin), (-sin, cos)))
        off = np.linalg.norm(end - end[keep].mean(0) - fit, axis=1)
        keep = off <= np.quantile(off, 0.7)
    return growth if abs(growth) < most else 0.0
