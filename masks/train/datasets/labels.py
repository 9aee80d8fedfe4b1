"""Reading images whose values are labels: the index of a palette PNG and not its colour, levels of grey, colours."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Int64

from recon4d.core.errors import InputError
from recon4d.io.masks.values import LOSSY_SUFFIXES, LOSSY_THRESHOLD
from recon4d.io.pictures.files import read_image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE_AT = 25
"""Byte of a PNG file that holds its colour type (PNG specification, 11.2.2)."""
PALETTE = 3
"""Colour type of a palette PNG."""


def read_foreground(path: Path) -> Bool[np.ndarray, "height width"]:
    """Read which pixels have a label that is not 0; in lossy files, which are in the brighter half of the range."""
    if path.suffix.lower() in LOSSY_SUFFIXES:
        return np.asarray(read_image(path, cv2.IMREAD_GRAYSCALE) > LOSSY_THRESHOLD)
    return np.asarray(read_labels(path) != 0)


def read_labels(path: Path) -> Int64[np.ndarray, "height width"]:
    """Read one number per pixel: the index of a palette PNG, the level of grey, or 65536 red + 256 green + blue.

    A channel of opacity does not count.
    """
    if _is_palette_png(path):
        return _palette_indices(path)
    stored = read_image(path, cv2.IMREAD_UNCHANGED).astype(np.int64)
    if stored.ndim == 2:
        return stored
    if stored.shape[2] < 3:  # grey with opacity
        return stored[..., 0]
    blue, green, red = (stored[..., channel] for channel in range(3))
    return (red << 16) + (green << 8) + blue


def _is_palette_png(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(COLOUR_TYPE_AT + 1)
    except OSError:
        return False  # read_image says why
    is_png = head.startswith(PNG_SIGNATURE) and len(head) > COLOUR_TYPE_AT
    return is_png and head[COLOUR_TYPE_AT] == PALETTE


def _palette_indices(path: Path) -> Int64[np.ndarray, "height width"]:
    """Decode a palette PNG whose palette was replaced by a ramp of grey, so that each colour is its own index."""
    data = _with_grey_ramp(path.read_bytes())
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise InputError(
            f"{path} is not a complete palette PNG; an image of labels was needed: restore the file"
        )
    return np.asarray(pixels[..., 0], np.int64)


def _with_grey_ramp(data: bytes) -> bytes:
    """Replace the palette of a PNG and leave out its opacities; nothing where the file is cut off."""
    parts, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"PLTE":
            body = bytes(level for level in range(length // 3) for _ in range(3))
        if kind != b"tRNS":
            check = struct.pack(">I", zlib.crc32(kind + body))
            parts += [struct.pack(">I", len(body)), kind, body, check]
        if kind == b"IEND" and at <= len(data):
            return b"".join(parts)
    return b""
