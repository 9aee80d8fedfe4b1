"""`recon4d track`: points, objects and scene flow of a result that is there.

Numbers here that name no source were set by hand.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.core.progress import Progress, no_progress
from recon4d.core.text import parse_numbers, read_rows
from recon4d.flow import flow_method
from recon4d.results.motion_files import MOST_POINTS, OBJECTS, OBJECTS_JSON, SCENE_FLOW, TRACKS
from recon4d.results.texts import read_cameras
from recon4d.tracks import DEFAULT_POINTS, Wanted, add_motion


def track_result(
    result: Path,
    *,
    points: Path | None = None,
    tracks: int | None = None,
    objects: bool = False,
    scene_flow: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Follow points through a result folder, and tell apart what moves in it; what was made before is replaced.

    Args:
        result: The result folder.
        points: File with lines of `frame,u,v`: pixels of the result's images, centre of the first one at (0, 0).
        tracks: How many points are chosen where none are given, 0: none; None: 2000, unless something else is wanted.
        objects: Make `objects/` and `objects.json`.
        scene_flow: Make `scene_flow/`.
        progress: Told how far it is.

    Returns:
        What was written.

    Raises:
        InputError: The result or the points cannot be used.
    """
    if points is not None and tracks is not None:
        raise InputError(
            f"--points {points} and --tracks {tracks} both say which points are followed; give one"
        )
    if tracks is not None and tracks > MOST_POINTS:
        raise InputError(f"--tracks must be from 0 to {MOST_POINTS}, got {tracks}")
    cameras = read_cameras(result)
    given = None
    if points is not None:
        given = read_points(points, len(cameras.sources), cameras.size)
    elif tracks is None and not objects and not scene_flow:
        tracks = DEFAULT_POINTS
    wanted = Wanted(tracks or 0, given, objects, scene_flow)
    if not wanted.anything:
        raise InputError(
            "--tracks 0 follows no points, and nothing else is asked for; give a larger number, --points, --objects or "
            "--scene-flow"
        )
    with writing(result):
        add_motion(result, wanted, flow_method("dis"), len(os.sched_getaffinity(0)), progress)
    made = [TRACKS] * wanted.has_points + [OBJECTS_JSON, OBJECTS] * objects
    return [result / name for name in made + [SCENE_FLOW] * scene_flow]


def read_points(
    path: Path, frames: int, size: tuple[int, int]
) -> tuple[Int64[np.ndarray, " points"], Float32[np.ndarray, "points 2"]]:
    """Read points: the frame of each, and its pixel with the centre of the first one at (0.5, 0.5).

    Args:
        path: Lines of `frame,u,v`, with commas or blanks; a line that begins with # or `frame` is no point.
        frames: Of the result.
        size: (width, height) of its images.

    Raises:
        InputError: It is no such file, or a point is in no picture.
    """
    start, places = [], []
    for number, line in read_rows(path):
        words = line.replace(",", " ").split()
        if words and words[0].lower() == "frame":
            continue
        where = f"{path}, line {number}"
        values = parse_numbers(words, where)
        if len(values) != 3 or values[0] != int(values[0]):
            raise InputError(
                f"{where} is '{line[:60]}'; a line 'frame,u,v' was needed, frame a whole number"
            )
        frame, u, v = int(values[0]), values[1] + 0.5, values[2] + 0.5
        if not (0 <= frame < frames and 0 <= u < size[0] and 0 <= v < size[1]):
            raise InputError(
                f"{where} is in no picture: frames are 0 to {frames - 1}, pixels up to {size[0] - 1},{size[1] - 1}"
            )
        start.append(frame)
        places.append((u, v))
    if not 0 < len(start) <= MOST_POINTS:
        raise InputError(
            f"{path} has {len(start)} points; from 1 to {MOST_POINTS} lines 'frame,u,v' were needed"
        )
    return np.array(start, np.int64), np.array(places, np.float32)
