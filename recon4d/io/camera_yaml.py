"""Cameras in YAML, as calibration programs write them: OpenCV, ROS (`camera_info`), Kalibr (`camchain`).

All count pixels from the centre of the first. Only what these programs write is understood, not YAML as such.
"""

import re
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.text import parse_numbers
from recon4d.io.camera import Camera

NEEDED = (
    "camera_matrix with 9 numbers (OpenCV, ROS), or cam0 with intrinsics: [fx, fy, cx, cy] (Kalibr)"
)
RADIAL_MODELS = ("plumb_bob", "rational_polynomial", "radtan", "none", "")
FISHEYE_MODELS = ("equidistant", "fisheye", "equi")
"""Names of OpenCV's two lens models."""
COEFFICIENTS = (0, 4, 5, 8)
"""Numbers of coefficients of OpenCV's radial model; its fisheye has 4."""


def cameras_in_yaml(text: str, path: Path) -> list[Camera]:
    """The cameras of a file: one, or those of a rig.

    Raises:
        InputError: There is none, or its lens is not one of OpenCV's two.
    """
    entries = _entries(text)
    rig = sorted({key.partition(".")[0] for key in entries if re.match(r"cam\d+\.", key)})
    if rig:
        return [_of_rig(entries, name, f"{path}, {name}") for name in rig]
    matrix = next((entries[key] for key in _keys("camera_matrix", "K") if key in entries), None)
    if matrix is None:
        raise InputError(f"{path} has no camera that is known; {NEEDED} was needed")
    values = parse_numbers(matrix, f"{path}, camera_matrix")
    if len(values) != 9:
        raise InputError(f"{path}, camera_matrix: found {len(values)} numbers, needed 9")
    lens = next(
        (entries[key] for key in _keys("distortion_coefficients", "D") if key in entries), []
    )
    size = [entries.get(f"image_{side}", []) for side in ("width", "height")]
    model = "".join(entries.get("distortion_model", []))
    if entries.get("fisheye_model") == ["1"]:
        model = "fisheye"
    pinhole = [values[0], values[4], values[2], values[5]]
    return [_camera(pinhole, lens, model, [word for side in size for word in side], str(path))]


def _of_rig(entries: dict[str, list[str]], name: str, where: str) -> Camera:
    """One camera of Kalibr."""
    kind = "".join(entries.get(f"{name}.camera_model", []))
    values = parse_numbers(entries.get(f"{name}.intrinsics", []), where)
    if kind not in ("pinhole", "") or len(values) != 4:
        raise InputError(
            f"{where}: found camera model {kind or 'none'} with {len(values)} intrinsics; pinhole with fx, fy, cx, cy "
            "was needed"
        )
    lens, size = (entries.get(f"{name}.{key}", []) for key in ("distortion_coeffs", "resolution"))
    model = "".join(entries.get(f"{name}.distortion_model", []))
    return _camera(values, lens, model, size, where)


def _camera(
    pinhole: list[float], lens: list[str], model: str, size: list[str], where: str
) -> Camera:
    fx, fy, cx, cy = pinhole
    terms, is_fisheye = parse_numbers(lens, where), model in FISHEYE_MODELS
    if model not in (*RADIAL_MODELS, *FISHEYE_MODELS):
        raise InputError(
            f"{where}: found distortion model {model:.40}, needed one of plumb_bob, rational_polynomial, radtan or "
            "equidistant; convert the camera to one"
        )
    if len(terms) not in ((4,) if is_fisheye else COEFFICIENTS):
        raise InputError(
            f"{where}: found {len(terms)} lens coefficients, needed {'4' if is_fisheye else '0, 4, 5 or 8'}: "
            f"{'k1 k2 k3 k4' if is_fisheye else 'k1 k2 p1 p2 [k3 [k4 k5 k6]]'}"
        )
    sides = [round(side) for side in parse_numbers(size, where)]
    stated = (sides[0], sides[1]) if len(sides) == 2 else None
    distortion = tuple(terms) if is_fisheye or any(terms) else ()
    return Camera(fx, fy, cx + 0.5, cy + 0.5, distortion, is_fisheye, stated, origin=where)


def _keys(*names: str) -> list[str]:
    """Where the numbers of a matrix stand: below a key `data`, or at once."""
    return [key for name in names for key in (f"{name}.data", name)]


def _entries(text: str) -> dict[str, list[str]]:
    """The words of every entry, by its keys joined with points; lists in brackets or of a line each."""
    plain = "\n".join(line.partition("#")[0].rstrip() for line in text.splitlines())
    plain = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace("\n", " "), plain)
    out: dict[str, list[str]] = {}
    open_keys: list[tuple[int, str]] = []
    for line in plain.splitlines():
        found = re.match(r"( *)(?:([A-Za-z_]\w*)\s*:(?=\s|$))?(.*)$", line)
        if found is None or line.startswith(("%", "---")):
            continue
        indent, key, value = len(found[1]), found[2], found[3]
        words = [word for word in re.findall(r"[^\s,\[\]'\"{}]+", value) if word[:2] != "!!"]
        if key:
            open_keys = [(at, name) for at, name in open_keys if at < indent] + [(indent, key)]
            out[".".join(name for _, name in open_keys)] = words
        elif open_keys and words[:1] == ["-"]:
            out[".".join(name for _, name in open_keys)] += words[1:]
    return {key: words for key, words in out.items() if words}
