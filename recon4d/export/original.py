"""Frames at the size of the input, which is read again and must be what it was.

Numbers here that name no source were set by hand.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.export.distorted import Lens
from recon4d.export.upsample import upsample
from recon4d.export.views import Export, View, layers_of, select, size_of
from recon4d.io.camera import Camera
from recon4d.io.memory import refuse_memory
from recon4d.io.options import ReadOptions
from recon4d.io.originals import Originals, open_originals
from recon4d.io.resize import working_size
from recon4d.results.result import Result
from recon4d.settings.text import convert, parse_toml

OTHER_IMAGE = 20.0
"""Mean difference in levels of 255 above which the input's frame is not the one that the run saw; JPEG makes 1 or 2."""
WORKING = "leave --depth-size original out (or --images distorted)"


def at_original_size(
    result: Result, frames: tuple[int, ...], *, is_distorted: bool = False
) -> Export:
    """Export frames at the size of the input, which is read again; depth and masks are guided by its images.

    Args:
        result: The whole result.
        frames: Indices of the frames that are exported.
        is_distorted: Images as they came, with their lens; depth and masks to match.

    Raises:
        InputError: The input is gone, or is not what it was.
    """
    source, options = _read_options(result.config_toml)
    refuse_memory(source)
    camera = options.intrinsics if options.intrinsics and "," not in options.intrinsics else None
    for needed in (source, *([Path(camera)] if camera else [])):
        if not needed.exists():
            raise InputError(
                f"{needed}, which the result was made from, does not exist any more; it is needed for --depth-size "
                f"original: put it back, or {WORKING}"
            )
    originals = open_originals(source, options, found_lens(result.run))
    size = size_of(result)
    if working_size(originals.size, options.size, originals.pixel_aspect) != size:
        raise InputError(
            f"{source} has frames of {originals.size[0]}x{originals.size[1]} px, which do not become the "
            f"{size[0]}x{size[1]} px of the result; the input has changed: put the old one back, or {WORKING}"
        )
    scale = (originals.size[0] / size[0], originals.size[1] / size[1])
    chosen = select(result, frames)
    lens = None
    if is_distorted and originals.camera and originals.straight:
        lens = Lens(originals.camera, originals.straight, originals.size)
    return Export(
        chosen,
        frames,
        originals.size,
        chosen.intrinsics * np.array(scale * 2),
        lambda: _original_views(result, frames, originals, source, lens),
        lens=lens,
    )


def found_lens(run: Mapping[str, object]) -> Camera | None:
    """The input's camera where the run found its lens.

    Raises:
        InputError: `run.json` does not tell it.
    """
    lens = run.get("lens")
    if not isinstance(lens, Mapping) or lens.get("source") != "estimated" or "camera" not in lens:
        return None
    try:
        fx, fy, cx, cy, *terms = (float(value) for value in (*lens["camera"], *lens["terms"]))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            "run.json: the numbers of the lens are damaged, which is needed for --depth-size original: copy the result "
            f"folder again, or {WORKING}"
        ) from error
    padded = tuple(terms) + (0.0,) * (4 - len(terms))
    is_fisheye = lens.get("model") == "fisheye"
    return Camera(fx, fy, cx, cy, padded, is_fisheye, origin="the lens that was found")


def _original_views(
    result: Result,
    frames: tuple[int, ...],
    originals: Originals,
    source: Path,
    lens: Lens | None,
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
            layers = upsample(layers_of(result, index), original.image)
            if lens is None:
                yield View(index, original.image, layers)
            else:
                yield View(index, original.distorted, lens.layers(layers))
    if seen < len(result.sources):
        raise InputError(
            f"{source} has {seen} frames for the {len(result.sources)} of the result; the input has changed: put the "
            f"old one back, or {WORKING}"
        )


def _check_same(
    image: UInt8[np.ndarray, "height width 3"],
    size: tuple[int, int],
    result: Result,
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
        config: Mapping[str, object] = parse_toml(config_toml)
    except (ValueError, RecursionError):
        config = {}
    if not isinstance(config.get("input"), str):
        raise InputError(
            f"the result does not name its input (no config.toml with it), whose images are needed for --depth-size "
            f"original; run recon4d again, or {WORKING}"
        )
    names = [field.name for field in dataclasses.fields(ReadOptions)]
    given = {name: convert(name, config[name]) for name in names if name in config}
    return Path(str(config["input"])), ReadOptions(**given)
