"""Trajectory files of the TUM RGB-D benchmark: `timestamp tx ty tz qx qy qz qw`, world_from_cam.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.core.text import parse_numbers, read_rows

LARGEST_NORM_ERROR = 0.01
"""Of a quaternion; files are rounded to 4 digits or more, further off the columns are something else."""
SIGNIFICANT_DIGITS = 9
"""Of positions, quaternions and intrinsics: far below any uncertainty of a pose."""
MOST_DECIMALS = 15
"""Behind the point: what is smaller is rounding of a zero, and would be written with up to 320 digits."""


@dataclass(frozen=True)
class Trajectory:
    """Camera poses over time."""

    timestamps_s: Float64[np.ndarray, " poses"]
    world_from_cam: Float64[np.ndarray, "poses 4 4"]


def read_trajectory(path: Path) -> Trajectory:
    """Read a TUM trajectory, in the order of the file."""
    rows = []
    for number, line in read_rows(path):
        where = f"{path}, line {number}"
        words = line.split()
        if len(words) != 8:
            raise InputError(
                f"{where}: found {len(words)} values, needed 8: timestamp tx ty tz qx qy qz qw; write it in TUM format"
            )
        values = parse_numbers(words, where)
        norm = float(np.linalg.norm(values[4:]))
        if abs(norm - 1) > LARGEST_NORM_ERROR:
            raise InputError(
                f"{where}: the quaternion has length {norm:.3g}, needed 1; write timestamp tx ty tz qx qy qz qw"
            )
        rows.append(values)
    if not rows:
        raise InputError(
            f"{path} has no poses; lines of 'timestamp tx ty tz qx qy qz qw' were needed"
        )
    table = np.array(rows)
    world_from_cam = np.tile(np.eye(4), (len(table), 1, 1))
    world_from_cam[:, :3, :3] = Rotation.from_quat(table[:, 4:]).as_matrix()
    world_from_cam[:, :3, 3] = table[:, 1:4]
    return Trajectory(table[:, 0], world_from_cam)


def write_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Write a TUM trajectory; its time stamps are read back bit by bit."""
    quaternions_xyzw = Rotation.from_matrix(trajectory.world_from_cam[:, :3, :3]).as_quat()
    lines = []
    for time_s, pose, xyzw in zip(
        trajectory.timestamps_s, trajectory.world_from_cam, quaternions_xyzw, strict=True
    ):
        numbers = " ".join(format_number(value) for value in (*pose[:3, 3], *xyzw))
        lines.append(f"{format_time(time_s)} {numbers}\n")
    with writing(path):
        path.write_text("".join(lines), encoding="utf-8")


def format_time(time_s: float) -> str:
    """Write a time with just the digits that give the same float back, without an exponent."""
    return np.format_float_positional(time_s, trim="0")


def format_number(value: float) -> str:
    """Write a number without an exponent, rounded to `SIGNIFICANT_DIGITS` and at most `MOST_DECIMALS`."""
    rounded = round(float(value), MOST_DECIMALS) + 0.0  # no -0.0
    return np.format_float_positional(
        rounded, precision=SIGNIFICANT_DIGITS, fractional=False, trim="0"
    )
