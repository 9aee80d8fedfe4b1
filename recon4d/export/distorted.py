"""Images as they came, with their lens: depth, masks and places are brought from the undistorted view to theirs.

A run undoes the lens with a focal length that its optimization then corrects, by which the lens' coefficients change,
too: `Lens.seen_with`.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float64

from recon4d.core.pinhole import rays_array, view_angle
from recon4d.export.upsample import Layers
from recon4d.io.camera import Camera
from recon4d.io.lens import Undistortion

POWERS = (2, 4, 1, 1, 6, 2, 4, 6)
"""Degree in the distance from the middle, relative to it, of k1 k2 p1 p2 k3 k4 k5 k6 of OpenCV's radial model."""
FISHEYE_TERMS, FISHEYE_STEPS = 4, 200
"""Coefficients of OpenCV's fisheye, and angles from the axis at which new ones are fitted to old ones."""
WIDEST = np.radians(85)
"""Angle from the axis up to which a pinhole can be, and a fisheye is fitted. Set by hand."""
EXACT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
"""Most steps of the search for a straight ray, and when it ends, pixels."""
OFF_PX = 0.5
"""Off by more, a straight ray was not found: the lens does not show it."""


@dataclass(frozen=True)
class Lens:
    """What lies between images as they came and those that a run undistorted, both of one size."""

    camera: Camera
    """Of the images as they came, by which they were undistorted."""
    straight: Camera
    """The pinhole of the undistorted images."""
    size: tuple[int, int]
    """(width, height) of the images."""

    def seen_with(self, intrinsics: Float64[np.ndarray, "4"]) -> Camera:
        """The camera of the images as they came where that of the undistorted ones has other focal lengths."""
        fx, fy = intrinsics[:2].tolist()
        longer_x, longer_y = fx / self.straight.fx, fy / self.straight.fy
        terms = self._terms
        if self.camera.is_fisheye:
            corner = view_angle(float(np.hypot(*self.size)) / 2, self.camera.fx)
            terms = _refitted(terms, longer_x, corner)
        else:
            terms = terms * longer_x ** np.array(POWERS[: len(terms)])
        return Camera(
            self.camera.fx * longer_x,
            self.camera.fy * longer_y,
            self.camera.cx,
            self.camera.cy,
            tuple(terms.tolist()),
            self.camera.is_fisheye,
            self.size,
        )

    def bent(self, place_px: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, "points 2"]:
        """Where the images as they came show what the undistorted ones show in some places."""
        if self.camera.is_pinhole or not len(place_px):
            return place_px
        straight = self.straight
        pinhole = np.array([straight.fx, straight.fy, straight.cx, straight.cy])
        rays = rays_array(place_px, pinhole)
        matrix, terms = _matrix(self.camera), self._terms
        if self.camera.is_fisheye:
            bent = cv2.fisheye.distortPoints(rays[:, None, :2], matrix, terms)
        else:
            bent, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, terms)
        return np.asarray(bent.reshape(-1, 2) + 0.5)

    def layers(self, straight: Layers) -> Layers:
        """Layers of the undistorted images for those as they came; what only these show has none."""
        if self.camera.is_pinhole:
            return straight
        back = self._back
        return Layers(
            back.nearest(straight.depth),
            back.nearest(straight.confidence),
            back.nearest(straight.is_dynamic.astype(np.uint8)) > 0,
        )

    @property
    def _terms(self) -> Float64[np.ndarray, " terms"]:
        none = (0.0,) * FISHEYE_TERMS if self.camera.is_fisheye else ()
        return np.array(self.camera.distortion or none, np.float64)

    @cached_property
    def _back(self) -> Undistortion:
        """Looks up every pixel of the images as they came in the undistorted ones."""
        width, height = self.size
        v, u = np.mgrid[0:height, 0:width].astype(np.float64)
        seen = np.stack((u, v), -1).reshape(-1, 1, 2)
        terms, matrices = self._terms, (_matrix(self.camera), _matrix(self.straight))
        if self.camera.is_fisheye:
            found = cv2.fisheye.undistortPoints(seen, matrices[0], terms, P=matrices[1])
        else:
            found = cv2.undistortPoints(seen, matrices[0], terms, P=matrices[1], criteria=EXACT)
        found = np.nan_to_num(found.reshape(-1, 2), nan=-1.0, posinf=-1.0, neginf=-1.0)
        off = np.abs(self.bent(found + 0.5) - 0.5 - seen[:, 0]).max(1)
        found[~(off < OFF_PX)] = -1
        maps = found.astype(np.float32).reshape(height, width, 2)
        return Undistortion(maps[..., 0].copy(), maps[..., 1].copy(), self.camera)


def _matrix(camera: Camera) -> Float64[np.ndarray, "3 3"]:
    """OpenCV's, with the centre of the first pixel at (0, 0)."""
    rows = [[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1]]
    return np.array(rows, np.float64)


def _refitted(
    terms: Float64[np.ndarray, "4"], longer: float, corner: float
) -> Float64[np.ndarray, "4"]:
    """Coefficients of a fisheye whose focal lengths are longer, and that shows the same: the nearest there are.

    Args:
        terms: Of the one before.
        longer: Ratio of the focal lengths.
        corner: Distance from the middle that is shown, over the focal length of the one before.
    """
    angle = np.linspace(0, WIDEST, FISHEYE_STEPS)[1:]
    before = np.arctan(np.tan(angle) * longer)
    degrees = 2 * np.arange(FISHEYE_TERMS) + 3
    bent = before + (before[:, None] ** degrees) @ terms
    shown = bent <= corner
    wanted = (bent / longer - angle)[shown]
    return np.asarray(np.linalg.lstsq(angle[shown, None] ** degrees, wanted)[0])
