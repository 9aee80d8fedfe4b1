"""What a result folder has besides its pixels, read strictly: `Cameras`.

Numbers here that name no source were set by hand.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from recon4d.core.text import parse_numbers, read_rows, read_text, stored_name
from recon4d.io.poses.trajectory import read_trajectory
from recon4d.results.frame_files import LARGEST_NUMBER, Wanted, damaged, read_array, read_grey
from recon4d.results.result import Cameras
from recon4d.results.run_file import check_frames, of_result, read_run

COVARIANCE = "pose_covariance.npy"
OVERLAY = "overlay.png"
LARGEST_PX = 1e7
"""Of a focal length or a principal point, pixels: a thousand widths of the largest image."""
LARGEST_SIDE_PX = 8192
"""Of the working size."""
TIME_DIFFERENCE_S = 1e-6
"""Of a frame in frames.txt and in poses.txt, which are written with the same digits."""
LEAST_EIGENVALUE = -1e-3
"""Of a matrix of correlations: below zero by rounding alone."""


def read_cameras(folder: Path) -> Cameras:
    """Read the text files of a result folder, and its covariances.

    Raises:
        InputError: It is no result, or a file is missing, not what it must be, or does not fit to the others.
    """
    run = read_run(folder)
    timestamps_s, sources = _read_frames(folder / "frames.txt")
    count = len(sources)
    size, intrinsics = _read_intrinsics(folder / "intrinsics.txt", count)
    check_frames(run, folder / "run.json", count, size)
    config = folder / "config.toml"
    return Cameras(
        world_from_cam=_read_poses(folder / "poses.txt", timestamps_s),
        intrinsics=intrinsics,
        timestamps_s=timestamps_s,
        sources=sources,
        size=size,
        is_metric=run["scale"] == "metric",
        run=run,
        config_toml=of_result(lambda: read_text(config)) if config.exists() else "",
        pose_covariance=_read_covariance(folder / COVARIANCE, count),
        overlay=_read_overlay(folder / OVERLAY, size),
    )


def _read_frames(path: Path) -> tuple[Float64[np.ndarray, " frames"], tuple[str, ...]]:
    rows = [line.split(maxsplit=2) for _, line in of_result(lambda: read_rows(path))]
    if not rows or any(len(row) != 3 or row[0] != str(i) for i, row in enumerate(rows)):
        raise damaged(path, "is not a list of 'index timestamp_s source' from 0 without gaps")
    times_s = np.array(of_result(lambda: parse_numbers([row[1] for row in rows], str(path))))
    if (np.diff(times_s) <= 0).any():
        raise damaged(path, "has times that do not grow from frame to frame")
    return times_s, tuple(stored_name(row[2]) for row in rows)


def _read_poses(
    path: Path, timestamps_s: Float64[np.ndarray, " frames"]
) -> Float64[np.ndarray, "frames 4 4"]:
    found = of_result(lambda: read_trajectory(path))
    count = len(timestamps_s)
    if len(found.timestamps_s) != count:
        raise damaged(
            path, f"has {len(found.timestamps_s)} lines for the {count} frames of frames.txt"
        )
    if (np.abs(found.timestamps_s - timestamps_s) > TIME_DIFFERENCE_S).any():
        raise damaged(path, "has other times than frames.txt")
    if (np.abs(found.world_from_cam[:, :3, 3]) > LARGEST_NUMBER).any():
        raise damaged(path, f"has a camera further than {LARGEST_NUMBER:g} from the first")
    return found.world_from_cam


def _read_intrinsics(
    path: Path, count: int
) -> tuple[tuple[int, int], Float64[np.ndarray, "frames 4"]]:
    """Size in its first line, then one line per frame."""
    rows = of_result(
        lambda: [
            parse_numbers(line.split(), f"{path}, line {number}")
            for number, line in read_rows(path)
        ]
    )
    if not rows or any(len(row) != 4 for row in rows):
        raise damaged(path, "needs lines of 'fx fy cx cy'")
    if len(rows) != count:
        raise damaged(path, f"has {len(rows)} lines for the {count} frames of frames.txt")
    mark, *words = of_result(lambda: read_text(path)).splitlines()[0].split()
    if mark != "#" or len(words) != 2 or not all(_is_side(word) for word in words):
        raise damaged(path, "needs '# WIDTH HEIGHT' of the images as its first line")
    table = np.array(rows)
    if not ((table[:, :2] > 0).all() and (np.abs(table) <= LARGEST_PX).all()):
        raise damaged(path, "has values that are no focal length or principal point in pixels")
    intrinsics: np.ndarray = table + np.array([0, 0, 0.5, 0.5])
    return (int(words[0]), int(words[1])), intrinsics


def _is_side(word: str) -> bool:
    return (
        word.isascii() and word.isdecimal() and len(word) < 6 and 0 < int(word) <= LARGEST_SIDE_PX
    )


def _read_covariance(path: Path, frames: int) -> Float64[np.ndarray, "frames 6 6"] | None:
    """Results of earlier versions have none, or none of the first frame, which is 0."""
    if not path.exists():
        return None
    found = read_array(
        path, Wanted(np.float64, (frames, 6, 6)), Wanted(np.float64, (frames - 1, 6, 6))
    )
    if not _are_covariances(found):
        raise damaged(path, "has matrices that are no covariances")
    if len(found) < frames:
        found = np.concatenate((np.zeros((1, 6, 6)), found))
    return found


def _read_overlay(path: Path, size: tuple[int, int]) -> Bool[np.ndarray, "height width"] | None:
    """Results without an overlay have none."""
    return read_grey(path, size) > 0 if path.exists() else None


def _are_covariances(found: Float64[np.ndarray, "poses 6 6"]) -> bool:
    """Whether they are symmetric and have no negative variance; infinite: not measured."""
    if np.isnan(found).any():
        return False
    variances = np.diagonal(found, axis1=1, axis2=2)
    if (variances < 0).any() or not np.array_equal(np.isfinite(found), np.isfinite(found.mT)):
        return False
    known = found[np.isfinite(found).all((1, 2))]
    scale = np.sqrt(np.diagonal(known, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, 1.0)
    correlations = known / scale[:, :, None] / scale[:, None, :]
    if not (np.abs(correlations - correlations.mT) <= -LEAST_EIGENVALUE).all():
        return False
    return bool((np.linalg.eigvalsh(correlations) >= LEAST_EIGENVALUE).all())
