"""Kinds of picture files: those that OpenCV reads, those that an optional package reads, and those that are named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon4d.core.errors import InputError, MissingDependencyError
from recon4d.core.scene import Notice

OPENCV_SUFFIXES = frozenset(
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
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
"""Photographs of telephones and of some cameras: what pillow-heif reads."""
OTHER_SUFFIXES = frozenset(
    (
        ".avif",
        ".jxl",
        ".gif",
        ".tga",
        ".exr",
        ".hdr",
        ".psd",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".nrw",
        ".arw",
        ".raf",
        ".orf",
        ".rw2",
        ".pef",
        ".srw",
        ".raw",
    )
)
"""Pictures that are not read."""
IMAGE_SUFFIXES = OPENCV_SUFFIXES | HEIF_SUFFIXES


def read_heif(path: Path) -> np.ndarray:
    """Read a HEIF photograph as uint8 RGB, upright.

    Raises:
        MissingDependencyError: pillow-heif is not installed.
        InputError: The file cannot be read.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a HEIF picture, and pillow-heif, which reads them, is not installed: pip install "
            "'recon4d[heic]', or convert them to JPEG"
        ) from error
    try:
        picture = pillow_heif.open_heif(str(path)).to_pillow().convert("RGB")
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise InputError(
            f"{path} is not a HEIF picture that can be read ({error}); restore or remove the file"
        ) from error
    return np.asarray(picture)


def heif_exif(path: Path) -> bytes:
    """EXIF of a HEIF photograph as TIFF has it; nothing where it has none, or pillow-heif is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return b""
    try:
        found: bytes = pillow_heif.open_heif(str(path)).info.get("exif") or b""
    except (OSError, ValueError, SyntaxError, RuntimeError):
        return b""
    return found.removeprefix(b"Exif\0\0")


def left_out(folder: Path, taken: Sequence[Path]) -> tuple[Notice, ...]:
    """Say which pictures of a folder are not read; a raw file beside its JPEG is the same picture."""
    stems = {path.stem for path in taken}
    found = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in OTHER_SUFFIXES and path.stem not in stems and path.is_file()
    )
    if not found:
        return ()
    names = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    message = (
        f"{len(found)} pictures of {folder.name} are of a kind that recon4d does not read and are left out ({names}): "
        "convert them to PNG or JPEG if they belong to the sequence."
    )
    return (Notice("pictures_left_out", message),)
