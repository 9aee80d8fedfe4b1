"""Undoing lens distortion.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon4d.core.errors import InputError
from recon4d.io.camera import Camera

GRID_SIDE = 33
"""Samples along each side when a lens is checked; distortion is smooth, so that a coarse grid sees its shape."""
ZOOM_STEP = 1.005
"""Precision of the zoom that hides the blank border: half a percent of the focal length."""
LARGEST_ZOOM = 4.0
"""A lens that leaves less than a quarter of the image usable is a mistake in the numbers."""


@dataclass(frozen=True)
class Undistortion:
    """Looks up every pixel of the undistorted image, which mostly has the input's size, in the input image."""

    map_u: Float32[np.ndarray, "rows columns"]
    map_v: Float32[np.ndarray, "rows columns"]
    camera: Camera
    """The pinhole camera of the undistorted images."""

    def image(
        self, pixels: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "rows columns 3"]:
        """Undistort a colour image."""
        return cv2.remap(
            pixels, self.map_u, self.map_v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Undistort an image of values that must not be mixed (depth, labels); 0 where nothing was seen."""
        return cv2.remap(
            values, self.map_u, self.map_v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
        )


def undistortion(camera: Camera, size: tuple[int, int]) -> Undistortion:
    """Prepare the undistortion of images of `size` (width, height).

    Principal point and focal lengths stay as they are; only where that would show what the lens did not see are the
    focal lengths enlarged, by the smallest common factor that hides it.
    """
    zoom = 1.0
    while not _shows_only_the_image(camera, size, zoom):
        zoom *= ZOOM_STEP
        if zoom > LARGEST_ZOOM:
            raise InputError(
                f"{camera.origin}: the lens coefficients {' '.join(f'{k:g}' for k in camera.distortion)} fold the "
                f"image of {size[0]}x{size[1]} px over; check their order and sign (k1 k2 p1 p2 [k3])"
            )
    matrix = _matrix(camera, (1.0, 1.0))
    map_u, map_v = _maps(camera, matrix, _zoomed(matrix, zoom), size)
    pinhole = Camera(camera.fx * zoom, camera.fy * zoom, camera.cx, camera.cy, origin=camera.origin)
    return Undistortion(map_u, map_v, pinhole)


def onto(
    camera: Camera, size: tuple[int, int], pinhole: Camera, pinhole_size: tuple[int, int]
) -> Undistortion:
    """Prepare showing the images of a camera, of `size` (width, height), as another camera without a lens would."""
    no_scale = (1.0, 1.0)
    maps = _maps(camera, _matrix(camera, no_scale), _matrix(pinhole, no_scale), pinhole_size)
    return Undistortion(*maps, pinhole)


def _shows_only_the_image(camera: Camera, size: tuple[int, int], zoom: float) -> bool:
    """True where every pixel is seen by the lens, in one place: tested on a grid with the image's corners."""
    grid = (GRID_SIDE, GRID_SIDE)
    scale = ((GRID_SIDE - 1) / (size[0] - 1), (GRID_SIDE - 1) / (size[1] - 1))
    matrix = _matrix(camera, scale)
    u, v = _maps(camera, matrix, _zoomed(matrix, zoom), grid)
    margin_u, margin_v = (
        0.5 * scale[0],
        0.5 * scale[1],
    )  # half a pixel of the input around its outer centres
    inside = (
        (u >= -margin_u)
        & (u <= GRID_SIDE - 1 + margin_u)
        & (v >= -margin_v)
        & (v <= GRID_SIDE - 1 + margin_v)
    )
    area = np.diff(u, axis=1)[:-1] * np.diff(v, axis=0)[:, :-1]
    area -= np.diff(v, axis=1)[:-1] * np.diff(u, axis=0)[:, :-1]
    return bool(inside.all() and (area > 0).all())


def _matrix(camera: Camera, scale: tuple[float, float]) -> np.ndarray:
    """OpenCV's camera matrix (first centre at (0, 0)) for an image whose outer pixel centres are kept when scaled."""
    return np.array(
        [
            [camera.fx * scale[0], 0, (camera.cx - 0.5) * scale[0]],
            [0, camera.fy * scale[1], (camera.cy - 0.5) * scale[1]],
            [0, 0, 1],
        ]
    )


def _zoomed(matrix: np.ndarray, zoom: float) -> np.ndarray:
    zoomed: np.ndarray = matrix * np.array([[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]])
    return zoomed


def _maps(
    camera: Camera, matrix: np.ndarray, new_matrix: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    coefficients = np.array(camera.distortion or (0.0,) * 4)
    make = cv2.fisheye.initUndistortRectifyMap if camera.is_fisheye else cv2.initUndistortRectifyMap
    map_u, map_v = make(matrix, coefficients, np.eye(3), new_matrix, size, cv2.CV_32FC1)
    return np.asarray(map_u), np.asarray(map_v)
