"""Image files: which there are, reading and writing them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.io.pictures.kinds import HEIF_SUFFIXES, IMAGE_SUFFIXES, read_heif
from recon4d.io.pictures.names import natural_key


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
    if path.suffix.lower() in HEIF_SUFFIXES and not _is_jpeg(data):
        return read_heif(path)[..., ::-1]
    pixels = _decoded(path, data, flags)
    if pixels is None:
        raise InputError(
            f"{path} is not an image that can be read ({data.size} bytes); a complete 8-bit or 16-bit image was "
            "needed: restore or remove the file"
        )
    return pixels


def _is_jpeg(data: np.ndarray) -> bool:
    """A JPEG, whatever its name says: telephones that convert pictures when they are copied keep the old name."""
    return data[:3].tobytes() == b"\xff\xd8\xff"


def _decoded(path: Path, data: np.ndarray, flags: int) -> np.ndarray | None:
    try:
        with quiet():
            return cv2.imdecode(data, flags) if data.size else None
    except (cv2.error, MemoryError) as error:
        raise InputError(
            f"{path} cannot be decoded: it claims more pixels than OpenCV (2^30) or the memory takes; make "
            "it smaller, or restore it"
        ) from error


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
    try:
        with quiet():
            is_encoded, data = cv2.imencode(suffix or path.suffix, pixels, list(parameters))
    except cv2.error:  # some formats say so in this way
        is_encoded, data = False, np.empty(0, np.uint8)
    if not is_encoded:
        raise InputError(
            f"{path}: an image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be stored in this format; choose a "
            "smaller --size"
        )
    with writing(path):
        path.write_bytes(data.tobytes())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV's own messages about unreadable files from the screen: ours says it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
