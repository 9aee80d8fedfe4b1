"""The camera of the input: parsing what users and files say about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from recon4d.core.errors import InputError
from recon4d.core.scene import Notice
from recon4d.core.text import parse_numbers, read_rows

FOCAL_RANGE = (0.1, 20.0)
"""Focal length over the long side of the image; outside, the field of view is above 157 or below 3 degrees."""
USUAL_OFF_CENTRE, LARGEST_OFF_CENTRE = 0.05, 0.1
"""Principal points of whole pictures are nearer to the middle, as a part of the side: usually, and always."""
ODD_OFF_CENTRE = 0.25
"""Beyond, a principal point is worth a word wherever it comes from."""
FILE_PARAMETERS = (4, 8, 9)
"""Numbers in a FILE: fx fy cx cy, then k1 k2 p1 p2, then k3."""


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


@dataclass(frozen=True)
class _Model:
    """How a COLMAP camera model lists its parameters."""

    focals: int
    coefficients: int
    is_fisheye: bool = False


COLMAP_MODELS = {
    "SIMPLE_PINHOLE": _Model(1, 0),
    "PINHOLE": _Model(2, 0),
    "SIMPLE_RADIAL": _Model(1, 1),
    "RADIAL": _Model(1, 2),
    "OPENCV": _Model(2, 4),
    "FULL_OPENCV": _Model(2, 8),
    "OPENCV_FISHEYE": _Model(2, 4, is_fisheye=True),
    "SIMPLE_RADIAL_FISHEYE": _Model(1, 1, is_fisheye=True),
    "RADIAL_FISHEYE": _Model(1, 2, is_fisheye=True),
}
"""COLMAP's models in the order of its documentation; all of them are special cases of OpenCV's two."""


def parse_intrinsics(text: str) -> Camera:
    """Parse the value of `--intrinsics`: `FX,FY,CX,CY`, or the path of a file."""
    path = Path(text)
    if path.is_file():
        return read_camera_file(path)
    words = text.split(",")
    if len(words) == 1:
        raise InputError(
            f"--intrinsics {text}: there is no such file; give FX,FY,CX,CY in pixels of the input images, or a file"
        )
    values = parse_numbers([word.strip() for word in words], f"--intrinsics {text}")
    if len(values) != 4:
        raise InputError(
            f"--intrinsics {text}: found {_count(len(values), 'number')}, needed 4: FX,FY,CX,CY in pixels of the "
            "input images; lens coefficients are read from a file"
        )
    return _from_integer_centres(values, f"--intrinsics {text}")


def read_camera_file(path: Path) -> Camera:
    """Read `fx fy cx cy [k1 k2 p1 p2 [k3]]`, or a COLMAP `cameras.txt` with one camera."""
    rows = read_rows(path)
    if len(rows) != 1:
        raise InputError(
            f"{path}: found {_count(len(rows), 'line')}, needed one: 'fx fy cx cy [k1 k2 p1 p2 [k3]]', or a COLMAP "
            "cameras.txt with one camera"
        )
    number, line = rows[0]
    where = f"{path}, line {number}"
    words = line.replace(",", " ").split()
    if len(words) > 1 and words[1][0].isalpha():
        return _from_colmap(words, where)
    values = parse_numbers(words, where)
    if len(values) not in FILE_PARAMETERS:
        raise InputError(
            f"{where}: found {_count(len(values), 'number')}, needed 4, 8 or 9: fx fy cx cy [k1 k2 p1 p2 [k3]]; "
            "for other lens models give a COLMAP cameras.txt"
        )
    return _from_integer_centres(values, where)


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


def _from_integer_centres(values: Sequence[float], origin: str) -> Camera:
    fx, fy, cx, cy, *distortion = values
    return Camera(fx, fy, cx + 0.5, cy + 0.5, tuple(distortion), origin=origin)


def _from_colmap(words: list[str], where: str) -> Camera:
    """Parse `CAMERA_ID MODEL WIDTH HEIGHT PARAMS...`; COLMAP's first pixel has its centre at (0.5, 0.5) as ours."""
    name = words[1]
    if name not in COLMAP_MODELS:
        raise InputError(
            f"{where}: found camera model {name}, needed one of {', '.join(COLMAP_MODELS)}; convert the camera to one"
        )
    model = COLMAP_MODELS[name]
    values = parse_numbers(words[2:], where)
    needed = 2 + model.focals + 2 + model.coefficients
    if len(values) != needed:
        raise InputError(
            f"{where}: found {_count(len(values), 'number')} after {name}, needed {needed}: width, height and "
            f"{needed - 2} parameters; write the camera as COLMAP does"
        )
    width, height, *parameters = values
    focals, rest = parameters[: model.focals], parameters[model.focals :]
    distortion = tuple(rest[2:])
    padded = distortion + (0.0,) * (4 - len(distortion)) if distortion else ()
    size = (math.floor(width), math.floor(height))
    return Camera(
        focals[0], focals[-1], rest[0], rest[1], padded, model.is_fisheye, size, origin=where
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
