"""What every exporter gets: chosen frames of a result, at the working size or at the input's."""

import dataclasses
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from recon4d.errors import InputError
from recon4d.export.upsample import Layers, upsample
from recon4d.io.growing import save_array
from recon4d.io.images import write_image
from recon4d.io.options import ReadOptions
from recon4d.io.originals import Originals, open_originals
from recon4d.io.output import writing
from recon4d.io.resize import working_size
from recon4d.io.result import JPEG_QUALITY
from recon4d.options import convert
from recon4d.scene import Reconstruction

UNPOSED = ("lost_frames", "disconnected")
"""Warnings of a result whose frames have poses that were interpolated or guessed, not measured."""
NO_PARALLAX = "no_parallax"
"""Warning of a result of a camera that only turns."""
OTHER_IMAGE = 20.0
"""Mean difference in levels of 255 above which the input's frame is not the one that the run saw; JPEG makes 1 or 2."""
WORKING = "leave --depth-size original out"


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

    result: Reconstruction
    """The chosen frames alone, at the working size."""
    frames: tuple[int, ...]
    """Index in the result of each of them."""
    size: tuple[int, int]
    """(width, height) of the exported images."""
    intrinsics: Float64[np.ndarray, "frames 4"]
    """(fx, fy, cx, cy) in pixels of the exported images, centre of the first pixel at (0.5, 0.5)."""
    views: Callable[[], Iterator[View]]
    """One after the other, in the order of `frames`: at the input's size they would not fit into memory."""

    @property
    def shares_intrinsics(self) -> bool:
        """True where one camera took all frames."""
        return bool((self.intrinsics == self.intrinsics[0]).all())


def unposed_frames(result: Reconstruction) -> tuple[int, ...]:
    """Frames whose pose was not measured, by the warnings in `run.json`."""
    return tuple(sorted({f for code in UNPOSED for f in _warned_frames(result, code)}))


def has_no_parallax(result: Reconstruction) -> bool:
    """True where the camera does not translate: depth is a constant then, not a measurement."""
    return any(warning.get("code") == NO_PARALLAX for warning in _warnings(result))


def _warned_frames(result: Reconstruction, code: str) -> list[int]:
    found = [warning["frames"] for warning in _warnings(result) if warning.get("code") == code]
    return [frame for frames in found for frame in frames]


def _warnings(result: Reconstruction) -> list[dict[str, Any]]:
    warnings = result.run.get("warnings")
    return warnings if isinstance(warnings, list) else []


def at_working_size(result: Reconstruction, frames: tuple[int, ...], folder: Path) -> Export:
    """Export frames as the result folder has them.

    Args:
        result: What is in `folder`.
        frames: Indices of the frames that are exported.
        folder: The result folder, whose image files are copied.
    """
    chosen = _select(result, frames)

    def views() -> Iterator[View]:
        for row, frame in enumerate(frames):
            jpeg = folder / f"images/{frame:06d}.jpg"
            yield View(frame, chosen.images[row], _layers(chosen, row), jpeg)

    return Export(chosen, frames, _size(result), chosen.intrinsics, views)


def at_original_size(result: Reconstruction, frames: tuple[int, ...]) -> Export:
    """Export frames at the size of the input, which is read again; depth and masks are guided by its images.

    Args:
        result: The whole result.
        frames: Indices of the frames that are exported.

    Raises:
        InputError: The input is gone, or is not what it was.
    """
    source, options = _read_options(result.config_toml)
    camera = options.intrinsics if options.intrinsics and "," not in options.intrinsics else None
    for needed in (source, *([Path(camera)] if camera else [])):
        if not needed.exists():
            raise InputError(
                f"{needed}, which the result was made from, does not exist any more; it is needed for --depth-size "
                f"original: put it back, or {WORKING}"
            )
    originals = open_originals(source, options)
    size = _size(result)
    if working_size(originals.size, options.size, originals.pixel_aspect) != size:
        raise InputError(
            f"{source} has frames of {originals.size[0]}x{originals.size[1]} px, which do not become the "
            f"{size[0]}x{size[1]} px of the result; the input has changed: put the old one back, or {WORKING}"
        )
    scale = (originals.size[0] / size[0], originals.size[1] / size[1])
    chosen = _select(result, frames)
    return Export(
        chosen,
        frames,
        originals.size,
        chosen.intrinsics * np.array(scale * 2),
        lambda: _original_views(result, frames, originals, source),
    )


def write_jpeg(view: View, path: Path) -> None:
    """Write the image of a view, or copy it where it is a file already."""
    if view.jpeg is not None:
        with writing(path):
            path.write_bytes(view.jpeg.read_bytes())
        return
    bgr = np.ascontiguousarray(view.image[..., ::-1])
    write_image(path, bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def write_static_mask(view: View, path: Path) -> None:
    """Write a mask as COLMAP and nerfstudio want it: 255 = used, 0 = ignored, which is what moves."""
    write_image(path, np.where(view.layers.is_dynamic, 0, 255).astype(np.uint8))


def write_depth(view: View, folder: Path) -> None:
    """Write `depth/NNNNNN.npy` and `confidence/NNNNNN.png`, as in the result folder but at the size of the view."""
    with writing(folder):
        save_array(folder / f"depth/{view.name}.npy", view.layers.depth)
    write_image(folder / f"confidence/{view.name}.png", view.layers.confidence)


def _original_views(
    result: Reconstruction, frames: tuple[int, ...], originals: Originals, source: Path
) -> Iterator[View]:
    wanted, seen = set(frames), 0
    for index, original in enumerate(originals.frames()):
        if index == len(result.sources):
            break  # an input that has grown is the same up to there
        seen += 1
        if original.name != result.sources[index]:
            raise InputError(
                f"{source}: frame {index} is {original.name}, but {result.sources[index]} in the result; the input has "
                f"changed: put the old one back, or {WORKING}"
            )
        if index in wanted:
            _check_same(original.image, originals.size, result, index, source)
            layers = upsample(_layers(result, index), original.image)
            yield View(index, original.image, layers)
    if seen < len(result.sources):
        raise InputError(
            f"{source} has {seen} frames for the {len(result.sources)} of the result; the input has changed: put the "
            f"old one back, or {WORKING}"
        )


def _check_same(
    image: UInt8[np.ndarray, "height width 3"],
    size: tuple[int, int],
    result: Reconstruction,
    index: int,
    source: Path,
) -> None:
    """Raise an `InputError` where an image is not the one that the run saw."""
    seen = result.images[index]
    small = cv2.resize(image, seen.shape[1::-1], interpolation=cv2.INTER_AREA)
    is_alike = np.abs(small.astype(np.float32) - seen).mean() < OTHER_IMAGE
    if is_alike and image.shape[1::-1] == size:
        return
    raise InputError(
        f"{source}: frame {index} ({result.sources[index]}) does not show what the result has; the input has "
        f"changed: put the old one back, or {WORKING}"
    )


def _read_options(config_toml: str) -> tuple[Path, ReadOptions]:
    """The input of a run, and which of its frames were kept, from `config.toml`."""
    try:
        config: Mapping[str, object] = tomllib.loads(config_toml)
    except tomllib.TOMLDecodeError:
        config = {}
    if not isinstance(config.get("input"), str):
        raise InputError(
            f"the result does not name its input (no config.toml with it), whose images are needed for --depth-size "
            f"original; run recon4d again, or {WORKING}"
        )
    names = [field.name for field in dataclasses.fields(ReadOptions)]
    given = {name: convert(name, config[name]) for name in names if name in config}
    return Path(str(config["input"])), ReadOptions(**given)


def _select(result: Reconstruction, frames: tuple[int, ...]) -> Reconstruction:
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
    )


def _layers(result: Reconstruction, row: int) -> Layers:
    return Layers(result.depth[row], result.confidence[row], result.is_dynamic[row])


def _size(result: Reconstruction) -> tuple[int, int]:
    height, width = result.depth.shape[1:]
    return int(width), int(height)
