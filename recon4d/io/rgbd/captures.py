"""RGB-D folders as capture apps leave them: colour and depth images in two folders, without lists."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.scene import Notice
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.files import list_images
from recon4d.io.pictures.folder import open_image_folder
from recon4d.io.rgbd.folder_names import COLOUR_NAMES, DEPTH_NAMES, subfolder
from recon4d.io.rgbd.tum import read_depth_m
from recon4d.io.rgbd.unit import find_depth_unit


def is_capture_folder(folder: Path) -> bool:
    """True for a folder with a folder of colour images and one of depth, and no images beside them."""
    colour, depth = subfolder(folder, COLOUR_NAMES), subfolder(folder, DEPTH_NAMES)
    return bool(colour and depth and list_images(colour) and not list_images(folder))


def open_capture_folder(folder: Path, options: ReadOptions) -> Source:
    """Look at the two folders; depth is touched only where the options ask for it.

    Raises:
        InputError: There are no depth images that can be read, or they cannot be matched to the colour images.
    """
    colour, depth = subfolder(folder, COLOUR_NAMES), subfolder(folder, DEPTH_NAMES)
    assert colour is not None and depth is not None
    pictures = open_image_folder(colour, options.fps)
    camera_file = folder / "intrinsics.txt"
    opened = dataclasses.replace(
        pictures,
        path=folder,
        kind="rgbd",
        has_depth=True,
        camera_file=camera_file if camera_file.is_file() else None,
    )
    if not options.with_depth:
        return opened
    names = [frame.name for frame in pictures.frames()]
    partners = match_depth(names, _depth_images(depth), folder)
    unit = find_depth_unit([path for path in partners if path], options.depth_factor)

    def frames() -> Iterator[SourceFrame]:
        for frame, path in zip(pictures.frames(), partners, strict=True):
            read = partial(read_depth_m, path, unit.factor) if path else None
            yield dataclasses.replace(frame, depth=read)

    def notices() -> tuple[Notice, ...]:
        return (*pictures.notices(), *unit.notices)

    return dataclasses.replace(opened, frames=frames, notices=notices, depth_factor=unit.factor)


def match_depth(names: Sequence[str], depths: Sequence[Path], folder: Path) -> list[Path | None]:
    """The depth image of each colour image: of the same name, else of the same last number, else of the same rank.

    Args:
        names: File names of the colour images, in order.
        depths: The depth images, in order.
        folder: Named in messages.

    Raises:
        InputError: Neither names nor numbers of images agree.
    """
    by_stem = {path.stem: path for path in depths}
    if any(Path(name).stem in by_stem for name in names):
        return [by_stem.get(Path(name).stem) for name in names]
    numbers = [_number(name) for name in names]
    by_number = {_number(path.name): path for path in depths}
    is_clear = len(set(numbers)) == len(names) and len(by_number) == len(depths)
    if is_clear and set(by_number) <= set(numbers):
        return [by_number.get(number) for number in numbers]
    if len(names) == len(depths):
        return list(depths)
    raise InputError(
        f"{folder} has {len(names)} colour images ({names[0]}, ...) and {len(depths)} depth images ({depths[0].name}, "
        "...), and their names do not match; name them alike, or write rgb.txt and depth.txt with 'timestamp filename'"
    )


def _depth_images(folder: Path) -> list[Path]:
    paths = list_images(folder)
    if not paths:
        kinds = sorted({path.suffix.lower() for path in folder.iterdir() if path.is_file()})
        found = f"{', '.join(kinds)} files" if kinds else "nothing"
        raise InputError(
            f"{folder} holds {found}, but no depth images; 16-bit PNG files were needed, named like the colour images: "
            "convert them, or leave --geometry rgbd out"
        )
    return paths


def _number(name: str) -> str:
    """The last number in a name without its leading zeros, for `color_0012.jpg` and `depth_12.png`; or nothing."""
    found = re.findall(r"\d+", Path(name).stem)
    return found[-1].lstrip("0") or "0" if found else ""
