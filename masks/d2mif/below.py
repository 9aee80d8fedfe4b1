"""What cannot rest where it would have to: objects that a static world has below the ground they stand on.

Of a car that goes the way of the camera the flow leaves no residual: a static world explains it with another depth,
too great where it goes ahead of the camera and, where both are as fast, infinite. But the ground at its foot is
measured, too. What rests cannot lie below it, so such a depth tells that the object moves. (A car that comes towards
the camera would float above the ground. That tells nothing: branches and lamps do so at rest.)

Inverse depth is linear in the image on every plane (Hartley and Zisserman, Multiple View Geometry, 13.1), so the ground
is the linear function that most samples of the lower part of the image agree with. The limits were set by hand on 27
clips of 15 kinds together. Of `BELOW` .5 and .8, of `SUPPORT` .4 and .45, of `AGREE_AT_FOOT` 0 were tried; only
`SUPPORT` mattered: .4 takes static things along (J of a dancer .84 -> .81).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.ndimage import distance_transform_edt

from recon4d.core.sampling import cell_of, image_size
from recon4d.core.scene import Scene

SURE = 0.2
"""Deviation of a measured inverse depth, of itself."""
AT_INFINITY = 0.01
"""Inverse depth of what shows no parallax, of the frame's median."""
NOT_SALIENT = -1.0
"""Log-odds of salience below which a sample may be ground, and ..."""
GROUND_ABOVE = -0.3
"""... how far up in the image it may be (-1 is the top, 1 the bottom)."""
STEEPEST = 0.5
"""Growth of the ground's inverse depth to the side, of that downwards: a camera tilted by 27 degrees."""
FLATTEST = 0.2
"""Least growth downwards over half of the image, of the median: below it, it is a wall."""
AGREES = 0.1
"""Deviation from the ground, of the inverse depth."""
TRIES = 300
"""Planes through three samples."""
ON_ONE_LINE = 5e-3
"""Twice the area of a triangle of samples, below which it determines no plane."""
FEWEST = 40
"""Samples that agree with the ground ..."""
SUPPORT = 0.5
"""... and their part of all that may be ground."""
SMALLEST = 0.004
"""Part of the image that an object fills."""
FEWEST_INSIDE = 5
"""Samples of its lower half."""
BELOW = 0.67
"""Inverse depth of an object, two deviations nearer than it is measured, of that of the ground at its foot."""
FOOT = 0.06
"""How far around its foot the ground is looked at, of the image's height; thrice as far to the sides and below."""
FEWEST_AT_FOOT = 12
"""Samples there, from which on ..."""
AGREE_AT_FOOT = 0.3
"""... this part has to agree with the ground: else something hides the object's foot."""
BLUR = 6.0
"""Of the outline between an object's samples that are below the ground and those that are not, `Flow` samples: theirs
are as far apart."""


@dataclass(frozen=True)
class Ground:
    """Inverse depth of a plane, linear in the image."""

    plane: Float64[np.ndarray, "3"]
    """Growth from the middle of the image to its right and lower border, and the value in the middle."""

    def inverse_depth(
        self, at: Float64[np.ndarray, "samples 2"]
    ) -> Float64[np.ndarray, " samples"]:
        """Of places (u, v) from -1 to 1."""
        return np.asarray(at @ self.plane[:2] + self.plane[2])


@dataclass(frozen=True)
class Samples:
    """The depth of one frame's samples."""

    cell: Int64[np.ndarray, "samples 2"]
    """(row, col) of the samples of `Flow` at which they lie."""
    at: Float64[np.ndarray, "samples 2"]
    """The same places as (u, v) from -1 to 1."""
    inverse_depth: Float64[np.ndarray, " samples"]
    std: Float64[np.ndarray, " samples"]
    """Its deviation; infinite where it is unknown, that of the others where the sample is at infinity."""

    @classmethod
    def of(cls, scene: Scene, frame: int, shape: tuple[int, int]) -> "Samples":
        """Samples of a frame.

        Args:
            scene: Cameras and depth.
            frame: Which.
            shape: (rows, cols) of `Flow`.
        """
        px = scene.samples_px[frame]
        inverse, std = (
            x[frame].astype(np.float64) for x in (scene.inverse_depth, scene.inverse_depth_std)
        )
        measured = np.isfinite(std)
        if measured.any():
            far = ~measured & (inverse <= AT_INFINITY * np.median(inverse[measured]))
            std = np.where(far, np.median(std[measured]), std)
        at = 2 * px.astype(np.float64) / image_size(*shape) - 1
        return cls(cell_of(px), at, inverse, std)

    @property
    def sure(self) -> Bool[np.ndarray, " samples"]:
        """Where a depth is measured."""
        return self.std < SURE * self.inverse_depth


def below_ground(
    scene: Scene,
    frame: int,
    salient: Float32[np.ndarray, "rows cols"],
    moves: Float32[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols"]:
    """Where salient objects would lie below the ground if they rested: 1 there, 0 elsewhere, smooth between.

    Args:
        scene: Cameras and depth of a static world.
        frame: Of its frames.
        salient: Log-odds that a sample shows an object.
        moves: Probability of motion: what moves is no ground.
    """
    rows, cols = salient.shape
    out = np.zeros((rows, cols), np.float32)
    samples = Samples.of(scene, frame, (rows, cols))
    row, col = samples.cell.T
    may_be = samples.sure & (salient[row, col] < NOT_SALIENT) & (moves[row, col] < 0.5)
    may_be &= samples.at[:, 1] > GROUND_ABOVE
    ground = find_ground(samples.at[may_be], samples.inverse_depth[may_be])
    if ground is None:
        return out
    outside = salient < 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats((salient > 0).astype(np.uint8))
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] >= SMALLEST * rows * cols:
            region = labels == label
            out[region] = _below(region, outside, samples, ground)[region]
    return out


def find_ground(
    at: Float64[np.ndarray, "samples 2"], inverse_depth: Float64[np.ndarray, " samples"]
) -> Ground | None:
    """The plane that rises into the picture and that most samples lie on; None where fewer than half of them do.

    Args:
        at: Places (u, v) from -1 to 1.
        inverse_depth: Of samples that may be ground.
    """
    if len(at) < FEWEST:
        return None
    basis = np.column_stack((at, np.ones(len(at))))
    chosen = np.random.default_rng(0).integers(0, len(at), (TRIES, 3))
    chosen = chosen[np.abs(np.linalg.det(basis[chosen])) > ON_ONE_LINE]
    planes = np.linalg.solve(basis[chosen], inverse_depth[chosen][..., None])[..., 0]
    across, down = planes[:, 0], planes[:, 1]
    level = (down > FLATTEST * np.median(inverse_depth)) & (np.abs(across) < STEEPEST * down)
    planes = planes[level]
    if len(planes) == 0:
        return None

    def agrees(plane: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(plane @ basis.T - inverse_depth) < AGREES * inverse_depth)

    votes = agrees(planes)
    use = votes[votes.sum(1).argmax()]
    for _ in range(3):  # to least squares of relative deviations
        if use.sum() < FEWEST:
            return None
        weighted = basis[use] / inverse_depth[use, None]
        plane = np.linalg.lstsq(weighted, np.ones(use.sum()))[0]
        use = agrees(plane)
    return Ground(plane) if use.mean() >= SUPPORT and use.sum() >= FEWEST else None


def _below(
    region: Bool[np.ndarray, "rows cols"],
    outside: Bool[np.ndarray, "rows cols"],
    samples: Samples,
    ground: Ground,
) -> Float32[np.ndarray, "rows cols"]:
    """As `below_ground`, of one object's region."""
    nothing = np.zeros(region.shape, np.float32)
    rows, _ = region.shape
    row, col = samples.cell.T
    there = region.any(0)
    head, foot = region.argmax(0), rows - 1 - region[::-1].argmax(0)
    at_foot = np.column_stack((samples.at[:, 0], (foot[col] + 1) * 2 / rows - 1))
    expected = ground.inverse_depth(at_foot)
    inside = region[row, col] & np.isfinite(samples.std) & (expected > 0)
    is_below = samples.inverse_depth + 2 * samples.std < BELOW * expected
    lower = inside & (row > (head + foot)[col] / 2)
    if lower.sum() < FEWEST_INSIDE or is_below[lower].mean() <= 0.5:
        return nothing
    reach, lowest = max(4, round(FOOT * rows)), np.quantile(foot[there], 0.7)
    left, right = np.flatnonzero(there)[[0, -1]]
    near = samples.sure & outside[row, col]
    near &= (col >= left - 3 * reach) & (col <= right + 3 * reach)
    near &= (row >= lowest - reach) & (row <= foot[there].max() + 3 * reach)
    off = np.abs(ground.inverse_depth(samples.at) - samples.inverse_depth)
    agree = (off < 1.5 * AGREES * samples.inverse_depth)[near]
    if len(agree) >= FEWEST_AT_FOOT and agree.mean() < AGREE_AT_FOOT:
        return nothing
    known = np.zeros(region.shape, bool)
    known[row[inside], col[inside]] = True
    value = nothing
    value[row[inside], col[inside]] = is_below[inside]
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(cv2.GaussianBlur(value[tuple(nearest)], (0, 0), BLUR), np.float32)
