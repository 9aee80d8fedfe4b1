"""Cameras as line drawings.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Float, Float64

from recon4d.core.pinhole import rays_array
from recon4d.core.sampling import spread_evenly
from recon4d.results.cloud import median_depth
from recon4d.results.colours import has_known_position, percent, position_covariance
from recon4d.results.result import Result

SIZE = 0.05
"""Depth of a drawn frustum as a part of the scene's median depth."""
MAX_CAMERAS = 30
"""More frustums than this would hide the scene; they are spread evenly over the video."""
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
"""Pairs of a frustum's five corners that a line joins: the camera's centre is corner 0."""
CIRCLE_SIDES = 24
"""Lines of a drawn circle."""
MAX_MAGNIFICATION_LOG10 = 3
"""Ellipsoids are drawn at most a thousand times as large as they are."""


def frustum_corners(reconstruction: Result, frame: int) -> Float64[np.ndarray, "5 3"]:
    """Centre and image corners of one camera in the world, the image plane at `SIZE` of the scene's depth."""
    height, width = reconstruction.depth.shape[1:]
    pixels = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    rays = rays_array(pixels, reconstruction.intrinsics[frame])
    in_cam = np.concatenate((np.zeros((1, 3)), rays * SIZE * median_depth(reconstruction)))
    pose = reconstruction.world_from_cam[frame]
    return np.asarray(in_cam @ pose[:3, :3].T + pose[:3, 3])


def frustum_lines(reconstruction: Result, frame: int) -> Float[np.ndarray, "lines 2 3"]:
    """The frustum of one camera."""
    corners = frustum_corners(reconstruction, frame)
    return np.stack([corners[list(edge)] for edge in EDGES])


def camera_lines(reconstruction: Result) -> Float[np.ndarray, "lines 2 3"]:
    """Frustums of cameras spread over the video."""
    chosen = spread_evenly(len(reconstruction.world_from_cam), MAX_CAMERAS)
    return np.concatenate([frustum_lines(reconstruction, int(frame)) for frame in chosen])


def path_lines(reconstruction: Result) -> Float[np.ndarray, "lines 2 3"]:
    """The camera's way from frame to frame."""
    centres = reconstruction.world_from_cam[:, :3, 3]
    return np.stack((centres[:-1], centres[1:]), axis=1)


def ellipsoid_lines(reconstruction: Result) -> Float64[np.ndarray, "lines 2 3"]:
    """One-sigma ellipsoids of the positions of the cameras that `camera_lines` draws, enlarged by `magnification`.

    Each is three circles through its axes. See `position_covariance` for what is approximate; where it knows nothing,
    nothing is drawn.
    """
    covariance = position_covariance(reconstruction)
    known = np.flatnonzero(has_known_position(reconstruction))
    chosen = np.intersect1d(spread_evenly(len(covariance), MAX_CAMERAS), known)
    if not len(chosen):
        return np.zeros((0, 2, 3))
    variance, axes = np.linalg.eigh(covariance[chosen])
    from_sphere = axes * np.sqrt(np.maximum(variance, 0))[:, None, :]
    lines = np.einsum("kij,lej->klei", from_sphere, _sphere_lines())
    lines *= magnification(reconstruction)
    lines += reconstruction.world_from_cam[chosen, None, None, :3, 3]
    return np.asarray(lines.reshape(-1, 2, 3))


def magnification(reconstruction: Result) -> int:
    """The power of ten that brings the largest ellipsoid nearest to a frustum's size, but not beyond; at least 1."""
    largest = _largest_sigma(reconstruction)
    room = SIZE * median_depth(reconstruction) / max(largest, np.finfo(np.float64).tiny)
    return int(10 ** np.clip(np.floor(np.log10(room)), 0, MAX_MAGNIFICATION_LOG10))


def ellipsoid_legend(reconstruction: Result) -> str:
    """What the ellipsoids mean, and how large they are."""
    if not has_known_position(reconstruction).any():
        return "the uncertainty of camera positions is not known"
    largest, unit = _largest_sigma(reconstruction), " m" if reconstruction.is_metric else ""
    share = percent(largest / median_depth(reconstruction))
    return (
        "one-sigma ellipsoids of positions relative to the first camera, steps taken as independent, "
        f"drawn {magnification(reconstruction)}x; at most {largest:.2g}{unit} ({share} of the median depth)"
    )


def _largest_sigma(reconstruction: Result) -> float:
    """Longest half axis of all the ellipsoids, in scene units; 0 where there is none."""
    known = position_covariance(reconstruction)[has_known_position(reconstruction)]
    if not len(known):
        return 0.0
    return float(np.sqrt(max(np.linalg.eigvalsh(known).max(), 0.0)))


def _sphere_lines() -> Float64[np.ndarray, "lines 2 3"]:
    """Three circles of radius 1 around the axes."""
    angle = np.linspace(0, 2 * np.pi, CIRCLE_SIDES + 1)
    around_z = np.stack((np.cos(angle), np.sin(angle), np.zeros_like(angle)), axis=1)
    circles = np.stack([np.roll(around_z, axis, axis=1) for axis in range(3)])
    return np.stack((circles[:, :-1], circles[:, 1:]), axis=2).reshape(-1, 2, 3)
