"""What users say of the camera: numbers, a file of them, or a file of another program."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recon4d.core.errors import InputError
from recon4d.core.text import parse_numbers, read_text, rows_of
from recon4d.io.camera import Camera
from recon4d.io.camera_yaml import cameras_in_yaml
from recon4d.io.colmap_binary import lines_of_binary
from recon4d.io.colmap_images import cameras_of

FILE_PARAMETERS = (4, 8, 9)
"""Numbers in a FILE: fx fy cx cy, then k1 k2 p1 p2, then k3."""
NERFSTUDIO_MODELS = (
    "PINHOLE",
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "OPENCV",
    "OPENCV_FISHEYE",
)
"""Camera models of a transforms.json that are special cases of OpenCV's two."""


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


def parse_intrinsics(text: str, frames: Callable[[], Sequence[Path]] = tuple) -> Camera:
    """Parse the value of `--intrinsics`: `FX,FY,CX,CY`, or the path of a file for some frames (`read_camera_file`)."""
    path = Path(text)
    if path.exists():
        return read_camera_file(path, frames)
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


def read_camera_file(path: Path, frames: Callable[[], Sequence[Path]] = tuple) -> Camera:
    """Read `fx fy cx cy [k1 k2 p1 p2 [k3]]`, or what COLMAP, nerfstudio, OpenCV, ROS or Kalibr write of a camera.

    A file with one line per frame (the intrinsics.txt of a result) or several cameras is taken where all of them are
    the same, or those of the images of these frames by COLMAP's images.txt or images.bin beside it.

    Args:
        path: The file.
        frames: Places of the frames that are read; none: they have no names.
    """
    if path.suffix == ".bin":
        lines = list(enumerate(lines_of_binary(path), start=1))
        cameras = [_from_line(line, f"{path}, camera {number}") for number, line in lines]
        return _only(_of_frames(cameras, [line for _, line in lines], path, frames), path)
    text = read_text(path)
    if text.lstrip().startswith("{"):
        return _from_transforms(text, path)
    if path.suffix in (".yaml", ".yml") or text.startswith("%YAML"):
        return _only(cameras_in_yaml(text, path), path)
    rows = list(rows_of(text))
    cameras = [_from_line(line, f"{path}, line {number}") for number, line in rows]
    camera = _only(_of_frames(cameras, [line for _, line in rows], path, frames), path)
    return replace(camera, size=camera.size or _stated_size(text))


def colmap_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of COLMAP's `cameras.txt` or `cameras.bin` by their identifiers; none of any other file."""
    if path.suffix not in (".bin", ".txt"):
        return {}
    is_binary = path.suffix == ".bin"
    rows = enumerate(lines_of_binary(path), start=1) if is_binary else rows_of(read_text(path))
    kind, lines = "camera" if is_binary else "line", list(rows)
    if not all(_is_colmap(line) for _, line in lines):
        return {}
    return {line.split()[0]: _from_line(line, f"{path}, {kind} {number}") for number, line in lines}


def _of_frames(
    cameras: list[Camera], lines: list[str], path: Path, frames: Callable[[], Sequence[Path]]
) -> list[Camera]:
    """Of several cameras of COLMAP those that took some frames, where a file beside it tells."""
    if all(are_same(each, cameras[0]) for each in cameras) or not all(map(_is_colmap, lines)):
        return cameras
    chosen = cameras_of(path, places) if (places := frames()) else None
    if chosen is None:
        return cameras
    names, pairs = set().union(*chosen), zip(cameras, lines, strict=True)
    return [camera for camera, line in pairs if line.split()[0] in names]


def _only(cameras: list[Camera], path: Path) -> Camera:
    """The one camera of a file, or what all of them are."""
    if not cameras:
        raise InputError(
            f"{path} has no camera; a line 'fx fy cx cy [k1 k2 p1 p2 [k3]]', a COLMAP cameras.txt or cameras.bin, a "
            "nerfstudio transforms.json or a calibration of OpenCV, ROS or Kalibr was needed"
        )
    camera = cameras[0]
    other = next((each for each in cameras if not are_same(each, camera)), None)
    if other is not None:
        places = " and ".join(each.origin.rpartition(", ")[2] for each in (camera, other))
        raise InputError(
            f"{path} has {len(cameras)} cameras, and those of {places} differ; one for all frames was needed: leave "
            "one in it, or leave --intrinsics out and give --focal per-frame"
        )
    return camera


def are_same(one: Camera, other: Camera) -> bool:
    """Whether two lines state the same camera."""
    return replace(one, origin="") == replace(other, origin="")


def _stated_size(text: str) -> tuple[int, int] | None:
    """The `# WIDTH HEIGHT` that the intrinsics.txt of a result begins with."""
    found = re.match(r"#\s*(\d{1,9})\s+(\d{1,9})\s*\n", text)
    return (int(found[1]), int(found[2])) if found else None


def _from_line(line: str, where: str) -> Camera:
    words = line.replace(",", " ").split()
    if _is_colmap(line):
        return _from_colmap(words, where)
    values = parse_numbers(words, where)
    if len(values) not in FILE_PARAMETERS:
        raise InputError(
            f"{where}: found {_count(len(values), 'number')}, needed 4, 8 or 9: fx fy cx cy [k1 k2 p1 p2 [k3]]; "
            "for other lens models give a COLMAP cameras.txt"
        )
    return _from_integer_centres(values, where)


def _is_colmap(line: str) -> bool:
    """Whether a model's name comes second."""
    words = line.replace(",", " ").split()
    return len(words) > 1 and words[1][0].isalpha()


def _from_transforms(text: str, path: Path) -> Camera:
    """What stands at the top level; the first pixel has its centre at (0.5, 0.5) as ours."""
    try:
        content: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not valid JSON ({error}); give the transforms.json as nerfstudio wrote it"
        ) from error
    needed = ("fl_x", "cx", "cy")
    if any(key not in content for key in needed):
        raise InputError(
            f"{path} has no camera for all frames: fl_x, [fl_y,] cx and cy are taken from its top level, with w, h and "
            "k1, k2, p1, p2, k3 where they are there; write them there, or give FX,FY,CX,CY"
        )
    name = content.get("camera_model", "OPENCV")
    is_fisheye = name == "OPENCV_FISHEYE"
    keys = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
    if name not in NERFSTUDIO_MODELS or (not is_fisheye and content.get("k4")):
        raise InputError(
            f"{path} is of a camera that is not known ({name!s:.40}{' with k4' if content.get('k4') else ''}); one of "
            f"{', '.join(NERFSTUDIO_MODELS)} was needed, with {', '.join(keys)} at most"
        )
    read = {key: _number(content, key, path) for key in ("fl_x", "cx", "cy", *keys)}
    lens = [read[key] for key in keys]
    fy = _number(content, "fl_y", path) if "fl_y" in content else read["fl_x"]
    size = None
    if "w" in content and "h" in content:
        size = (math.floor(_number(content, "w", path)), math.floor(_number(content, "h", path)))
    distortion = tuple(lens if is_fisheye or lens[-1] else lens[:4]) if any(lens) else ()
    return Camera(
        read["fl_x"], fy, read["cx"], read["cy"], distortion, is_fisheye, size, origin=str(path)
    )


def _number(content: dict[str, Any], key: str, path: Path) -> float:
    value = content.get(key, 0.0)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise InputError(f"{path}: {key} is {value!s:.40}, a finite number was needed; correct it")


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
