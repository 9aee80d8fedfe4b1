"""MPI-Sintel with its depth and camera archives (Butler et al., ECCV 2012).

`training/final/SEQ/frame_0001.png`, `training/depth/SEQ/frame_0001.dpt`, `training/camdata_left/SEQ/frame_0001.cam`.
Both kinds of file begin with the float32 202021.25; numbers are little-endian.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from benchmarks.sets.protocols import Protocol
from benchmarks.sets.recordings import (
    Found,
    FoundSet,
    Frame,
    Names,
    Recording,
    Task,
    TrueDepth,
    TruePoses,
    existing,
    images_by_name,
)
from recon4d.core.errors import InputError
from recon4d.io.options import FOLDER_FPS
from recon4d.io.poses.trajectory import Trajectory

TAG = 202021.25
"""First number of a .dpt and of a .cam file."""
LAYOUT = (
    "Sintel needs training/final (or clean), training/depth and training/camdata_left, one folder per sequence: "
    "unpack MPI-Sintel-complete and the archives of depth and cameras into one folder"
)


def find_sintel(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find sequences of the training set."""
    assert protocol.sequences is not None
    images = existing(root / "training" / protocol.frames.folder, LAYOUT)
    wanted = tuple(names or protocol.sequences)
    for name in wanted:
        existing(images / name, f"{LAYOUT}, or name those that are there with --sequences")
    return FoundSet(
        tuple(Found(name, partial(read_sequence, root, name, protocol, task)) for name in wanted)
    )


def read_sequence(root: Path, name: str, protocol: Protocol, task: Task) -> Recording:
    """Choose the frames of a sequence and find their truth.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    training = root / "training"
    images = images_by_name(training / protocol.frames.folder / name, LAYOUT)[protocol.frames.cut()]
    frames = tuple(Frame(i / FOLDER_FPS, path) for i, path in enumerate(images))
    if task == "depth":
        folder = training / "depth" / name
        files = tuple(existing(folder / f"{path.stem}.dpt", LAYOUT) for path in images)
        return Recording(name, frames, depth=(TrueDepth("time", files),), read_depth=read_dpt)
    folder = training / "camdata_left" / name
    poses = [read_cam(existing(folder / f"{path.stem}.cam", LAYOUT)) for path in images]
    truth = Trajectory(np.array([frame.time_s for frame in frames]), np.stack(poses))
    return Recording(name, frames, poses=(TruePoses("time", truth),))


def read_dpt(path: Path) -> Float32[np.ndarray, "height width"]:
    """Read z-depth: tag, int32 width, int32 height, float32 rows."""
    data = _after_tag(path)
    width, height = np.frombuffer(data[:8].ljust(8, b"\0"), "<i4").tolist()
    if width < 1 or height < 1 or len(data) != 8 + 4 * width * height:
        raise InputError(
            f"{path} has {len(data) + 4} bytes for {width}x{height} px of float32; the file is damaged: unpack it again"
        )
    return np.frombuffer(data[8:], "<f4").reshape(height, width).astype(np.float32)


def read_cam(path: Path) -> Float64[np.ndarray, "4 4"]:
    """Read world_from_cam: the file has float64 3x3 intrinsics and 3x4 cam_from_world after the tag."""
    data = _after_tag(path)
    if len(data) != 8 * (9 + 12):
        raise InputError(
            f"{path} has {len(data) + 4} bytes, 172 were needed; the file is damaged: unpack it again"
        )
    cam_from_world = np.eye(4)
    cam_from_world[:3] = np.frombuffer(data[72:], "<f8").reshape(3, 4)
    return np.linalg.inv(cam_from_world)


def _after_tag(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore the file") from error
    if len(data) < 4 or np.frombuffer(data[:4], "<f4")[0] != np.float32(TAG):
        raise InputError(
            f"{path} does not begin with Sintel's tag {TAG}; a file of Sintel's archives was needed"
        )
    return data[4:]
