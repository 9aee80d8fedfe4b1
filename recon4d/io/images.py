"""Image files, and folders of them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from recon4d.errors import InputError
from recon4d.io.folder_names import COLOUR_NAMES, DEPTH_NAMES, subfolder
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.options import FOLDER_FPS
from recon4d.io.output import writing

IMAGE_SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pnm",
        ".jp2",
    )
)
"""What OpenCV's wheels read."""
TIME_NAME = re.compile(r"\d+\.\d+")
"""A file name (without its suffix) that is a time in seconds."""


def natural_key(name: str) -> list[str | int]:
    """Sort key under which `frame10` follows `frame9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts]


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order; hidden files are not the user's."""
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}); change its permissions, or give another folder"
        ) from error
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(images, key=lambda path: natural_key(path.name))


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read an image file as OpenCV does (BGR order).

    Args:
        path: The file.
        flags: By default 8-bit colour, upright, from any bit depth, grey or RGBA.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); an image was needed: restore the file"
        ) from error
    with _quiet():
        pixels = cv2.imdecode(data, flags) if data.size else None
    if pixels is None:
        raise InputError(
            f"{path} is not an image that can be read ({data.size} bytes); a complete 8-bit or 16-bit image was "
            "needed: restore or remove the file"
        )
    return pixels


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as uint8 RGB (height, width, 3)."""
    return read_image(path)[..., ::-1]


def write_image(
    path: Path, pixels: np.ndarray, parameters: Sequence[int] = (), suffix: str | None = None
) -> None:
    """Write an image file as OpenCV does (BGR order); what cannot be written is an error.

    Args:
        path: The file.
        pixels: (height, width) or (height, width, 3), of a type that the format can hold.
        parameters: OpenCV's settings of the format, each followed by its value.
        suffix: Names the format; that of the file if not given.
    """
    is_encoded, data = cv2.imencode(suffix or path.suffix, pixels, list(parameters))
    if not is_encoded:
        raise InputError(
            f"{path}: an image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be stored in this format; choose a "
            "smaller --size"
        )
    with writing(path):
        path.write_bytes(data.tobytes())


def open_image_folder(folder: Path, fps: float | None) -> Source:
    """Look at a folder of images; `fps` is its rate where the file names tell no times."""
    paths = list_images(folder)
    if not paths:
        raise InputError(f"{folder} holds no images; {_what_it_has(folder)}")
    is_timed = all(TIME_NAME.fullmatch(path.stem) for path in paths)
    if is_timed:
        paths = sorted(paths, key=lambda path: float(path.stem))
        times_s = [float(path.stem) for path in paths]
        check_times(times_s, [path.name for path in paths], folder)
    else:
        times_s = [index / (fps or FOLDER_FPS) for index in range(len(paths))]

    def frames() -> Iterator[SourceFrame]:
        for index, (path, time_s) in enumerate(zip(paths, times_s, strict=True)):
            yield SourceFrame(index, time_s, path.name, partial(read_rgb, path))

    return Source(
        folder,
        kind="images",
        is_timed=is_timed,
        expected_frames=len(paths),
        frames=frames,
        notices=lambda: (),
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own messages about unreadable files from the screen: ours says it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
