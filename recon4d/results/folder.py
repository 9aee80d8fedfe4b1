"""The result folder, format 1 (docs/GUIDE.md): writing and reading it.

Numbers here that name no source were set by hand.
"""

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from recon4d.core.arrays import save_array
from recon4d.core.files import writing
from recon4d.core.text import storable_name
from recon4d.io.files import FORMAT
from recon4d.io.ours import OPTIONAL_FOLDERS, RESULT_FOLDERS
from recon4d.io.pictures.files import write_image
from recon4d.io.poses.trajectory import (
    Trajectory,
    format_number,
    format_time,
    write_trajectory,
)
from recon4d.results.frame_files import (
    LARGEST_NUMBER,
    Wanted,
    check_array,
    check_count,
    check_picture,
    damaged,
    read_array,
    read_colors,
    read_grey,
)
from recon4d.results.motion_files import (
    SCENE_FLOW,
    TRACKS,
    read_objects,
    read_scene_flow,
    read_tracks,
    write_objects,
    write_tracks,
)
from recon4d.results.result import Cameras, Result
from recon4d.results.run_file import check_run
from recon4d.results.texts import COVARIANCE, OVERLAY, read_cameras

T = TypeVar("T")

JPEG_QUALITY = 95
"""Of the images, of 100."""
PNG_COMPRESSION = 1
"""zlib level: half the time of the default for files a tenth larger."""
DEPTH_STD = "depth_std"
"""Folder of the standard deviations of the depth."""
THREADS = 4
"""Encoding images releases the interpreter's lock."""


def write_result(reconstruction: Result, folder: Path) -> None:
    """Write everything of the result folder but `preview.png`; `run.json` comes last.

    Args:
        reconstruction: What to write.
        folder: Created if it is missing.
    """
    write_data(reconstruction, folder)
    write_run(reconstruction.run, reconstruction.is_metric, folder)


def write_data(reconstruction: Result, folder: Path) -> None:
    """Write everything of the result folder but `preview.png` and `run.json`."""
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
        overlay=reconstruction.overlay,
    )
    write_texts(cameras, folder)
    write_motion(reconstruction, folder)


def write_motion(reconstruction: Result, folder: Path) -> None:
    """Write what a result has of followed points, objects and scene flow into a result folder."""
    if reconstruction.tracks is not None:
        write_tracks(reconstruction.tracks, folder / TRACKS)
    if reconstruction.objects is not None:
        write_objects(reconstruction.objects, folder)
    if reconstruction.scene_flow is not None:
        with writing(folder):
            (folder / SCENE_FLOW).mkdir(exist_ok=True)
        for frame, flow in enumerate(reconstruction.scene_flow):
            save_array(folder / SCENE_FLOW / f"{frame:06d}.npy", np.asarray(flow, np.float16))


def make_frame_folders(folder: Path, has_std: bool) -> None:
    """Make the folders of a result that hold one file per frame."""
    names = ("images", "depth", "confidence", "masks", *((DEPTH_STD,) if has_std else ()))
    with writing(folder):
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)


def write_texts(cameras: Cameras, folder: Path) -> None:
    """Write what the result has once, but for `run.json`."""
    trajectory = Trajectory(cameras.timestamps_s, cameras.world_from_cam)
    write_trajectory(trajectory, folder / "poses.txt")
    _write_text(folder / "frames.txt", _frames_text(cameras))
    _write_text(folder / "intrinsics.txt", _intrinsics_text(cameras))
    if cameras.pose_covariance is not None:
        save_array(folder / COVARIANCE, np.asarray(cameras.pose_covariance, np.float64))
    if cameras.overlay is not None:
        area = cameras.overlay.astype(np.uint8) * np.uint8(255)
        write_image(folder / OVERLAY, area, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    _write_text(folder / "config.toml", cameras.config_toml)


def write_run(content: Mapping[str, object], is_metric: bool, folder: Path) -> None:
    """Write `run.json`, the last file of a result folder."""
    scale = "metric" if is_metric else "relative"
    plain = _plain({"format": FORMAT, **content, "scale": scale} | {"format": FORMAT})
    check_run(plain, folder / "run.json")
    _write_text(folder / "run.json", json.dumps(plain, indent=2) + "\n")


def read_result(folder: Path) -> Result:
    """Read a result folder.

    Raises:
        InputError: It is none, or a file of it is missing or not what it must be (`recon4d.results.texts`,
            `recon4d.results.frame_files`).
    """
    cameras = read_cameras(folder)
    check_files(folder, cameras)
    count, size = len(cameras.sources), cameras.size
    return Result(
        world_from_cam=cameras.world_from_cam,
        intrinsics=cameras.intrinsics,
        timestamps_s=cameras.timestamps_s,
        sources=cameras.sources,
        images=_read_stack(
            folder, "images/{:06d}.jpg", count, lambda path: read_colors(path, size)
        ),
        depth=_read_stack(folder, "depth/{:06d}.npy", count, lambda path: _read_depth(path, size)),
        depth_std=_read_std(folder, count, size),
        confidence=_read_stack(
            folder, "confidence/{:06d}.png", count, lambda path: read_grey(path, size)
        ),
        is_dynamic=_read_stack(
            folder, "masks/{:06d}.png", count, lambda path: read_grey(path, size) > 0
        ),
        is_metric=cameras.is_metric,
        pose_covariance=cameras.pose_covariance,
        overlay=cameras.overlay,
        tracks=read_tracks(folder / TRACKS, count),
        objects=read_objects(folder, count, size),
        scene_flow=read_scene_flow(folder, count, size),
        run=cameras.run,
        config_toml=cameras.config_toml,
    )


def check_files(folder: Path, cameras: Cameras) -> None:
    """Check the files of all frames by their names, headers and lengths; nothing is decoded.

    Raises:
        InputError: One is missing, belongs to no frame, or does not fit to the others.
    """
    count, size = len(cameras.sources), cameras.size
    for name, suffix in RESULT_FOLDERS.items():
        if name in OPTIONAL_FOLDERS and not (folder / name).exists():
            continue
        check_count(folder / name, suffix, count)
        for index in range(count):
            path = folder / name / f"{index:06d}{suffix}"
            if name == SCENE_FLOW:
                check_array(path, Wanted(np.float16, (*size[::-1], 3)))
            elif suffix == ".npy":
                check_array(path, _map(np.float16 if name == DEPTH_STD else np.float32, size))
            else:
                check_picture(path, size)


def _map(dtype: type[np.generic], size: tuple[int, int]) -> Wanted:
    return Wanted(dtype, size[::-1])


@dataclass(frozen=True)
class Frame:
    """What the result holds of one frame, as in `Result`."""

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


def read_frame(folder: Path, index: int, size: tuple[int, int]) -> Frame:
    """Read the files of one frame of a result.

    Args:
        folder: The result folder.
        index: Of the frame.
        size: (width, height) of the result's images.
    """
    std = folder / f"{DEPTH_STD}/{index:06d}.npy"
    return Frame(
        read_colors(folder / f"images/{index:06d}.jpg", size),
        _read_depth(folder / f"depth/{index:06d}.npy", size),
        read_grey(folder / f"confidence/{index:06d}.png", size),
        read_grey(folder / f"masks/{index:06d}.png", size) > 0,
        _read_frame_std(std, size) if std.exists() else None,
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


def _read_stack(
    folder: Path, pattern: str, count: int, read: Callable[[Path], np.ndarray]
) -> np.ndarray:
    """Read one file per frame."""
    return np.stack(_each_frame(lambda index: read(folder / pattern.format(index)), count))


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    depth = read_array(path, _map(np.float32, size))
    if not ((depth >= 0) & (depth <= LARGEST_NUMBER)).all():
        raise damaged(
            path, "has values that are no depth (negative, infinite, enormous, or not a number)"
        )
    return depth


def _read_std(folder: Path, count: int, size: tuple[int, int]) -> np.ndarray | None:
    """Results of earlier versions have none."""
    if not (folder / DEPTH_STD).exists():
        return None
    return _read_stack(
        folder, f"{DEPTH_STD}/{{:06d}}.npy", count, lambda path: _read_frame_std(path, size)
    )


def _read_frame_std(path: Path, size: tuple[int, int]) -> np.ndarray:
    found = read_array(path, _map(np.float16, size))
    if not (found >= 0).all():
        raise damaged(path, "has values that are no standard deviation (negative, or not a number)")
    return found


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
