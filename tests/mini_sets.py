"""Tiny sequences in the official layouts of pose and depth benchmarks, and a stand-in for the run over them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from benchmarks.measure.common import Measured
from recon4d.io.poses.trajectory import Trajectory, write_trajectory
from recon4d.io.rgbd.tum import read_list
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction

SIZE = (6, 8)
"""(height, width) of all images."""
START_S = 1311868164.0
FRAME_S, ROW_S = 0.03, 0.01
"""Times between images and between rows of groundtruth.txt: every third row is of the moment of an image."""
EARLY_S = 0.5
"""How long before the first image groundtruth.txt begins."""
TAG = np.float32(202021.25).astype("<f4").tobytes()


def pose_at(time_s: float) -> Float64[np.ndarray, "4 4"]:
    """A camera on a path that is no line, world_from_cam."""
    t = time_s - START_S
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (0.3 * t, 0.5 * np.sin(t), 0.2 * t * t)).as_matrix()
    pose[:3, 3] = (np.sin(1.3 * t), 0.4 * np.cos(2.1 * t), 0.2 * t)
    return pose


def frame_time(index: int) -> float:
    return round(START_S + FRAME_S * index, 6)


def depth_of(index: int, shape: tuple[int, int] = SIZE) -> Float32[np.ndarray, "height width"]:
    """True depth of an image in metres, with two unknown pixels."""
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    depth = 2 + 0.5 * np.sin(u / 3 + index) + 0.25 * v
    depth[0, :2] = 0
    return np.asarray(np.round(depth * 5000) / 5000, np.float32)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def make_tum(
    folder: Path,
    frames: int,
    rows_s: Iterable[float] | None = None,
    depth_delay: int = 0,
    suffix: str = ".png",
) -> Path:
    """A sequence in TUM layout.

    Args:
        folder: Made here.
        frames: Images, 33 per second.
        rows_s: Times of the poses; by default 100 per second, from `EARLY_S` before the first image.
        depth_delay: Depth begins so many images later than colour.
        suffix: Of the colour images.
    """
    lists: dict[str, list[str]] = {"rgb": ["# colour\n"], "depth": ["# depth\n"]}
    for index in range(frames):
        name = f"{frame_time(index):.6f}"
        write_image(folder / f"rgb/{name}{suffix}", np.full((*SIZE, 3), index % 256, np.uint8))
        lists["rgb"].append(f"{name} rgb/{name}{suffix}\n")
        if index >= depth_delay:
            stored = np.round(depth_of(index) * 5000).astype(np.uint16)
            write_image(folder / f"depth/{name}.png", stored)
            lists["depth"].append(f"{name} depth/{name}.png\n")
    for kind, lines in lists.items():
        (folder / f"{kind}.txt").write_text("".join(lines))
    times_s = all_rows_s(frames) if rows_s is None else np.array(list(rows_s))
    poses = np.stack([pose_at(time_s) for time_s in times_s])
    write_trajectory(Trajectory(times_s, poses), folder / "groundtruth.txt")
    text = (folder / "groundtruth.txt").read_text()
    (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + text)
    return folder


def all_rows_s(frames: int) -> Float64[np.ndarray, " rows"]:
    """Times of a motion capture at 100 Hz that begins before the images."""
    count = round((EARLY_S + FRAME_S * frames) / ROW_S)
    return np.asarray(np.round(START_S - EARLY_S + ROW_S * np.arange(count), 6))


def make_sintel(root: Path, name: str, depths: Sequence[np.ndarray], render: str = "final") -> Path:
    """A sequence of Sintel's training set; its camera is `pose_at(START_S + 0.1 * index)`."""
    for index, depth in enumerate(depths):
        stem = f"frame_{index + 1:04d}"
        image = np.zeros((*depth.shape, 3), np.uint8)
        write_image(root / f"training/{render}/{name}/{stem}.png", image)
        size = np.array(depth.shape[::-1], "<i4").tobytes()
        _write_bytes(root / f"training/depth/{name}/{stem}.dpt", size, depth.astype("<f4"))
        cam_from_world = np.linalg.inv(pose_at(START_S + 0.1 * index))[:3]
        numbers = (np.eye(3).astype("<f8"), cam_from_world.astype("<f8"))
        _write_bytes(root / f"training/camdata_left/{name}/{stem}.cam", b"", *numbers)
    return root


def _write_bytes(path: Path, head: bytes, *arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TAG + head + b"".join(array.tobytes() for array in arrays))


def make_kitti(root: Path, drive: str, images: str, depths: Sequence[np.ndarray]) -> Path:
    """A drive whose first five frames have no depth; `images` is the folder of the raw drive."""
    for index, depth in enumerate(depths, start=5):
        stored = np.round(depth * 256).astype(np.uint16)
        folder = root / "val" / drive / "proj_depth/groundtruth/image_02"
        write_image(folder / f"{index:010d}.png", stored)
    for index in range(len(depths) + 10):
        picture = np.zeros((*depths[0].shape, 3), np.uint8)
        write_image(root / images / f"image_02/data/{index:010d}.png", picture)
    return root


@dataclass
class FakeRuns:
    """Takes the place of the real command: poses and depth by functions of the time and the name of a frame."""

    pose: Callable[[float], np.ndarray] = pose_at
    depth: Callable[[int, str], np.ndarray] = lambda index, name: np.ones(SIZE, np.float32)
    """Of the index among the run's frames and of the frame's name."""
    failing: set[str] = field(default_factory=set)
    skipped: int = 0
    """Frames at the end that the result leaves out."""
    calls: list[tuple[str, tuple[str, ...], list[str]]] = field(default_factory=list)
    """Name, options and frames of each run."""
    files: dict[str, str] = field(default_factory=dict)
    """Text files of the last input."""

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]

    def __call__(self, source: Path, result: Path, options: tuple[str, ...]) -> Measured:
        listed = read_list(source / "rgb.txt")
        self.calls.append((source.name, options, [path.name for _, path in listed]))
        self.files = {path.name: path.read_text() for path in source.iterdir()}
        if source.name in self.failing:
            return Measured(2, 1.5, 100.0, f"recon4d: error: nothing to track in {source}")
        listed = listed[: len(listed) - self.skipped]
        times_s = [time_s for time_s, _ in listed]
        depth = np.stack([self.depth(i, path.name) for i, (_, path) in enumerate(listed)])
        write_made(
            result,
            tuple(path.name for _, path in listed),
            depth.astype(np.float32),
            world_from_cam=np.stack([self.pose(time_s) for time_s in times_s]),
            timestamps_s=np.array(times_s),
        )
        return Measured(0, 2.5, 200.0, "")


def write_made(folder: Path, sources: tuple[str, ...], depth: np.ndarray, **known: Any) -> None:
    """Write a result that has a warning; what is not known of it is nothing in particular."""
    count, height, width = depth.shape
    nothing: dict[str, Any] = {
        "world_from_cam": np.tile(np.eye(4), (count, 1, 1)),
        "timestamps_s": np.arange(count) / 30,
        "is_dynamic": np.zeros(depth.shape, bool),
    }
    made = Reconstruction(
        **{**nothing, **known},
        intrinsics=np.tile((5.0 * width, 5.0 * width, width / 2, height / 2), (count, 1)),
        sources=sources,
        images=np.zeros((count, height, width, 3), np.uint8),
        depth=depth,
        confidence=np.zeros(depth.shape, np.uint8),
        is_metric=False,
        run={"warnings": [{"code": "LOW_PARALLAX", "message": "x"}], "posed": count},
    )
    write_result(made, folder)


def read_store(out: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((out / "results.json").read_text())
    return stored
