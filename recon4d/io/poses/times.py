"""Whether the times of given poses are the video's: in seconds, and on its clock.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Float64, Int64

from recon4d.core.scene import Video

MATCH_S = 0.01
"""A pose belongs to a frame when their times differ by no more: half the interval of a motion capture of 50 Hz."""
EXACT_S = 0.001
"""Times of poses that were made for the frames of a video differ by no more than rounding to milliseconds."""
NEARLY_ALL = 0.9
"""Part of the frames, or of the poses where they are fewer, that find a partner where the clock is the right one."""
UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
"""Units in which times may be given, and how many make a second."""

Poses = Float64[np.ndarray, " poses"]
Frames = Float64[np.ndarray, " frames"]


def nearest_pose(poses_s: Poses, frames_s: Frames) -> Int64[np.ndarray, " frames"]:
    """Index of the pose of every frame, -1 where it has none; nearer than half an interval, none is used twice."""
    order = np.argsort(poses_s)
    after = np.searchsorted(poses_s[order], frames_s)
    around = order[np.stack((after - 1, after)).clip(0, len(order) - 1)]
    apart = np.abs(poses_s[around] - frames_s)
    nearest = np.where(apart[0] <= apart[1], around[0], around[1])
    half_interval = float(np.diff(frames_s).min(initial=np.inf)) / 2
    is_near = (apart.min(0) <= MATCH_S) & (apart.min(0) < half_interval)
    return np.where(is_near, nearest, -1)


def other_clock(poses_s: Poses, video: Video) -> str | None:
    """What is likely wrong with the times of poses, and what to do; None where they may be the video's."""
    frames_s = video.timestamps_s
    return (
        _frame_numbers(poses_s, video)
        or _other_unit(poses_s, frames_s)
        or _other_start(poses_s, video)
    )


def _frame_numbers(poses_s: Poses, video: Video) -> str | None:
    """Named where poses are counted from 0 or 1 to the video's last frame, and hardly any is at a frame's time."""
    frames_s, count = video.timestamps_s, len(poses_s)
    counted = np.sort(poses_s) - poses_s.min()
    is_counted = poses_s.min() in (0, 1) and bool((counted == np.arange(count)).all())
    last = (video.source_indices or (video.num_frames - 1,))[-1]
    if not is_counted or count not in (video.num_frames, last + 1):
        return None
    if _matched(poses_s, frames_s) >= _most(poses_s, frames_s):
        return None
    return (
        f"its times ({poses_s.min():g}, {poses_s.min() + 1:g}, ... {poses_s.max():g}) look like numbers of frames, and "
        f"the video's are seconds ({frames_s.min():.6f} to {frames_s.max():.6f}); write the time of each frame in its "
        "place (its number over the frames per second, which recon4d info says)"
    )


def _other_unit(poses_s: Poses, frames_s: Frames) -> str | None:
    """Named where the poses of many more frames are found in another unit than seconds."""
    as_it_is = _matched(poses_s, frames_s)
    begin_s = float(frames_s.min())
    for name, per_second in UNITS.items():
        seconds = poses_s / per_second
        for start_s in (0.0, float(seconds.min()) - begin_s):
            count = _matched(seconds - start_s, frames_s)
            if count >= 2 and count > 3 * as_it_is and count >= _most(poses_s, frames_s):
                shift = f", and subtract {start_s:.6f} s" if abs(start_s) > MATCH_S else ""
                return (
                    f"its times ({poses_s.min():g} to {poses_s.max():g}) look like {name}: divided by {per_second:g} "
                    f"they fit to {count} of {len(frames_s)} frames; seconds are needed: divide them{shift}"
                )
    return None


def _other_start(poses_s: Poses, video: Video) -> str | None:
    """Named where poses that were counted from another moment fit exactly once they are shifted."""
    frames_s, first = video.timestamps_s, (video.source_indices or (0,))[0]
    shift_s = float(frames_s.min() - poses_s.min())
    if first != 0 or abs(shift_s) <= MATCH_S:
        return None
    most = _most(poses_s, frames_s)
    moved_s = poses_s + shift_s
    if _matched(moved_s, frames_s) < most or _largest_gap_s(moved_s, frames_s) > EXACT_S:
        return None
    count, is_exact = _matched(poses_s, frames_s), _largest_gap_s(poses_s, frames_s) <= EXACT_S
    counts_from_zero = abs(poses_s.min()) <= EXACT_S
    is_as_long = abs(np.ptp(poses_s) - np.ptp(frames_s)) <= MATCH_S
    as_it_is = count >= most and (
        is_exact or not counts_from_zero or not _one_each(poses_s, frames_s)
    )
    if as_it_is or not (counts_from_zero or is_as_long):
        return None
    return (
        f"the video's times begin at {frames_s.min():.6f} s, the poses' at {poses_s.min():.6f} s, and every pose "
        f"fits to a frame when they begin together; both need one clock: add {shift_s:.6f} s to the poses' times"
    )


def _most(poses_s: Poses, frames_s: Frames) -> int:
    return max(2, int(np.ceil(NEARLY_ALL * min(len(poses_s), len(frames_s)))))


def _matched(poses_s: Poses, frames_s: Frames) -> int:
    return int((nearest_pose(poses_s, frames_s) >= 0).sum())


def _largest_gap_s(poses_s: Poses, frames_s: Frames) -> float:
    """Largest difference of a frame's time to its pose's."""
    partner = nearest_pose(poses_s, frames_s)
    gaps = np.abs(poses_s[partner] - frames_s)[partner >= 0]
    return float(gaps.max(initial=0.0))


def _one_each(poses_s: Poses, frames_s: Frames) -> bool:
    """Whether poses come as often as frames: they were made for them."""
    if len(poses_s) < 2:
        return False
    poses, frames = (float(np.median(np.diff(np.sort(times)))) for times in (poses_s, frames_s))
    return abs(poses / frames - 1) < 0.2
