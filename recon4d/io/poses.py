"""Known poses of some frames of a video: `--poses FILE`."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from recon4d.errors import InputError
from recon4d.io.trajectory import Trajectory, read_trajectory
from recon4d.scene import KnownPoses, Video

MATCH_S = 0.01
"""A pose belongs to a frame when their times differ by no more: half the interval of a motion capture of 50 Hz."""


def read_known_poses(path: Path, sigma: float, video: Video) -> KnownPoses:
    """Read a TUM trajectory and find the frame of each pose by its time.

    A frame takes the pose that is nearest in time, within `MATCH_S` and half the interval to the next frame; poses
    without a frame are left out.

    Args:
        path: `timestamp tx ty tz qx qy qz qw`, world_from_cam; the clock is the video's.
        sigma: Standard deviation of the centres, in the file's unit; 0: exact.
        video: Whose processed frames are meant.

    Raises:
        InputError: The file is not a trajectory, has a time twice, or matches no frame.
    """
    trajectory = read_trajectory(path)
    _check_times(trajectory, path)
    pose_of = _nearest(trajectory.timestamps_s, video.timestamps_s)
    is_given = pose_of >= 0
    if not is_given.any():
        raise InputError(_nothing_matches(trajectory, video, path))
    world_from_cam = np.tile(np.eye(4), (video.num_frames, 1, 1))
    world_from_cam[is_given] = trajectory.world_from_cam[pose_of[is_given]]
    return KnownPoses(world_from_cam, is_given, sigma)


def _check_times(trajectory: Trajectory, path: Path) -> None:
    times, counts = np.unique(trajectory.timestamps_s, return_counts=True)
    if (counts > 1).any():
        twice = times[counts > 1][0]
        raise InputError(
            f"{path} has {counts.max()} poses at {twice:.6f} s; one pose per time was needed: remove the others"
        )


def _nearest(
    poses_s: Float64[np.ndarray, " poses"], frames_s: Float64[np.ndarray, " frames"]
) -> Int64[np.ndarray, " frames"]:
    """Index of the pose of every frame, -1 where it has none; nearer than half an interval, none is used twice."""
    order = np.argsort(poses_s)
    after = np.searchsorted(poses_s[order], frames_s)
    around = order[np.stack((after - 1, after)).clip(0, len(order) - 1)]
    apart = np.abs(poses_s[around] - frames_s)
    nearest = np.where(apart[0] <= apart[1], around[0], around[1])
    half_interval = float(np.diff(frames_s).min(initial=np.inf)) / 2
    is_near = (apart.min(0) <= MATCH_S) & (apart.min(0) < half_interval)
    return np.where(is_near, nearest, -1)


def _nothing_matches(trajectory: Trajectory, video: Video, path: Path) -> str:
    poses, frames = (
        f"{times.min():.6f} to {times.max():.6f} s"
        for times in (trajectory.timestamps_s, video.timestamps_s)
    )
    return (
        f"{path}: no pose ({poses}) is within {MATCH_S:g} s of one of the frames that are processed ({frames}); both "
        "need one clock: a video's times begin at 0, those of a folder of images are in the names or index / rate"
    )
