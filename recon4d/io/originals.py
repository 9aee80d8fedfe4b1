"""The frames of a run at the input's own size: read again, undistorted as in the run, not resized."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.io.camera import Camera
from recon4d.io.lens import Undistortion, undistortion
from recon4d.io.options import ReadOptions
from recon4d.io.read import camera_of, kept_frames, open_source


@dataclass(frozen=True)
class Original:
    """One frame at the input's size."""

    name: str
    """As in `frames.txt` of the result."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB, upright, undistorted."""
    distorted: UInt8[np.ndarray, "height width 3"]
    """The same as it came."""


@dataclass(frozen=True)
class Originals:
    """The frames that a run kept of its input."""

    size: tuple[int, int]
    """(width, height) in pixels."""
    pixel_aspect: float
    """Width over height of a pixel as it is meant to be seen."""
    camera: Camera | None
    """Of the frames as they came; None: nothing was known of it."""
    straight: Camera | None
    """Of the undistorted frames."""
    frames: Callable[[], Iterator[Original]]
    """Starts reading from the first kept frame."""


def open_originals(source: Path, options: ReadOptions, found: Camera | None = None) -> Originals:
    """Open the input of a run again; its first frame tells the size.

    Args:
        source: The input.
        options: Those of the run.
        found: The camera whose lens the run found; None: what is known of it.

    Raises:
        InputError: The input cannot be read, or the options keep none of its frames.
    """
    opened = open_source(source, options)
    first = next(kept_frames(opened.frames(), opened, options), None)
    if first is None:
        raise InputError(
            f"{source} has no frames where the result has some; the input has changed: put the old one back"
        )
    height, width = first.pixels().shape[:2]
    camera = camera_of(opened, options) if found is None else found
    lens: Undistortion | None = None
    if camera is not None and not camera.is_pinhole:
        lens = undistortion(camera, (width, height))

    def frames() -> Iterator[Original]:
        again = open_source(source, options)  # a video that was begun goes on counting its frames
        for frame in kept_frames(again.frames(), again, options):
            pixels = np.ascontiguousarray(frame.pixels())
            yield Original(frame.name, pixels if lens is None else lens.image(pixels), pixels)

    straight = camera if lens is None else lens.camera
    return Originals((width, height), opened.pixel_aspect, camera, straight, frames)
