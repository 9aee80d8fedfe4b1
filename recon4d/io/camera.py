"""The camera of the input, and whether it can have taken its images.

Numbers here that name no source were set by hand.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from recon4d.core.errors import InputError
from recon4d.core.scene import Notice

FOCAL_RANGE = (0.1, 20.0)
"""Focal length over the long side of the image; outside, the field of view is above 157 or below 3 degrees."""
USUAL_OFF_CENTRE, LARGEST_OFF_CENTRE = 0.05, 0.1
"""Principal points of whole pictures are nearer to the middle, as a part of the side: usually, and always."""
FILM_DIAGONAL_MM = 43.27
"""Of 36 mm x 24 mm, which focal lengths for 35 mm film are equivalent by (CIPA DCG-001)."""
ODD_OFF_CENTRE = 0.25
"""Beyond, a principal point is worth a word wherever it comes from."""


@dataclass(frozen=True)
class Camera:
    """A camera with its lens, in pixels of the input; centre of the first pixel at (0.5, 0.5)."""

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    """OpenCV's order k1 k2 p1 p2 [k3 [k4 k5 k6]]; k1 k2 k3 k4 of the angle for a fisheye."""
    is_fisheye: bool = False
    size: tuple[int, int] | None = None
    """(width, height) that the file states."""
    origin: str = "--intrinsics"
    """Names in messages where the numbers come from."""

    @property
    def is_pinhole(self) -> bool:
        """True where there is nothing to undo."""
        return not self.is_fisheye and not any(self.distortion)


def stated_focal(
    size: tuple[int, int], focal_mm: float | None, sensor_mm: float | None, film_mm: float | None
) -> float | None:
    """Focal length in pixels of images of `size` (width, height) with square pixels that is stated in millimetres.

    Args:
        size: Of the images.
        focal_mm: What the user says; None: nothing.
        sensor_mm: Side of the sensor that the long side of the images shows; None: `focal_mm` is for 35 mm film.
        film_mm: For 35 mm film, what the images say; None: nothing.
    """
    if focal_mm is not None and sensor_mm is not None:
        return focal_mm / sensor_mm * max(size)
    for_film = film_mm if focal_mm is None else focal_mm
    return None if for_film is None else for_film / FILM_DIAGONAL_MM * math.hypot(*size)


def check_stated_focal(focal_px: float | None, size: tuple[int, int]) -> None:
    """Raise an `InputError` where no camera has a focal length that was stated."""
    low, high = (factor * max(size) for factor in FOCAL_RANGE)
    if focal_px is not None and not low <= focal_px <= high:
        raise InputError(
            f"the focal length in millimetres is {focal_px / max(size):.3g} times as long as the images are wide, "
            f"needed {FOCAL_RANGE[0]:g} to {FOCAL_RANGE[1]:g}; give --focal-mm with the --sensor-mm that it belongs to"
        )


def check_camera(camera: Camera, size: tuple[int, int]) -> None:
    """Raise an `InputError` where the camera cannot have taken images of `size` (width, height)."""
    width, height = size
    if camera.size not in (None, size):
        raise InputError(
            f"{camera.origin} is for images of {camera.size[0]}x{camera.size[1]} px, but the input has "
            f"{width}x{height} px; give the camera of the input images"
        )
    low, high = (factor * max(size) for factor in FOCAL_RANGE)
    for name, focal in (("fx", camera.fx), ("fy", camera.fy)):
        if not low <= focal <= high:
            raise InputError(
                f"{camera.origin}: {name} is {focal:g} px for images of {width}x{height} px, needed {low:g} to "
                f"{high:g}; give intrinsics in pixels of the input images"
            )
    if not (0 <= camera.cx <= width and 0 <= camera.cy <= height):
        raise InputError(
            f"{camera.origin}: the principal point ({camera.cx - 0.5:g}, {camera.cy - 0.5:g}) is outside the image "
            f"of {width}x{height} px; give intrinsics in pixels of the input images"
        )


def camera_notices(camera: Camera, size: tuple[int, int]) -> tuple[Notice, ...]:
    """What is odd about a camera that may have taken images of `size` (width, height) all the same."""
    width, height = size
    off = max(abs(camera.cx / width - 0.5), abs(camera.cy / height - 0.5))
    if off <= USUAL_OFF_CENTRE:
        return ()
    place = (
        f"{camera.origin}: the principal point ({camera.cx - 0.5:g}, {camera.cy - 0.5:g}) is {off:.0%} of a side off "
        f"the middle of the images of {width}x{height} px"
    )
    turned = max(abs(camera.cx / height - 0.5), abs(camera.cy / width - 0.5))
    if turned <= min(LARGEST_OFF_CENTRE, off / 2):
        message = (
            f"{place}, and in the middle of {height}x{width} px: it is that of the turned picture. Give the camera of "
            "the upright images (fx and fy, cx and cy change places)."
        )
        return (Notice("turned_intrinsics", message),)
    if off <= ODD_OFF_CENTRE:
        return ()
    message = f"{place}: right for a picture that was cut out of a larger one, else not."
    return (Notice("odd_principal_point", message),)


def camera_to_array(camera: Camera) -> Float64[np.ndarray, " values"]:
    """Pack fx, fy, cx, cy, is_fisheye and the coefficients: the `lens` of a `Video`."""
    head = (camera.fx, camera.fy, camera.cx, camera.cy, float(camera.is_fisheye))
    return np.array([*head, *camera.distortion])


def camera_from_array(lens: Float64[np.ndarray, " values"]) -> Camera:
    """Unpack the `lens` of a `Video`."""
    fx, fy, cx, cy, fisheye, *distortion = lens.tolist()
    return Camera(fx, fy, cx, cy, tuple(distortion), is_fisheye=bool(fisheye))
