"""`tracks.npz`, `objects/`, `objects.json` and `scene_flow/` of a result folder: written, and read strictly.

Numbers here that name no source were set by hand.
"""

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float16, UInt8

from recon4d.core.files import writing
from recon4d.core.text import read_text
from recon4d.results.frame_files import LARGEST_NUMBER, Wanted, check_picture, damaged, read_array
from recon4d.results.motion import MovingObject, Objects, Tracks
from recon4d.results.palette import ids_of, write_ids

TRACKS, OBJECTS, OBJECTS_JSON, SCENE_FLOW = "tracks.npz", "objects", "objects.json", "scene_flow"
MOST_POINTS = 1_000_000
"""Of `tracks.npz`."""
_LONGEST_HEADER = 4096
"""Bytes of a header of an array that are read."""
_ARRAYS: Mapping[str, tuple[type[np.generic], Callable[[int, int], tuple[int, ...]]]] = {
    "uv": (np.float32, lambda frames, points: (frames, points, 2)),
    "visible": (np.bool_, lambda frames, points: (frames, points)),
    "sigma_px": (np.float32, lambda frames, points: (frames, points)),
    "world": (np.float32, lambda frames, points: (frames, points, 3)),
    "sigma": (np.float32, lambda frames, points: (frames, points)),
    "start": (np.int32, lambda frames, points: (points,)),
    "object": (np.int32, lambda frames, points: (points,)),
}
"""The arrays of `tracks.npz`: their kinds, and their shapes for some frames and points."""


def write_tracks(tracks: Tracks, path: Path) -> None:
    """Write `tracks.npz`; its pixels have the centre of the first one at (0, 0), as in all files."""
    content = {
        "uv": tracks.uv - np.float32(0.5),
        "visible": tracks.is_visible,
        "sigma_px": tracks.sigma_px,
        "world": tracks.world,
        "sigma": tracks.sigma,
        "start": tracks.start,
        "object": tracks.object_id,
    }
    with writing(path), path.open("wb") as file:
        stored: dict[str, Any] = {n: content[n].astype(_ARRAYS[n][0]) for n in _ARRAYS}
        np.savez(file, **stored)


def read_tracks(path: Path, frames: int) -> Tracks | None:
    """Read `tracks.npz`; None where there is none.

    Raises:
        InputError: It is damaged, or of another number of frames.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            points = _points(archive, path)
            found = {name: _array(archive, name, frames, points, path) for name in _ARRAYS}
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise damaged(path, f"is no archive of arrays that can be read ({error})") from error
    values = (found[name] for name in ("uv", "world"))
    if any(np.abs(np.nan_to_num(each)).max(initial=0) > LARGEST_NUMBER for each in values):
        raise damaged(path, "has places that are infinite or enormous")
    if not all((found[name] >= 0).all() for name in ("sigma", "sigma_px")):
        raise damaged(path, "has values that are no standard deviation (negative, or not a number)")
    is_frame = (found["start"] >= 0) & (found["start"] < frames)
    if not is_frame.all() or not ((found["object"] >= -1) & (found["object"] <= 255)).all():
        raise damaged(path, "names frames or objects that are not there")
    return Tracks(
        found["uv"] + np.float32(0.5),
        found["visible"],
        found["sigma_px"],
        found["world"],
        found["sigma"],
        found["start"],
        found["object"],
    )


def _points(archive: zipfile.ZipFile, path: Path) -> int:
    """How many points an archive has, by the header of its `start`."""
    with archive.open("start.npy") as file:
        shape, _, _ = _header(file)
    if len(shape) != 1 or shape[0] > MOST_POINTS:
        raise damaged(
            path, f"has a 'start' of shape {shape}, at most {MOST_POINTS} numbers were needed"
        )
    return int(shape[0])


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(
        file, max_header_size=_LONGEST_HEADER
    )
    return shape, is_fortran, dtype


def _array(archive: zipfile.ZipFile, name: str, frames: int, points: int, path: Path) -> np.ndarray:
    kind, shape_of = _ARRAYS[name]
    wanted = shape_of(frames, points)
    with archive.open(f"{name}.npy") as file:
        shape, is_fortran, dtype = _header(file)
        if (shape, dtype, is_fortran) != (wanted, np.dtype(kind), False):
            raise damaged(
                path, f"has '{name}' of {dtype} {shape}, {np.dtype(kind)} {wanted} was needed"
            )
        length = math.prod(wanted) * dtype.itemsize
        data = file.read(length + 1)
    if len(data) != length:
        raise damaged(path, f"has {len(data)} bytes of '{name}', {length} were needed")
    return np.frombuffer(data, kind).reshape(wanted).copy()


def write_objects(objects: Objects, folder: Path) -> None:
    """Write `objects/` and `objects.json` into a result folder."""
    with writing(folder):
        (folder / OBJECTS).mkdir(exist_ok=True)
    for frame, ids in enumerate(objects.ids):
        write_ids(folder / OBJECTS / f"{frame:06d}.png", ids)
    items = [_stored(each) for each in objects.items]
    text = json.dumps({"format": 1, "objects": items}, indent=1, allow_nan=False) + "\n"
    with writing(folder / OBJECTS_JSON):
        (folder / OBJECTS_JSON).write_text(text, encoding="utf-8")


def motion_text(folder: Path, frames: int) -> str:
    """What a result folder has of objects and followed points, in words; nothing where it has neither.

    Raises:
        InputError: The list of objects, or the archive of points, is damaged.
    """
    said = []
    if (folder / OBJECTS_JSON).exists():
        items = _read_items(folder / OBJECTS_JSON, frames)
        rigid = sum(each.is_rigid is True for each in items)
        said.append(f"{len(items)} object{'s' * (len(items) != 1)} ({rigid} rigid)")
    tracks = read_tracks(folder / TRACKS, frames)
    if tracks is not None:
        said.append(f"{tracks.num_points} points followed")
    return ", ".join([*said, *(["scene flow"] if (folder / SCENE_FLOW).exists() else [])])


def _stored(item: MovingObject) -> dict[str, object]:
    fields = dataclasses.asdict(item)
    return {("rigid" if name == "is_rigid" else name): value for name, value in fields.items()}


def read_objects(folder: Path, frames: int, size: tuple[int, int]) -> Objects | None:
    """Read `objects/` and `objects.json` of a result folder; None where it has none.

    Raises:
        InputError: They are damaged, or do not fit to each other or to the result.
    """
    path = folder / OBJECTS_JSON
    if not path.exists():
        return None
    items = _read_items(path, frames)
    ids = np.stack([_read_ids(folder / OBJECTS / f"{n:06d}.png", size) for n in range(frames)])
    unknown = set(np.unique(ids[ids > 0]).tolist()) - {each.id for each in items}
    if unknown:
        raise damaged(path, f"has no object {min(unknown)}, which pictures in {OBJECTS}/ show")
    return Objects(ids, items)


def _read_ids(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    check_picture(path, size)
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    found = None if pixels is None or pixels.shape[1::-1] != size else ids_of(pixels)
    if found is None:
        raise damaged(path, "is no picture with recon4d's palette")
    return found


def _read_items(path: Path, frames: int) -> tuple[MovingObject, ...]:
    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number of JSON")

    try:
        content = json.loads(read_text(path), parse_constant=refuse)
        return tuple(_item(each, frames) for each in content["objects"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, f"is no list of objects ({error})") from error


def _item(entry: Mapping[str, Any], frames: int) -> MovingObject:
    item = MovingObject(
        id=int(entry["id"]),
        frames=tuple(int(frame) for frame in entry["frames"]),
        path=tuple((float(x), float(y), float(z)) for x, y, z in entry["path"]),
        path_sigma=tuple(_or_none(each) for each in entry["path_sigma"]),
        box=tuple(
            (float(a), float(b), float(c), float(d), float(e), float(f))
            for a, b, c, d, e, f in entry["box"]
        ),
        speed=_or_none(entry["speed"]),
        speed_sigma=_or_none(entry["speed_sigma"]),
        is_rigid=None if entry["rigid"] is None else bool(entry["rigid"]),
    )
    lengths = {len(item.frames), len(item.path), len(item.path_sigma), len(item.box)}
    rises = all(a < b for a, b in zip((-1, *item.frames), item.frames, strict=False))
    if (
        len(lengths) > 1
        or not rises
        or not 0 < item.id < 256
        or max(item.frames, default=0) >= frames
    ):
        raise ValueError(f"object {item.id} does not fit to {frames} frames")
    return item


def _or_none(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def read_scene_flow(
    folder: Path, frames: int, size: tuple[int, int]
) -> Float16[np.ndarray, "frames height width 3"] | None:
    """Read `scene_flow/` of a result folder; None where it has none."""
    if not (folder / SCENE_FLOW).exists():
        return None
    wanted = Wanted(np.float16, (size[1], size[0], 3))
    paths = [folder / SCENE_FLOW / f"{n:06d}.npy" for n in range(frames)]
    return np.stack([read_array(path, wanted) for path in paths])
