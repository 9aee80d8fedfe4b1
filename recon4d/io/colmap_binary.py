"""COLMAP's `cameras.bin`, as the lines of its `cameras.txt`."""

import struct
from pathlib import Path

from recon4d.core.errors import InputError

MODELS = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
)
"""Name and number of parameters of each model, by its number in the file (COLMAP's documentation)."""
MOST_CAMERAS = 100_000
"""A file that states more is damaged."""


def lines_of_binary(path: Path) -> list[str]:
    """The cameras of a `cameras.bin`.

    Raises:
        InputError: It cannot be read, or is none.
    """
    damaged = f"{path} is no cameras.bin of COLMAP, or is damaged; export the model as text, and give its cameras.txt"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    try:
        (count,), at, lines = struct.unpack_from("<Q", data), 8, []
        for _ in range(min(count, MOST_CAMERAS)):
            number, model, width, height = struct.unpack_from("<iiQQ", data, at)
            if not 0 <= model < len(MODELS):
                raise InputError(damaged)
            name, parameters = MODELS[model]
            values = struct.unpack_from(f"<{parameters}d", data, at + 24)
            at += 24 + 8 * parameters
            lines.append(f"{number} {name} {width} {height} {' '.join(map(repr, values))}")
    except struct.error as error:
        raise InputError(damaged) from error
    if at != len(data):
        raise InputError(damaged)
    return lines
