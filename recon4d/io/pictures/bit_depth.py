"""Pictures of 16 bits per channel that use fewer: cameras store 10 to 14 bits in files of 16.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice
from recon4d.io.pictures.files import read_image, read_rgb

LOOKED_AT = 8
"""Pictures of a sequence, spread evenly, whose largest value tells how many bits are used."""
USUAL_BITS = (8, 10, 12, 14, 16)
"""Bits per channel that sensors and programs write."""

Reader = Callable[[Path], np.ndarray]


def colour_reader(paths: Sequence[Path]) -> tuple[Reader, tuple[Notice, ...]]:
    """How the pictures of a sequence are read as uint8 RGB, all alike, and what is said about it."""
    bits = used_bits(paths)
    if bits in (None, 16):
        return read_rgb, ()
    message = (
        f"The pictures have 16 bits per channel, but use {bits} ({paths[0].name}, ...): they are stretched to the full "
        "range."
    )
    return partial(_read_bits, bits), (Notice("bits_stretched", message),)


def used_bits(paths: Sequence[Path]) -> int | None:
    """Bits per channel that a sequence of 16-bit pictures uses; None where the first has 8 bits."""
    if _largest(paths[0]) is None:
        return None
    chosen = spread_evenly(len(paths), LOOKED_AT)
    largest = max(_largest(paths[int(index)]) or 0 for index in chosen)
    return next(bits for bits in USUAL_BITS if largest < 1 << bits)


def _largest(path: Path) -> int | None:
    pixels = read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return int(pixels.max()) if pixels.dtype == np.uint16 else None


def _read_bits(bits: int, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    pixels = read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels.dtype == np.uint16:
        pixels = np.minimum(pixels >> (bits - 8), 255).astype(np.uint8)
    return pixels[..., ::-1]
