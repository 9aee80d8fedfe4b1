"""What every exporter gets: chosen frames of a result, one after the other."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from recon4d.core.arrays import save_array
from recon4d.core.files import writing
from recon4d.export.distorted import Lens
from recon4d.export.upsample import Layers
from recon4d.io.camera import Camera
from recon4d.io.pictures.files import write_image
from recon4d.results.folder import JPEG_QUALITY
from recon4d.results.result import Result

UNPOSED = ("lost_frames", "disconnected")
"""Warnings of a result whose frames have poses that were interpolated or guessed, not measured."""
NO_PARALLAX = "no_parallax"
"""Warning of a result of a camera that only turns."""


@dataclass(frozen=True)
class View:
    """One frame as it is exported."""

    frame: int
    """Index in the result."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    layers: Layers
    jpeg: Path | None = None
    """The file that has exactly this image, to be copied rather than compressed again."""

    @property
    def name(self) -> str:
        """Six digits, as in the result folder."""
        return f"{self.frame:06d}"


@dataclass(frozen=True)
class Export:
    """What is exported."""

    result: Result
    """The chosen frames alone, at the working size."""
    frames: tuple[int, ...]
    """Index in the result of each of them."""
    size: tuple[int, int]
    """(width, height) of the exported images."""
    intrinsics: Float64[np.ndarray, "frames 4"]
    """(fx, fy, cx, cy) in pixels of the exported images, of their undistorted view where they have a lens; centre of
    the first pixel at (0.5, 0.5)."""
    views: Callable[[], Iterator[View]]
    """One after the other, in the order of `frames`: at the input's size they would not fit into memory."""
    draws_cameras: bool = True
    """Whether cameras and their path are drawn as lines, in formats that hold drawings."""
    lens: Lens | None = None
    """Of images that are exported as they came; None: they are undistorted."""

    def camera(self, row: int) -> Camera:
        """What took an exported image."""
        if self.lens is not None:
            return self.lens.seen_with(self.intrinsics[row])
        fx, fy, cx, cy = self.intrinsics[row].tolist()
        return Camera(fx, fy, cx, cy, size=self.size)

    @property
    def shares_intrinsics(self) -> bool:
        """True where one camera took all frames."""
        return bool((self.intrinsics == self.intrinsics[0]).all())


def unposed_frames(result: Result) -> tuple[int, ...]:
    """Frames whose pose was not measured, by the warnings in `run.json`."""
    return tuple(sorted({f for code in UNPOSED for f in _warned_frames(result, code)}))


def has_no_parallax(result: Result) -> bool:
    """True where the camera does not translate: depth is a constant then, not a measurement."""
    return any(warning.get("code") == NO_PARALLAX for warning in _warnings(result))


def _warned_frames(result: Result, code: str) -> list[int]:
    found = [warning["frames"] for warning in _warnings(result) if warning.get("code") == code]
    return [frame for frames in found for frame in frames]


def _warnings(result: Result) -> list[dict[str, Any]]:
    warnings = result.run.get("warnings")
    return warnings if isinstance(warnings, list) else []


def at_working_size(result: Result, frames: tuple[int, ...], folder: Path | None) -> Export:
    """Export frames as the result folder has them.

    Args:
        result: What is in `folder`.
        frames: Indices of the frames that are exported.
        folder: The result folder, whose image files are copied; None: there are none of these images.
    """
    chosen = select(result, frames)

    def views() -> Iterator[View]:
        for row, frame in enumerate(frames):
            jpeg = None if folder is None else folder / f"images/{frame:06d}.jpg"
            yield View(frame, chosen.images[row], layers_of(chosen, row), jpeg)

    return Export(chosen, frames, size_of(result), chosen.intrinsics, views)


def write_jpeg(view: View, path: Path) -> None:
    """Write the image of a view, or copy it where it is a file already."""
    if view.jpeg is not None:
        with writing(path):
            path.write_bytes(view.jpeg.read_bytes())
        return
    bgr = np.ascontiguousarray(view.image[..., ::-1])
    write_image(path, bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def write_static_mask(view: View, path: Path) -> None:
    """Write a mask as COLMAP and nerfstudio want it: 255 = used, 0 = ignored: what moves, and what is overlay."""
    ignored = view.layers.is_dynamic | (view.layers.depth <= 0)
    write_image(path, np.where(ignored, 0, 255).astype(np.uint8))


def write_depth(view: View, folder: Path) -> None:
    """Write `depth/NNNNNN.npy` and `confidence/NNNNNN.png`, as in the result folder but at the size of the view."""
    with writing(folder):
        save_array(folder / f"depth/{view.name}.npy", view.layers.depth)
    write_image(folder / f"confidence/{view.name}.png", view.layers.confidence)


def select(result: Result, frames: tuple[int, ...]) -> Result:
    """The given frames of a result alone."""
    if len(frames) == len(result.sources):
        return result
    chosen = list(frames)
    return dataclasses.replace(
        result,
        world_from_cam=result.world_from_cam[chosen],
        intrinsics=result.intrinsics[chosen],
        timestamps_s=result.timestamps_s[chosen],
        sources=tuple(result.sources[frame] for frame in chosen),
        images=result.images[chosen],
        depth=result.depth[chosen],
        confidence=result.confidence[chosen],
        is_dynamic=result.is_dynamic[chosen],
        tracks=None if result.tracks is None else result.tracks.of(chosen),
    )


def layers_of(result: Result, row: int) -> Layers:
    """Depth, confidence and mask of a frame."""
    return Layers(result.depth[row], result.confidence[row], result.is_dynamic[row])


def size_of(result: Result) -> tuple[int, int]:
    """(width, height) of the working size."""
    height, width = result.depth.shape[1:]
    return int(width), int(height)


@dataclass(frozen=True)
class Exporter:
    """One format."""

    write: Callable[[Export, Path], None]
    """Fills an empty folder."""
    has_images: bool = False
    """Its images, masks and depth can be at the input's size."""
    is_sparse: bool = False
    """For programs that trust every pose: frames whose pose was not measured are left out."""
    has_space: bool = True
    """It holds points or poses: what of them was not measured is named."""
    has_lines: bool = False
    """Cameras and their path can be drawn as lines."""
    file: str | None = None
    """The one file of the format, which can be given another name; None: it is a folder."""
