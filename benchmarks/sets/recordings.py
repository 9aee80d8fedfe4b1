"""What a test sequence is to the benchmarks of poses and depth: the frames of a protocol, and their truth."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images
from recon4d.io.poses.trajectory import Trajectory, format_time
from recon4d.io.rgbd.tum import read_list

Task = Literal["pose", "depth"]
Pairing = Literal["rows", "time"]
"""How truth and frames belong together: the n-th to the n-th whatever their times, or by their times."""
Names = Sequence[str] | None
"""Sequences that are wanted; None means those of the protocol's list."""
ReadDepth = Callable[[Path], Float32[np.ndarray, "height width"]]
"""Reads true z-depth in metres, 0 = unknown."""


@dataclass(frozen=True)
class Frame:
    """An image of a sequence."""

    time_s: float
    path: Path


@dataclass(frozen=True)
class TruePoses:
    """Where the cameras were; times are those of the frames where the pairing is by rows."""

    pairing: Pairing
    trajectory: Trajectory | None
    why_not: str = ""
    """What is wrong where there is no trajectory."""


@dataclass(frozen=True)
class TrueDepth:
    """Files of true depth."""

    pairing: Pairing
    files: tuple[Path | None, ...]
    """Per frame; None where the frame has no truth."""
    why_not: str = ""
    """What is wrong where no file is there."""


def _no_depth(path: Path) -> Float32[np.ndarray, "height width"]:
    raise AssertionError(f"{path}: this sequence has no depth")


@dataclass(frozen=True)
class Recording:
    """The frames of one sequence that a protocol uses, in their order."""

    name: str
    frames: tuple[Frame, ...]
    poses: tuple[TruePoses, ...] = ()
    """The protocol's own pairing first."""
    depth: tuple[TrueDepth, ...] = ()
    read_depth: ReadDepth = _no_depth
    folder: Path | None = None
    """In TUM layout: where `depth.txt` and `intrinsics.txt` may be, for runs that use them."""
    note: str = ""
    """In what the frames differ from the protocol's; belongs into the report."""

    def first(self, count: int | None) -> "Recording":
        """Keep the first frames."""
        if count is None or count >= len(self.frames):
            return self
        depth = tuple(dataclasses.replace(true, files=true.files[:count]) for true in self.depth)
        return dataclasses.replace(self, frames=self.frames[:count], depth=depth)

    def estimate(
        self, sources: Sequence[str], world_from_cam: Float64[np.ndarray, "frames 4 4"]
    ) -> Trajectory:
        """Give the poses of a result the times of this sequence's frames."""
        indices = self.indices(sources)
        times_s = np.array([self.frames[index].time_s for index in indices])
        return Trajectory(times_s, world_from_cam)

    def indices(self, sources: Sequence[str]) -> list[int]:
        """Frames that the sources of a result are.

        Raises:
            InputError: A source is not among the frames.
        """
        index_of = {frame.path.name: index for index, frame in enumerate(self.frames)}
        for source in sources:
            if source not in index_of:
                raise InputError(
                    f"the result has a frame {source} that the protocol does not use in {self.name}; the frames "
                    f"{self.frames[0].path.name} to {self.frames[-1].path.name} were needed: run these"
                )
        return [index_of[source] for source in sources]


@dataclass(frozen=True)
class Found:
    """A sequence whose folder is there; its files are read when it is its turn."""

    name: str
    read: Callable[[], Recording]


@dataclass(frozen=True)
class FoundSet:
    """The sequences of a data set."""

    found: tuple[Found, ...]
    notes: tuple[str, ...] = ()
    """In what this is not the official set; belongs into every report."""


def stage(recording: Recording, folder: Path, with_depth: bool) -> Path:
    """Write an RGB-D folder in TUM layout that lists the recording's frames, and nothing else, by absolute paths.

    Args:
        recording: What to run.
        folder: Made here.
        with_depth: List the sensor's depth images, too; only a run that uses them needs them.

    Raises:
        InputError: The sensor's depth was wanted and is not there, or fewer than two frames are.
    """
    if len(recording.frames) < 2:
        raise InputError(
            f"{recording.name} has {len(recording.frames)} of the protocol's frames; at least 2 were needed: is the "
            "sequence complete?"
        )
    folder.mkdir(parents=True)
    _write_list(folder / "rgb.txt", recording.frames)
    source = recording.folder
    if with_depth:
        if source is None or not (source / "depth.txt").is_file():
            raise InputError(
                f"{recording.name} has no depth.txt, which --geometry rgbd needs; leave --geometry rgbd out"
            )
        depth = [Frame(time_s, path) for time_s, path in read_list(source / "depth.txt")]
        _write_list(folder / "depth.txt", depth)
    if source is not None and (source / "intrinsics.txt").is_file():
        text = (source / "intrinsics.txt").read_text(encoding="utf-8")
        (folder / "intrinsics.txt").write_text(text, encoding="utf-8")
    return folder


def _write_list(path: Path, frames: Sequence[Frame]) -> None:
    lines = [f"{format_time(frame.time_s)} {frame.path.resolve()}\n" for frame in frames]
    path.write_text("".join(lines), encoding="utf-8")


def existing(path: Path, layout: str) -> Path:
    """Return a path that exists, or raise an `InputError` that names it and says what the layout is."""
    if not path.exists():
        raise InputError(f"{path} is missing; {layout}")
    return path


def images_by_name(folder: Path, layout: str) -> list[Path]:
    """List the images of a folder in the order of their names, at least one."""
    images = sorted(list_images(existing(folder, layout)), key=lambda path: path.name)
    if not images:
        raise InputError(f"{folder} holds no images; {layout}")
    return images
