"""Folders of images as an input: their order, times and bit depth."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.options import FOLDER_FPS
from recon4d.io.pictures.bit_depth import colour_reader
from recon4d.io.pictures.exif import focal_35mm
from recon4d.io.pictures.files import list_images
from recon4d.io.pictures.kinds import IMAGE_SUFFIXES, left_out
from recon4d.io.pictures.names import times_of
from recon4d.io.rgbd.folder_names import COLOUR_NAMES, DEPTH_NAMES, subfolder


def open_image_folder(folder: Path, fps: float | None) -> Source:
    """Look at a folder of images; `fps` is its rate where the file names tell no times."""
    paths = list_images(folder)
    if not paths:
        raise InputError(f"{folder} holds no images; {_what_it_has(folder)}")
    times_s = times_of([path.stem for path in paths])
    is_timed = times_s is not None
    if times_s is None:
        times_s = [index / (fps or FOLDER_FPS) for index in range(len(paths))]
    else:
        order = sorted(range(len(paths)), key=times_s.__getitem__)
        paths, times_s = [paths[at] for at in order], [times_s[at] for at in order]
        check_times(times_s, [path.name for path in paths], folder)
    read, said = colour_reader(paths)
    notices = (*said, *left_out(folder, paths))

    def frames() -> Iterator[SourceFrame]:
        for index, (path, time_s) in enumerate(zip(paths, times_s, strict=True)):
            yield SourceFrame(index, time_s, path.name, partial(read, path))

    return Source(
        folder,
        kind="images",
        is_timed=is_timed,
        expected_frames=len(paths),
        frames=frames,
        notices=lambda: notices,
        focal_35mm=focal_35mm(paths[0]),
    )


def check_times(times_s: list[float], names: list[str], where: Path) -> None:
    """Raise an `InputError` where two sorted times are equal."""
    for index in range(1, len(times_s)):
        if times_s[index] == times_s[index - 1]:
            raise InputError(
                f"{where}: {names[index - 1]} and {names[index]} have the same time {times_s[index]:g} s; every frame "
                "needs its own: remove one of them"
            )


def _what_it_has(folder: Path) -> str:
    """Say what to give instead, from what the folder holds."""
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and list_images(path)]
    subfolders = [path for path in inside if path.name.lower() not in DEPTH_NAMES]
    if inside and not subfolders:
        return (
            f"its folder {inside[0].name} holds depth images: colour images are needed beside it, in a folder "
            f"{COLOUR_NAMES[0]} with the same names"
        )
    colours = subfolder(folder, COLOUR_NAMES)
    if colours in subfolders:
        subfolders = [colours]
    if subfolders:
        count = len(list_images(subfolders[0]))
        return f"its folder {subfolders[0].name} holds {count}: give {subfolders[0]}"
    return f"give a video file, or a folder with {', '.join(sorted(IMAGE_SUFFIXES))} files"
