"""Ground truth: a TUM trajectory, a sequence in TUM layout, or a folder of mask images."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from recon4d.core.errors import InputError
from recon4d.io.masks.values import LOSSY_SUFFIXES, LOSSY_THRESHOLD
from recon4d.io.pictures.files import list_images, read_image
from recon4d.io.poses.trajectory import Trajectory, read_trajectory
from recon4d.io.rgbd.tum import read_list


@dataclass(frozen=True)
class Truth:
    """What is known about a sequence; the files of single frames are read when they are asked for."""

    path: Path
    trajectory: Trajectory | None
    depth_by_time: tuple[tuple[float, Path], ...]
    """Depth images of a list (`depth.txt`)."""
    depth_by_stem: dict[str, Path]
    """Depth images without a list."""
    mask_by_stem: dict[str, Path]
    """Masks, named like the depth or the colour image of their frame."""

    def depth_file(self, time_s: float, source: str, max_diff_s: float) -> Path | None:
        """Depth image of a frame."""
        if not self.depth_by_time:
            return self.depth_by_stem.get(Path(source).stem)
        nearest_s, path = min(self.depth_by_time, key=lambda entry: abs(entry[0] - time_s))
        return path if abs(nearest_s - time_s) <= max_diff_s else None

    def mask_file(self, source: str, depth_file: Path | None) -> Path | None:
        """Mask of a frame, by the name of its colour image or of its depth image."""
        named_by_colour = self.mask_by_stem.get(Path(source).stem)
        if named_by_colour is not None or depth_file is None:
            return named_by_colour
        return self.mask_by_stem.get(depth_file.stem)


def read_truth(path: Path) -> Truth:
    """Find out what kind of truth `path` holds."""
    if path.exists() and not path.is_dir():
        return Truth(path, read_trajectory(path), (), {}, {})
    if not path.is_dir():
        raise InputError(
            f"--gt {path} does not exist; a TUM trajectory, a sequence folder or a folder of masks was needed"
        )
    poses, depth_list = path / "groundtruth.txt", path / "depth.txt"
    is_sequence = any(
        (path / name).exists() for name in ("groundtruth.txt", "depth.txt", "depth", "mask")
    )
    truth = Truth(
        path=path,
        trajectory=read_trajectory(poses) if poses.is_file() else None,
        depth_by_time=tuple(read_list(depth_list)) if depth_list.is_file() else (),
        depth_by_stem=_by_stem(path / "depth"),
        mask_by_stem=_by_stem(path / "mask" if is_sequence else path),
    )
    if not (truth.trajectory or truth.depth_by_time or truth.depth_by_stem or truth.mask_by_stem):
        raise InputError(
            f"--gt {path} holds no truth; groundtruth.txt, depth.txt, depth/, mask/ or mask images were needed"
        )
    return truth


def read_true_depth(path: Path, depth_factor: float) -> Float32[np.ndarray, "height width"]:
    """Read an integer depth PNG as metres; 0 = unknown."""
    stored = read_image(path, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2:
        raise InputError(
            f"{path} has {stored.shape[2]} channels; true depth needs one, with --depth-factor as the value of 1 m"
        )
    return stored.astype(np.float32) / np.float32(depth_factor)


def read_true_mask(path: Path) -> Bool[np.ndarray, "height width"]:
    """Read a mask; any non-zero pixel is moving, in lossy files the brighter half."""
    threshold = LOSSY_THRESHOLD if path.suffix.lower() in LOSSY_SUFFIXES else 0
    return np.asarray(read_image(path, cv2.IMREAD_GRAYSCALE)) > threshold


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(folder)} if folder.is_dir() else {}
