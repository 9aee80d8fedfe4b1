"""Factor and offset that bring maps of depth of the user's to a scene, and make them agree where nothing is measured.

A map is brought to inverse depth (a disparity) or depth by `factor * value + offset`, frame by frame.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from scipy.sparse import coo_array
from scipy.spatial.transform import Rotation

from recon4d.core.geometry import transfer
from recon4d.core.sampling import cell_of, sample_at
from recon4d.core.scene import Flow, Scene
from recon4d.priors.mono import MIN_SAMPLES, affine_fit

SURE_STD = 0.2
"""Relative standard deviation of a sample's depth up to which it tells what a map's values mean."""
MIN_GAIN = 0.1
"""Part of the spread of its values that what was measured must explain: less is no map of this scene."""
ORDERED = -0.3
"""Rank correlation with what was measured below which a map is of the other kind, disparity or depth."""
STEP = 4
"""Every so-manieth sample of `Flow`, in both directions, ties two frames."""
SURE_FLOW = 32
"""Confidence of flow, of 255, from which on it does."""
STEPS = 6
"""Reweightings of the solution for all frames."""
MISSED = 0.1
"""Relative difference of two maps at which a tie has half of its weight."""
RIDGE = 1e-2
"""Weight of a factor of 1 and an offset of 0 in each frame, of as many ties as it has in the mean: decides where ties
see too little of it."""
GAUGE = 1e3
"""Weight that holds the mean factor at 1 and the mean offset at 0, of as many ties as there are."""

Line = tuple[float, float]
"""Factor and offset."""


@dataclass(frozen=True)
class Samples:
    """Values of one map where the depth is measured."""

    values: Float[np.ndarray, " samples"]
    inverse_depth: Float[np.ndarray, " samples"]

    @classmethod
    def of(
        cls,
        scene: Scene,
        frame: int,
        values: Float32[np.ndarray, "height width"],
        static: Bool[np.ndarray, "rows cols"] | None = None,
    ) -> "Samples":
        """Those of a frame that are sure, and do not move where it is known what does."""
        px, rho = scene.samples_px[frame], scene.inverse_depth[frame]
        row, col = cell_of(px).T
        u, v = px.astype(int).T
        sure = (scene.inverse_depth_std[frame] < SURE_STD * rho) & (values[v, u] != 0)
        if static is not None:
            sure &= static[row, col]
        return cls(values[v, u][sure].astype(np.float64), rho[sure].astype(np.float64))

    def line(self, kind: str, scale: str) -> Line | None:
        """What brings the values to the scene; None where they do not fit to it, or are too few."""
        if len(self.values) < MIN_SAMPLES:
            return None
        wanted = self.inverse_depth if kind == "disparity" else 1 / self.inverse_depth
        if scale == "affine":
            found = affine_fit(wanted, self.values, MIN_GAIN)  # it is the map that has errors
            return None if found is None else (1 / found[0], -found[1] / found[0])
        return float(np.exp(np.median(np.log(wanted / self.values)))), 0.0

    def contradicts(self, kind: str) -> bool:
        """Whether large values are far where they should be near, or the other way round."""
        if (
            len(self.values) < MIN_SAMPLES
            or min(np.ptp(self.values), np.ptp(self.inverse_depth)) == 0
        ):
            return False
        from scipy.stats import spearmanr  # half a second at the start of runs that need none

        found = float(spearmanr(self.values, self.inverse_depth).statistic)
        return (found if kind == "disparity" else -found) < ORDERED


@dataclass(frozen=True)
class _Ties:
    """Places that two frames see, from cameras that only turn."""

    first: np.ndarray
    second: np.ndarray
    """Frames."""
    here: np.ndarray
    there: np.ndarray
    """Values of their maps, in units of a typical one."""
    ratio: np.ndarray
    """Value that the second should have, over that of the first."""


def turning_lines(
    values: Float32[np.ndarray, "frames height width"],
    scene: Scene,
    flow: Flow,
    static: Bool[np.ndarray, "frames rows cols"],
    kind: str,
    scale: str,
    typical: float,
) -> list[Line]:
    """Factor and offset of every frame of a camera that only turns: neighbours then say the same of the same place.

    Of all frames together, their means are 1 (of values over `typical`) and 0: nothing tells them.
    """
    count = len(values)
    if scale == "metric":
        return [(1.0, 0.0)] * count
    ties = _ties(values / np.float32(typical), scene, flow, static, kind)
    found = _solve(ties, count, has_offset=scale == "affine")
    return [(float(a) / typical, float(b)) for a, b in found]


def _ties(
    values: Float32[np.ndarray, "frames height width"],
    scene: Scene,
    flow: Flow,
    static: Bool[np.ndarray, "frames rows cols"],
    kind: str,
) -> _Ties:
    rows, cols = static.shape[1:]
    grid = np.stack(np.meshgrid(np.arange(0, rows, STEP), np.arange(0, cols, STEP)), -1)
    cells = grid.reshape(-1, 2)
    px = sample_at(cells)
    here_u, here_v = px.astype(int).T
    found = []
    for edge, (a, b) in enumerate(flow.edges.tolist()):
        if a > b or scene.component[a] != scene.component[b]:
            continue
        target = px + np.asarray(flow.flow_px[edge], np.float32)[tuple(cells.T)]
        row, col = cell_of(target).T
        use = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        use &= (flow.confidence[edge][tuple(cells.T)] > SURE_FLOW) & static[a][tuple(cells.T)]
        use[use] &= static[b][row[use], col[use]]
        u, v = target[use].astype(int).T
        x, y = values[a, here_v[use], here_u[use]], values[b, v, u]
        ratio = _depth_ratio(scene, a, b, px[use])
        ratio = 1 / ratio if kind == "disparity" else ratio
        keep = (x != 0) & (y != 0) & (ratio > 0)
        size = int(keep.sum())
        found.append((np.full(size, a), np.full(size, b), x[keep], y[keep], ratio[keep]))
    empty = (np.zeros(0, int), np.zeros(0, int), *(np.zeros(0) for _ in range(3)))
    return _Ties(*(np.concatenate(parts) for parts in zip(empty, *found, strict=True)))


def _depth_ratio(
    scene: Scene, a: int, b: int, px: Float32[np.ndarray, "points 2"]
) -> Float64[np.ndarray, " points"]:
    """Depth of places in one turning camera over that in another."""
    relative = np.eye(4)
    turn = scene.world_from_cam[b, :3, :3].T @ scene.world_from_cam[a, :3, :3]
    relative[:3, :3] = Rotation.from_matrix(turn).as_matrix()
    intrinsics = torch.from_numpy(np.array(scene.intrinsics, np.float64))
    points = torch.from_numpy(px.astype(np.float64))
    far = torch.zeros(len(points), dtype=torch.float64)
    _, ratio = transfer(points, far, torch.from_numpy(relative), intrinsics[a], intrinsics[b])
    return np.asarray(ratio)


def _solve(ties: _Ties, count: int, *, has_offset: bool) -> Float64[np.ndarray, "frames 2"]:
    """Least squares over all frames, reweighted."""
    size = len(ties.here)
    row, one = np.arange(size), np.ones(size)
    parts = [(ties.first, ties.ratio * ties.here), (ties.second, -ties.there)]
    if has_offset:
        parts += [(count + ties.first, ties.ratio), (count + ties.second, -one)]
    columns = np.concatenate([column for column, _ in parts])
    entries = np.concatenate([entry for _, entry in parts])
    rows = np.tile(row, len(parts))
    matrix = coo_array((entries, (rows, columns)), shape=(size, 2 * count)).tocsr()
    gauge = np.kron(np.eye(2), np.full((count, count), GAUGE * max(size, 1) / count**2))
    wanted = np.concatenate((np.full(count, GAUGE * max(size, 1) / count), np.zeros(count)))
    usual = RIDGE * max(size, 1) / count
    free = np.diag(np.repeat((usual, usual if has_offset else max(size, 1)), count))
    wanted[:count] += usual
    level = np.hypot(
        ties.ratio * ties.here, ties.there
    )  # whatever factors are: else large ones pay
    weight, found = 1 / level**2, np.concatenate((np.ones(count), np.zeros(count)))
    for _ in range(STEPS):
        normal = (matrix.T * weight) @ matrix
        found = np.linalg.solve(normal.toarray() + gauge + free, wanted)
        error = (matrix @ found) / level
        weight = 1 / (level**2 * (1 + (error / MISSED) ** 2))
    return np.stack((found[:count], found[count:]), axis=1)
