"""The files of a result folder, strictly: nothing is decoded or allocated before its header fits to the result.

Numbers here that name no source were set by hand.
"""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import read_image
from recon4d.results.run_file import DAMAGED

_NPY = re.compile(
    rb"\{'descr': '([^']{1,8})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? *\} *\n"
)
"""Header of an array of numbers, as numpy writes it; one of Python objects or records is none."""
_LONGEST_HEADER = 4096
"""Bytes of a header that are read; that of a map has about 100."""
_NPY_PREFIX = 10
"""Bytes of an `.npy` file before its header, version 1.0."""
_PNG_SIZE = slice(16, 24)
"""Bytes of a PNG file that hold width and height."""
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_JPEG_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG segments that hold the size."""
LARGEST_NUMBER = 1e12
"""Of a position or a depth, in its unit: beyond, single precision's squares are of no use to a viewer."""


@dataclass(frozen=True)
class Wanted:
    """What an `.npy` file of a result must hold."""

    dtype: type[np.generic]
    shape: tuple[int, ...]


def damaged(path: Path, found: str) -> InputError:
    """The error about a file of a result."""
    return InputError(f"{path} {found}; {DAMAGED}")


def check_array(path: Path, *choices: Wanted) -> tuple[Wanted, int, bool]:
    """Check an `.npy` file by its header and its length.

    Returns:
        The choice that it is; where its values begin; whether the first axis is the fastest.

    Raises:
        InputError: It cannot be read, is no array of numbers, or none of the choices.
    """
    head, length = _head(path, _NPY_PREFIX + _LONGEST_HEADER)
    if head[:8] != b"\x93NUMPY\x01\x00" or len(head) < _NPY_PREFIX:
        raise damaged(path, "is no array of numpy's format 1.0")
    begin = _NPY_PREFIX + struct.unpack("<H", head[8:_NPY_PREFIX])[0]
    header = _NPY.fullmatch(head[_NPY_PREFIX:begin])
    if header is None:
        raise damaged(path, "is no plain array of numbers")
    shape = tuple(int(word) for word in header[3].split(b",") if word.strip())
    for wanted in choices:
        dtype = np.dtype(wanted.dtype)
        if (header[1].decode("latin-1"), shape) == (dtype.str, wanted.shape):
            needed = begin + dtype.itemsize * int(np.prod(shape))
            if length != needed:
                raise damaged(path, f"has {length} bytes, {needed} were needed")
            return wanted, begin, header[2] == b"True"
    needs = " or ".join(f"{np.dtype(w.dtype)} {w.shape}" for w in choices)
    kind = header[1].decode("latin-1")
    raise damaged(path, f"holds {_kind(kind)} {shape}, {needs} was needed")


def _kind(descr: str) -> str:
    try:
        return str(np.dtype(descr))
    except TypeError:
        return "no numbers"


def read_array(path: Path, *choices: Wanted) -> np.ndarray:
    """Read an `.npy` file that `check_array` accepts."""
    wanted, begin, is_fortran = check_array(path, *choices)
    try:
        values = np.fromfile(path, wanted.dtype, offset=begin)
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from error
    found: np.ndarray = values.reshape(wanted.shape, order="F" if is_fortran else "C")
    return found


def check_picture(path: Path, size: tuple[int, int]) -> None:
    """Raise an `InputError` where a PNG or JPEG file has another size (width, height), or has lost its end."""
    head, length = _head(path, 1 << 20)
    found = _png_size(head) if path.suffix == ".png" else _jpeg_size(head)
    if found is None:
        raise damaged(path, f"is no {path.suffix[1:].upper()} image")
    if found != size:
        raise damaged(
            path, f"has {found[0]}x{found[1]} px, the other images {size[0]}x{size[1]} px"
        )
    end = _PNG_END if path.suffix == ".png" else _JPEG_END
    with path.open("rb") as file:
        file.seek(-min(len(end), length), os.SEEK_END)
        if file.read() != end:
            raise damaged(path, "is cut off: its end is not that of an image")


def read_colors(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Read an image of a result as RGB."""
    check_picture(path, size)
    return _decoded(path, size, cv2.IMREAD_COLOR)[..., ::-1]


def read_grey(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """Read a picture of a result that has one channel of 8 bits."""
    check_picture(path, size)
    pixels = _decoded(path, size, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise damaged(
            path,
            f"has {pixels.dtype} pixels of {pixels.shape[2] if pixels.ndim == 3 else 1} channels, one of uint8 was "
            "needed",
        )
    return pixels


def _decoded(path: Path, size: tuple[int, int], flags: int) -> np.ndarray:
    try:
        pixels = read_image(path, flags)
    except InputError as error:
        raise damaged(path, "is no image that can be decoded") from error
    if pixels.shape[1::-1] != size:
        raise damaged(
            path,
            f"has {pixels.shape[1]}x{pixels.shape[0]} px, the other images {size[0]}x{size[1]} px",
        )
    return pixels


def _head(path: Path, count: int) -> tuple[bytes, int]:
    """First bytes of a file, and its length."""
    if not path.is_file():
        raise damaged(
            path, "is a folder or device" if path.exists() else "cannot be read: it is not there"
        )
    try:
        with path.open("rb") as file:
            return file.read(count), path.stat().st_size
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror})") from error


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < _PNG_SIZE.stop:
        return None
    width, height = struct.unpack(">II", head[_PNG_SIZE])
    return width, height


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Walk over the segments up to the one that has the size."""
    at = 2
    if head[:2] != b"\xff\xd8":
        return None
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", head[at + 2 : at + 4])[0]
    return None


def check_count(folder: Path, suffix: str, count: int) -> None:
    """Raise an `InputError` where a folder lacks the file of a frame, or has one of a frame that is not there.

    Files of other names are the user's own.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise damaged(folder, f"cannot be read ({error.strerror})") from error
    wanted = {f"{index:06d}{suffix}" for index in range(count)}
    missing = sorted(wanted - names)
    if missing:
        raise damaged(folder / missing[0], "cannot be read: it is not there")
    frames = (name for name in names - wanted if re.fullmatch(rf"\d{{6,}}{suffix}", name))
    extra = next(iter(sorted(frames)), None)
    if extra is not None:
        raise damaged(folder / extra, f"is of a frame that frames.txt, with {count}, does not have")
