"""Known poses of some frames of a video: `--poses FILE`."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import InputError
from recon4d.core.scene import KnownPoses, Notice, Video
from recon4d.io.poses.times import MATCH_S, nearest_pose, other_clock
from recon4d.io.poses.trajectory import Trajectory, read_trajectory


def read_known_poses(path: Path, sigma: float, video: Video) -> KnownPoses:
    """Read a TUM trajectory and find the frame of each pose by its time.

    A frame takes the pose that is nearest in time, within `MATCH_S` and half the interval to the next frame; poses
    without a frame are left out.

    Args:
        path: `timestamp tx ty tz qx qy qz qw`, world_from_cam; the clock is the video's.
        sigma: Standard deviation of the centres, in the file's unit; 0: exact.
        video: Whose processed frames are meant.

    Raises:
        InputError: The file is not a trajectory, has a time twice, has another unit or clock, or matches no frame.
    """
    trajectory = read_trajectory(path)
    _check_times(trajectory, path)
    mistake = other_clock(trajectory.timestamps_s, video)
    if mistake is not None:
        raise InputError(f"{path}: {mistake}")
    pose_of = nearest_pose(trajectory.timestamps_s, video.timestamps_s)
    is_given = pose_of >= 0
    if not is_given.any():
        raise InputError(_nothing_matches(trajectory, video, path))
    world_from_cam = np.tile(np.eye(4), (video.num_frames, 1, 1))
    world_from_cam[is_given] = trajectory.world_from_cam[pose_of[is_given]]
    return KnownPoses(world_from_cam, is_given, sigma, _unused(trajectory, is_given))


def _unused(trajectory: Trajectory, is_given: Bool[np.ndarray, " frames"]) -> tuple[Notice, ...]:
    used, poses = int(is_given.sum()), len(trajectory.timestamps_s)
    if used == poses:
        return ()
    message = (
        f"{used} of {poses} given poses are at a frame's time (within {MATCH_S:g} s), the others are not used; "
        f"{used} of {len(is_given)} frames have one."
    )
    return (Notice("unused_poses", message),)


def _check_times(trajectory: Trajectory, path: Path) -> None:
    times, counts = np.unique(trajectory.timestamps_s, return_counts=True)
    if (counts > 1).any():
        twice = times[counts > 1][0]
        raise InputError(
            f"{path} has {counts.max()} poses at {twice:.6f} s; one pose per time was needed: remove the others"
        )


def _nothing_matches(trajectory: Trajectory, video: Video, path: Path) -> str:
    poses, frames = (
        f"{times.min():.6f} to {times.max():.6f} s"
        for times in (trajectory.timestamps_s, video.timestamps_s)
    )
    return (
        f"{path}: no pose ({poses}) is within {MATCH_S:g} s of one of the frames that are processed ({frames}); both "
        "need one clock: a video's times are its own (recon4d info says where they begin), those of a folder of images "
        "are in the names or index / rate"
    )
