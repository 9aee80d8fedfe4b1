"""Robust registration of given camera poses with estimated ones: the similarity between them, and which of them fit.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from recon4d.core.errors import InputError
from recon4d.core.geometry import orthonormal_array
from recon4d.core.similarity import Similarity

USUAL_FACTOR = 9.0
"""Poses that are off by this many times the median error are wrong: six standard deviations."""
SIGMAS = 4.0
"""... unless that is within this many of the standard deviations that the user states."""
SHIFT_FLOOR, TURN_FLOOR = 0.01, np.radians(1.0)
"""... or within this part of the path's extent, and this angle, by which a good estimate may be off, too."""
CONTRADICTION, TURN_CONTRADICTION = 0.2, np.radians(15.0)
"""Median errors (of the extent, and angle) of poses of another video, or in another convention."""
OPENGL_AXES = np.diag((1.0, -1.0, -1.0, 1.0))
"""From cameras with +Y up that look along -Z (OpenGL, Blender, nerfstudio) to OpenCV's, and back."""
MOST_PAIRS = 600
"""Pairs of poses that are tried as the two that are right."""
FAR = 0.5
"""Only pairs at least this part of the largest distance apart are tried."""
REFITS = 3
"""Fits to all poses that fit the last fit."""


@dataclass(frozen=True)
class Registration:
    """How the frames lie to each other."""

    similarity: Similarity
    """From the found frame to the given one."""
    fits: Bool[np.ndarray, " poses"]
    has_scale: bool
    """False where the centres do not tell it: the scale is then 1."""


@dataclass(frozen=True)
class Tolerance:
    """What is known beforehand of the errors, in units of the found frame."""

    extent: float
    """Of the found path."""
    depth: float
    """Median depth of the scene: turns lengths into angles."""
    sigma: float = 0.0
    """Standard deviation of the given centres, in the given unit."""


def register(
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
    scale: float | None = None,
) -> Registration:
    """Find the similarity that most of the poses agree on (least median of errors over pairs; Rousseeuw, JASA 1984).

    A pair of poses with distinct centres determines a similarity, because poses have orientations, too.

    Args:
        found: Estimated world_from_cam.
        given: The same cameras as the user gives them.
        tolerance: Of errors.
        scale: Known already; None: it is found.

    Raises:
        InputError: Not even half of the poses agree.
    """
    registration = _agreed(found, given, tolerance, scale)
    off = _contradiction(registration.similarity, found, given, tolerance)
    if off is not None:
        raise InputError(
            f"the {len(found)} given poses do not fit to what the video shows: half of them are off by more than "
            f"{off}; {_likely_cause(found, given, tolerance, scale)}"
        )
    return registration


def _agreed(
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
    scale: float | None,
) -> Registration:
    """As `register`, whether it fits or not."""
    apart = _distances(given)
    has_scale = bool(
        apart.max() > SIGMAS * tolerance.sigma
        and apart.max() > 0
        and _distances(found).max() > SHIFT_FLOOR * tolerance.extent
    )
    if not has_scale and scale is None:
        scale = 1.0
    tried = [_fit(found[pair], given[pair], scale) for pair in _pairs(apart, has_scale)]
    best = min(tried, key=lambda one: _typical(one, found, given, tolerance))
    fits = _fitting(best, found, given, tolerance)
    for _ in range(REFITS):
        best = _fit(found[fits], given[fits], scale)
        fits = _fitting(best, found, given, tolerance)
    return Registration(best, fits, has_scale)


def _distances(poses: Float64[np.ndarray, "poses 4 4"]) -> Float64[np.ndarray, "poses poses"]:
    centres = poses[:, :3, 3]
    return np.asarray(np.linalg.norm(centres[:, None] - centres[None], axis=-1))


def _pairs(apart: Float64[np.ndarray, "poses poses"], has_scale: bool) -> list[list[int]]:
    """Pairs that are far apart, evenly chosen; single poses where no two are."""
    if not has_scale:
        return [[index] for index in range(min(len(apart), MOST_PAIRS))]
    first, second = np.nonzero(np.triu(apart >= FAR * apart.max(), 1))
    chosen = np.linspace(0, len(first) - 1, min(len(first), MOST_PAIRS)).round().astype(int)
    return [[int(first[i]), int(second[i])] for i in chosen]


def _fit(
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    scale: float | None,
) -> Similarity:
    """Least squares over all poses: the rotation from orientations and directions between centres in equal parts."""
    a, b = found[:, :3, 3], given[:, :3, 3]
    from_mean_a, from_mean_b = a - a.mean(0), b - b.mean(0)
    size = float(np.sqrt((from_mean_a**2).sum() * (from_mean_b**2).sum()))
    together = (given[:, :3, :3] @ found[:, :3, :3].transpose(0, 2, 1)).mean(0)
    if size > 0:
        together = together + from_mean_b.T @ from_mean_a / size
    rotation = orthonormal_array(together)
    turned = from_mean_a @ rotation.T
    if scale is None:
        scale = float((turned * from_mean_b).sum() / max((turned**2).sum(), 1e-300))
        scale = max(scale, 1e-12)  # centres that point the other way: the errors then tell
    return Similarity(scale, rotation, b.mean(0) - scale * rotation @ a.mean(0))


def _errors(
    similarity: Similarity,
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
) -> tuple[Float64[np.ndarray, " poses"], Float64[np.ndarray, " poses"]]:
    """Distance of centres as part of the extent, and angle of every pose."""
    moved = similarity.poses(found)
    shift = np.asarray(np.linalg.norm(moved[:, :3, 3] - given[:, :3, 3], axis=1))
    turn = Rotation.from_matrix(moved[:, :3, :3].transpose(0, 2, 1) @ given[:, :3, :3]).magnitude()
    return shift / max(similarity.scale * tolerance.extent, 1e-300), np.asarray(turn)


def _median(errors: Float64[np.ndarray, " poses"]) -> float:
    """The upper median: more than half of the poses are no worse."""
    return float(np.sort(errors)[len(errors) // 2])


def _typical(
    similarity: Similarity,
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
) -> float:
    shift, turn = _errors(similarity, found, given, tolerance)
    return _median(np.hypot(shift, turn))


def _fitting(
    similarity: Similarity,
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
) -> Bool[np.ndarray, " poses"]:
    shift, turn = _errors(similarity, found, given, tolerance)
    stated = SIGMAS * tolerance.sigma / similarity.scale
    shift_limit = max(SHIFT_FLOOR, stated / max(tolerance.extent, 1e-300))
    turn_limit = max(TURN_FLOOR, stated / tolerance.depth)
    near = shift <= max(shift_limit, USUAL_FACTOR * _median(shift))
    return np.asarray(near & (turn <= max(turn_limit, USUAL_FACTOR * _median(turn))))


def _contradiction(
    similarity: Similarity,
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
) -> str | None:
    """How far half of the poses are off, where that is too far."""
    shift, turn = (_median(errors) for errors in _errors(similarity, found, given, tolerance))
    stated = SIGMAS * tolerance.sigma / similarity.scale
    too_far = shift * tolerance.extent > max(CONTRADICTION * tolerance.extent, stated)
    if not too_far and turn <= max(TURN_CONTRADICTION, stated / tolerance.depth):
        return None
    way = f"{shift:.0%} of the path's extent" if shift <= 1 else "the path's whole extent"
    return f"{way} or {np.degrees(turn):.0f} degrees"


def _likely_cause(
    found: Float64[np.ndarray, "poses 4 4"],
    given: Float64[np.ndarray, "poses 4 4"],
    tolerance: Tolerance,
    scale: float | None,
) -> str:
    """What to do: where the poses fit in another convention, which it is."""
    inverted = np.linalg.inv(given)
    for poses, cause in (
        (
            inverted,
            "inverted they fit: they are camera-from-world; give world_from_cam, their inverses",
        ),
        (
            given @ OPENGL_AXES,
            "with OpenGL's axes they fit (+Y up, looking along -Z); turn +Y and +Z of every camera round",
        ),
        (
            inverted @ OPENGL_AXES,
            "inverted and with OpenGL's axes (+Y up, looking along -Z) they fit; give world_from_cam with OpenCV axes",
        ),
    ):
        similarity = _agreed(found, poses, tolerance, scale).similarity
        if _contradiction(similarity, found, poses, tolerance) is None:
            return f"{cause}, or leave --poses out"
    return (
        "give world_from_cam with OpenCV axes (+X right, +Y down, +Z forward) and the video's own times, or leave "
        "--poses out"
    )
