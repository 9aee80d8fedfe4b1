"""The result folder, format 1 (docs/DESIGN): writing and reading it."""

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from recon4d.errors import InputError
from recon4d.io.growing import save_array
from recon4d.io.images import read_image, read_rgb, write_image
from recon4d.io.output import FORMAT, writing
from recon4d.io.text import parse_numbers, read_rows, storable_name, stored_name
from recon4d.io.trajectory import (
    Trajectory,
    format_number,
    format_time,
    read_trajectory,
    write_trajectory,
)
from recon4d.scene import Cameras, Reconstruction

T = TypeVar("T")

JPEG_QUALITY = 95
PNG_COMPRESSION = 1
"""zlib level: half the time of the default for files a tenth larger."""
COVARIANCE = "pose_covariance.npy"
DEPTH_STD = "depth_std"
"""Folder of the standard deviations of the depth."""
DAMAGED = "the result is damaged: run recon4d again"
THREADS = 4
"""Encoding images releases the interpreter's lock."""


def write_result(reconstruction: Reconstruction, folder: Path) -> None:
    """Write everything of the result folder but `preview.png`; `run.json` comes last.

    Args:
        reconstruction: What to write.
        folder: Created if it is missing.
    """
    std = reconstruction.depth_std
    make_frame_folders(folder, has_std=std is not None)
    _each_frame(
        lambda index: write_frame(
            folder,
            index,
            Frame(
                reconstruction.images[index],
                reconstruction.depth[index],
                reconstruction.confidence[index],
                reconstruction.is_dynamic[index],
                None if std is None else std[index],
            ),
        ),
        len(reconstruction.sources),
    )
    height, width = reconstruction.images.shape[1:3]
    cameras = Cameras(
        world_from_cam=reconstruction.world_from_cam,
        intrinsics=reconstruction.intrinsics,
        timestamps_s=reconstruction.timestamps_s,
        sources=reconstruction.sources,
        size=(width, height),
        is_metric=reconstruction.is_metric,
        run=reconstruction.run,
        config_toml=reconstruction.config_toml,
        pose_covariance=reconstruction.pose_covariance,
    )
    write_texts(cameras, folder)


def make_frame_folders(folder: Path, has_std: bool) -> None:
    """Make the folders of a result that hold one file per frame."""
    names = ("images", "depth", "confidence", "masks", *((DEPTH_STD,) if has_std else ()))
    with writing(folder):
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)


def write_texts(cameras: Cameras, folder: Path) -> None:
    """Write what the result has besides its pixels."""
    trajectory = Trajectory(cameras.timestamps_s, cameras.world_from_cam)
    write_trajectory(trajectory, folder / "poses.txt")
    _write_text(folder / "frames.txt", _frames_text(cameras))
    _write_text(folder / "intrinsics.txt", _intrinsics_text(cameras))
    if cameras.pose_covariance is not None:
        save_array(folder / COVARIANCE, np.asarray(cameras.pose_covariance, np.float64))
    _write_text(folder / "config.toml", cameras.config_toml)
    scale = "metric" if cameras.is_metric else "relative"
    run = {"format": FORMAT, **cameras.run, "scale": scale}
    run["format"] = FORMAT
    _write_text(folder / "run.json", json.dumps(_plain(run), indent=2) + "\n")


def read_result(folder: Path) -> Reconstruction:
    """Read a result folder."""
    run = read_run(folder)
    timestamps_s, sources = _read_frames(folder / "frames.txt")
    count = len(sources)
    world_from_cam = read_trajectory(folder / "poses.txt").world_from_cam
    intrinsics = _read_intrinsics(folder / "intrinsics.txt")
    for name, rows in (("poses.txt", len(world_from_cam)), ("intrinsics.txt", len(intrinsics))):
        if rows != count:
            raise InputError(
                f"{folder / name} has {rows} lines for the {count} frames of frames.txt; {DAMAGED}"
            )
    config = folder / "config.toml"
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=intrinsics,
        timestamps_s=timestamps_s,
        sources=sources,
        images=_read_stack(folder, "images/{:06d}.jpg", count, read_rgb),
        depth=_read_stack(folder, "depth/{:06d}.npy", count, _read_depth),
        depth_std=_read_std(folder, count),
        confidence=_read_stack(folder, "confidence/{:06d}.png", count, _read_grey),
        is_dynamic=_read_stack(folder, "masks/{:06d}.png", count, _read_grey) > 0,
        is_metric=run.get("scale") == "metric",
        pose_covariance=_read_covariance(folder / COVARIANCE, count),
        run=run,
        config_toml=config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def read_run(folder: Path) -> dict[str, object]:
    """Read `run.json` of a result folder whose format this version knows."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        run = None
    if not isinstance(run, dict) or "format" not in run:
        raise InputError(
            f"{folder} is not a result of recon4d (no run.json with a format); give the folder that recon4d run wrote"
        )
    if run["format"] != FORMAT:
        raise InputError(
            f"{folder} has result format {run['format']}, this version reads {FORMAT}; use the recon4d that wrote "
            "it, or run again"
        )
    return run


@dataclass(frozen=True)
class Frame:
    """What the result holds of one frame, as in `Reconstruction`."""

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float32[np.ndarray, "height width"]
    confidence: UInt8[np.ndarray, "height width"]
    is_dynamic: Bool[np.ndarray, "height width"]
    depth_std: Float16[np.ndarray, "height width"] | None = None


def write_frame(folder: Path, index: int, frame: Frame) -> None:
    """Write the files of one frame of a result."""
    name = f"{index:06d}"
    bgr = np.ascontiguousarray(frame.image[..., ::-1])
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    write_image(folder / f"images/{name}.jpg", bgr, quality)
    compression = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    write_image(folder / f"confidence/{name}.png", frame.confidence, compression)
    mask = frame.is_dynamic.astype(np.uint8) * np.uint8(255)
    write_image(folder / f"masks/{name}.png", mask, compression)
    save_array(folder / f"depth/{name}.npy", frame.depth.astype(np.float32))
    if frame.depth_std is not None:
        save_array(folder / f"{DEPTH_STD}/{name}.npy", frame.depth_std)


def read_frame(folder: Path, index: int) -> Frame:
    """Read the files of one frame of a result, but for the standard deviation of its depth."""
    return Frame(
        read_rgb(folder / f"images/{index:06d}.jpg"),
        _read_depth(folder / f"depth/{index:06d}.npy"),
        _read_grey(folder / f"confidence/{index:06d}.png"),
        _read_grey(folder / f"masks/{index:06d}.png") > 0,
    )


def _write_text(path: Path, text: str) -> None:
    with writing(path):
        path.write_text(text, encoding="utf-8")


def _frames_text(cameras: Cameras) -> str:
    rows = zip(cameras.timestamps_s, cameras.sources, strict=True)
    return "".join(
        f"{i} {format_time(time)} {storable_name(name)}\n" for i, (time, name) in enumerate(rows)
    )


def _intrinsics_text(cameras: Cameras) -> str:
    """Write pixels with the first centre at (0, 0), where ours has it at (0.5, 0.5)."""
    width, height = cameras.size
    lines = [f"# {width} {height}\n"]
    for fx, fy, cx, cy in cameras.intrinsics:
        lines.append(" ".join(format_number(v) for v in (fx, fy, cx - 0.5, cy - 0.5)) + "\n")
    return "".join(lines)


def _read_frames(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    rows = [line.split(maxsplit=2) for _, line in read_rows(path)]
    if not rows or any(len(row) != 3 or row[0] != str(i) for i, row in enumerate(rows)):
        raise InputError(
            f"{path} is not a list of 'index timestamp_s source' from 0 without gaps; {DAMAGED}"
        )
    return np.array(parse_numbers([row[1] for row in rows], str(path))), tuple(
        stored_name(r[2]) for r in rows
    )


def _read_intrinsics(path: Path) -> np.ndarray:
    rows = [
        parse_numbers(line.split(), f"{path}, line {number}") for number, line in read_rows(path)
    ]
    if not rows or any(len(row) != 4 for row in rows):
        raise InputError(f"{path} needs lines of 'fx fy cx cy'; {DAMAGED}")
    intrinsics: np.ndarray = np.array(rows) + np.array([0, 0, 0.5, 0.5])
    return intrinsics


def _read_stack(
    folder: Path, pattern: str, count: int, read: Callable[[Path], np.ndarray]
) -> np.ndarray:
    """Read one file per frame; all must have the size of the first image."""
    paths = [folder / pattern.format(index) for index in range(count)]
    arrays = _each_frame(lambda index: read(paths[index]), count)
    size = read_rgb(folder / "images/000000.jpg").shape[:2]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[:2] != size:
            raise InputError(
                f"{path} has {array.shape[1]}x{array.shape[0]} px, the first image {size[1]}x{size[0]} px; {DAMAGED}"
            )
    return np.stack(arrays)


def _read_depth(path: Path) -> np.ndarray:
    return _read_map(path, np.float32)


def _read_std(folder: Path, count: int) -> np.ndarray | None:
    """Results of earlier versions have none."""
    if not (folder / DEPTH_STD).exists():
        return None
    found = _read_stack(
        folder, f"{DEPTH_STD}/{{:06d}}.npy", count, lambda path: _read_map(path, np.float16)
    )
    bad = np.flatnonzero(~(found >= 0).all((1, 2)))
    if len(bad):
        raise InputError(
            f"{folder / DEPTH_STD}/{bad[0]:06d}.npy has values that are no standard deviation (negative, or not a "
            f"number); {DAMAGED}"
        )
    return found


def _read_map(path: Path, dtype: type[np.generic]) -> np.ndarray:
    array = _read_array(path)
    if array.dtype != dtype or array.ndim != 2:
        raise InputError(
            f"{path} holds {array.dtype} {array.shape}, {np.dtype(dtype)} (height, width) was needed; {DAMAGED}"
        )
    return array


def _read_covariance(path: Path, frames: int) -> np.ndarray | None:
    """Results of earlier versions have none, or none of the first frame, which is 0."""
    if not path.exists():
        return None
    covariance = _read_array(path)
    if covariance.shape == (frames - 1, 6, 6):
        covariance = np.concatenate((np.zeros((1, 6, 6)), covariance))
    if covariance.shape != (frames, 6, 6):
        raise InputError(
            f"{path} has shape {covariance.shape}; {frames} frames need ({frames}, 6, 6); {DAMAGED}"
        )
    return covariance


def _read_array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); {DAMAGED}") from error
    return array


def _read_grey(path: Path) -> np.ndarray:
    return read_image(path, cv2.IMREAD_GRAYSCALE)


def _each_frame(work: Callable[[int], T], count: int) -> list[T]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(count)))


def _plain(value: Any) -> Any:
    """Convert to what JSON knows: it has no numpy numbers, and no number that is not finite (null)."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
