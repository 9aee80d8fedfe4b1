"""Frames in memory: an array, a tensor or a list of images, given to `recon4d.reconstruct` in the place of a path."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float64, UInt8

from recon4d.core.errors import ConfigError, InputError
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.options import FOLDER_FPS, ReadOptions

IN_MEMORY = Path("array of frames")
"""Stands for the input in messages and in `config.toml`, where frames in memory have no path."""
NEEDED = "uint8 RGB frames of shape (N, height, width, 3) were needed"
CAMERA = "(fx, fy, cx, cy) in pixels of the frames, or a 3x3 matrix K, was needed"


@runtime_checkable
class Stack(Protocol):
    """An array of numpy, a tensor of torch, or what behaves like them."""

    @property
    def shape(self) -> Any:
        """Length of every axis."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Frames: TypeAlias = Stack | Sequence[Any]
"""(N, height, width, 3) of uint8, RGB, as one array or as a list of images."""


def open_array(frames: object, timestamps: object, options: ReadOptions) -> Source:
    """Open frames in memory; they are converted one by one, and never copied as a whole.

    Args:
        frames: An array or tensor of shape (N, height, width, 3), or a list of (height, width, 3); uint8, RGB.
        timestamps: Seconds of every frame, rising; None: `options.fps` is their rate (30 if that is not given).
        options: How they are read.

    Raises:
        InputError: They are no such frames, or the time stamps are not theirs.
        ConfigError: Their depth was asked for, which they do not have.
    """
    stack = _checked(frames)
    if options.with_depth:
        raise ConfigError(
            f"an {IN_MEMORY} has no sensor depth, which geometry='rgbd' needs; give the path of an RGB-D folder, or "
            "another geometry"
        )
    count = len(stack)
    rate = options.fps or FOLDER_FPS
    times = np.arange(count) / rate if timestamps is None else _times(timestamps, count)

    def each() -> Iterator[SourceFrame]:
        for index, time_s in enumerate(times.tolist()):
            yield SourceFrame(index, time_s, str(index), partial(_pixels, stack, index))

    return Source(
        path=IN_MEMORY,
        kind="array",
        is_timed=timestamps is not None,
        expected_frames=count,
        frames=each,
        notices=tuple,
    )


def intrinsics_text(intrinsics: object) -> str:
    """The value of the option `intrinsics` for a camera that is given as numbers.

    Args:
        intrinsics: (fx, fy, cx, cy), or K (3, 3); pixels of the frames, centre of the first pixel at (0, 0).
    """
    found = _numbers(intrinsics, "intrinsics", CAMERA)
    if found.shape == (3, 3):
        (fx, skew, cx), (shear, fy, cy), last = found.tolist()
        if skew or shear or last != [0, 0, 1]:
            raise InputError(
                "intrinsics is a 3x3 matrix that is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; a camera without skew "
                f"was needed: {CAMERA}"
            )
        found = np.array([fx, fy, cx, cy])
    if (found.ndim == 2 and found.shape[1] == 4) or (found.ndim == 3 and found.shape[1:] == (3, 3)):
        raise InputError(
            f"intrinsics has one camera for each of {len(found)} frames; one for all was needed: give the first row if "
            "they are alike, or leave it out with focal='per-frame'"
        )
    if found.shape != (4,):
        raise InputError(f"intrinsics has shape {found.shape}; {CAMERA}")
    return ",".join(repr(value) for value in found.tolist())


def refuse_memory(source: Path) -> None:
    """Refuse to read the input of a run again whose frames were in memory; nothing is said of a file of that name.

    Raises:
        InputError: There is no file to read.
    """
    if source.name == IN_MEMORY.name and not source.exists():
        raise InputError(
            "the frames of this run were an array in memory (recon4d.reconstruct in Python), and there is no file to "
            "read again; export at the working size, or reconstruct from a file"
        )


def is_path(value: object) -> bool:
    """Whether a value names a file or a folder."""
    return isinstance(value, str | PathLike)


def _checked(frames: object) -> Frames:
    """The frames, if they look like frames; nothing of them is converted yet."""
    if isinstance(frames, Stack):
        shape = tuple(int(side) for side in frames.shape)
        _check_shape(shape, 4, "the array of frames")
        _check_type(getattr(frames, "dtype", None), "the array of frames")
        return frames
    if not isinstance(frames, list | tuple) or not frames:
        found = "an empty list" if isinstance(frames, list | tuple) else type(frames).__name__
        raise InputError(
            f"the input is {found}; a path, an array (N, height, width, 3) or a list of images was needed"
        )
    for index, frame in enumerate(frames):
        if is_path(frame) or frame is None or isinstance(frame, int | float):
            raise InputError(
                f"entry {index} of the list of frames is {type(frame).__name__}; {NEEDED}: give a folder's path for "
                "files, or read them first"
            )
    return frames


def _pixels(stack: Frames, index: int) -> UInt8[np.ndarray, "height width 3"]:
    """One frame as numpy has it."""
    what = f"frame {index} of the array of frames"
    pixels = _as_numpy(stack[index], what)
    _check_shape(pixels.shape, 3, what)
    _check_type(pixels.dtype, what)
    return pixels


def _as_numpy(value: Any, what: str) -> np.ndarray:
    """An array, a tensor on any device, or an image of another package."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} is {type(value).__name__}, which is not an array; {NEEDED}: convert it"
        ) from error


def _check_shape(shape: tuple[int, ...], axes: int, what: str) -> None:
    if len(shape) == axes and shape[-1] == 3 and min(shape) > 0:
        return
    hint = "convert them"
    if len(shape) == axes and shape[-3] == 3:
        hint = "channels come last: move the axis of length 3 to the end"
    elif len(shape) == axes and shape[-1] == 4:
        hint = "leave the fourth channel out: frames[..., :3]"
    elif len(shape) == axes - 1 and shape[-1] == 3:
        hint = "this is a single image"
    elif len(shape) == axes - 1 or (len(shape) == axes and shape[-1] == 1):
        hint = "repeat grey frames along a last axis of length 3"
    raise InputError(f"{what} has shape {shape}; {NEEDED}: {hint}")


def _check_type(dtype: object, what: str) -> None:
    """Tell numpy's and torch's types apart from others by their names."""
    name = str(dtype).removeprefix("torch.")
    if name == "uint8":
        return
    hint = "scale values to 0..255, round and convert them"
    raise InputError(f"{what} is of type {name}; {NEEDED}: {hint}")


def _times(timestamps: object, count: int) -> Float64[np.ndarray, " frames"]:
    needed = f"{count} rising numbers of seconds, one per frame, were needed"
    times = _numbers(timestamps, "timestamps", needed)
    if times.shape != (count,):
        raise InputError(f"timestamps has shape {times.shape}; {needed}")
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        raise InputError(
            f"timestamps does not rise from frame {late[0]} to frame {late[0] + 1} ({times[late[0]]:g} s, "
            f"{times[late[0] + 1]:g} s); {needed}"
        )
    return times


def _numbers(values: object, name: str, needed: str) -> np.ndarray:
    """Finite numbers of any array-like value."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as numbers; {needed}") from error
    bad = [value for value in found.ravel().tolist() if not math.isfinite(value)]
    if bad:
        raise InputError(f"{name} has a value that is {bad[0]}; {needed}")
    return found
