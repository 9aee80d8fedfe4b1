"""Sequences in the layout of TUM RGB-D: TUM itself, Bonn, and anybody's.

`rgb.txt` and `depth.txt` (`timestamp file`), `groundtruth.txt` (`timestamp tx ty tz qx qy qz qw`, world_from_cam),
depth PNG of 16 bit, 5000 = 1 m. TUM: `DIR/rgbd_dataset_freiburg3_walking_xyz/`; Bonn: `DIR/rgbd_bonn_balloon2/`, or
that inside `DIR/rgbd_bonn_dataset/`.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from benchmarks.sets.protocols import MAX_DIFF_S, Protocol
from benchmarks.sets.recordings import (
    Found,
    FoundSet,
    Frame,
    Names,
    Pairing,
    Recording,
    Task,
    TrueDepth,
    TruePoses,
    existing,
    images_by_name,
)
from recon4d.core.errors import InputError
from recon4d.evaluate.truth import Truth, read_true_depth
from recon4d.io.pictures.names import is_seconds
from recon4d.io.poses.trajectory import Trajectory, read_trajectory
from recon4d.io.rgbd.tum import DEPTH_UNITS_PER_M, is_tum_folder, read_list

LAYOUT = "a sequence has rgb/, depth/, rgb.txt, depth.txt and groundtruth.txt: give the folder above the sequences"
BONN_FOLDER = "rgbd_bonn_dataset"


def find_tum(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find sequences of TUM RGB-D by their folders' names."""
    assert protocol.sequences is not None
    return _found([(name, root / name) for name in names or protocol.sequences], protocol, task)


def find_bonn(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find sequences of Bonn by their names, with or without `rgbd_bonn_`."""
    assert protocol.sequences is not None
    above = root / BONN_FOLDER if (root / BONN_FOLDER).is_dir() else root
    short = [name.removeprefix("rgbd_bonn_") for name in names or protocol.sequences]
    return _found([(name, above / f"rgbd_bonn_{name}") for name in short], protocol, task)


def find_tumlike(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find folders that have an `rgb.txt`: those in `root`, or `root` itself."""
    if names is None and is_tum_folder(root):
        return _found([(root.resolve().name, root)], protocol, task)
    if names is None:
        names = sorted(path.name for path in root.iterdir() if is_tum_folder(path))
    if not names:
        raise InputError(f"{root} holds no folder with an rgb.txt; {LAYOUT}")
    return _found([(name, root / name) for name in names], protocol, task)


def _found(places: list[tuple[str, Path]], protocol: Protocol, task: Task) -> FoundSet:
    missing = [folder for _, folder in places if not folder.is_dir()]
    if missing:
        raise InputError(
            f"{missing[0]} is missing ({len(missing)} of {len(places)} sequences are); {LAYOUT}, or name those "
            "that are there with --sequences"
        )
    return FoundSet(
        tuple(
            Found(name, partial(read_sequence, name, folder, protocol, task))
            for name, folder in places
        )
    )


def read_sequence(name: str, folder: Path, protocol: Protocol, task: Task) -> Recording:
    """Choose the frames of a sequence and find their truth.

    Raises:
        InputError: A file is missing or cannot be read; no frame is left.
    """
    frames, matched = _frames(folder, protocol)
    wanted = protocol.frames.count
    note = (
        "" if wanted in (None, len(frames)) else f"{len(frames)} of the protocol's {wanted} frames"
    )
    poses: tuple[TruePoses, ...] = ()
    depth: tuple[TrueDepth, ...] = ()
    if task == "pose" and matched is not None:
        poses = (TruePoses("time", matched),)
    elif task == "pose":
        poses = tuple(_poses(folder, frames, protocol, way) for way in protocol.frames.pairings)
    else:
        depth = tuple(_depth(folder, frames, protocol, way) for way in protocol.frames.pairings)
    read_depth = partial(read_true_depth, depth_factor=DEPTH_UNITS_PER_M)
    return Recording(name, tuple(frames), poses, depth, read_depth, folder, note)


def _frames(folder: Path, protocol: Protocol) -> tuple[list[Frame], Trajectory | None]:
    """The frames, and their poses where frames are chosen by having one."""
    rule = protocol.frames
    matched = None
    if rule.among == "files":
        frames = [_timed(path) for path in images_by_name(folder / "rgb", LAYOUT)]
    else:
        listed = read_list(existing(folder / "rgb.txt", LAYOUT))
        frames = [Frame(time_s, path) for time_s, path in listed]
    if rule.among == "matches":
        truth = _trajectory(folder)
        pairs = associate(np.array([f.time_s for f in frames]), truth.timestamps_s)
        pairs = pairs[rule.cut()]
        frames = [frames[i] for i in pairs[:, 0]]
        times_s = np.array([f.time_s for f in frames])
        matched = Trajectory(times_s, truth.world_from_cam[pairs[:, 1]])
    else:
        frames = frames[rule.cut()]
    if not frames:
        raise InputError(
            f"{folder} has no frame that the protocol uses ({rule.meaning}); is the sequence complete?"
        )
    return frames, matched


def associate(
    first_s: Float64[np.ndarray, " first"], second_s: Float64[np.ndarray, " second"]
) -> Int64[np.ndarray, "matches 2"]:
    """Pair times as TUM RGB-D's own tool does: closest first, each once, less than `MAX_DIFF_S` apart.

    Returns:
        Indices (first, second) of the pairs in the order of the first.
    """
    apart = np.abs(first_s[:, None] - second_s[None])
    rows, columns = np.nonzero(apart < MAX_DIFF_S)
    order = np.lexsort((second_s[columns], first_s[rows], apart[rows, columns]))
    seen_rows: set[int] = set()
    seen_columns: set[int] = set()
    pairs = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in seen_rows and column not in seen_columns:
            seen_rows.add(row)
            seen_columns.add(column)
            pairs.append((row, column))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _timed(path: Path) -> Frame:
    if not is_seconds(path.stem):
        raise InputError(f"{path}: its name is not a time in seconds, as TUM's are; {LAYOUT}")
    return Frame(float(path.stem), path)


def _trajectory(folder: Path) -> Trajectory:
    return read_trajectory(existing(folder / "groundtruth.txt", LAYOUT))


def _poses(folder: Path, frames: list[Frame], protocol: Protocol, way: Pairing) -> TruePoses:
    truth = _trajectory(folder)
    if way == "time":
        return TruePoses(way, truth)
    rows = truth.world_from_cam[protocol.frames.cut()]
    if len(rows) != len(frames):
        return TruePoses(
            way,
            None,
            f"groundtruth.txt has {len(rows)} rows in the protocol's cut for {len(frames)} frames",
        )
    return TruePoses(way, Trajectory(np.array([f.time_s for f in frames]), rows))


def _depth(folder: Path, frames: list[Frame], protocol: Protocol, way: Pairing) -> TrueDepth:
    if way == "time":
        listed = read_list(existing(folder / "depth.txt", LAYOUT))
        truth = Truth(folder, None, tuple(listed), {}, {})
        return TrueDepth(
            way, tuple(truth.depth_file(f.time_s, f.path.name, MAX_DIFF_S) for f in frames)
        )
    files = images_by_name(folder / "depth", LAYOUT)[protocol.frames.cut()]
    if len(files) != len(frames):
        why = f"depth/ has {len(files)} images in the protocol's cut for {len(frames)} frames"
        return TrueDepth(way, (None,) * len(frames), why)
    return TrueDepth(way, tuple(files))
