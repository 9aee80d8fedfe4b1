"""What a photograph says of its focal length: EXIF's equivalent for 35 mm film.

Numbers here that name no source were set by hand.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from recon4d.io.pictures.files import quiet
from recon4d.io.pictures.kinds import HEIF_SUFFIXES, heif_exif

TIFF_SUFFIXES = frozenset((".tif", ".tiff"))
"""Files whose own entries EXIF is part of."""
EXIF_TAG, FOCAL_35_MM_TAG = 0x8769, 0xA405
"""Where EXIF's entries lie, and the one of a focal length for 35 mm film (a short; 0: not known)."""
SHORT, LONG = 3, 4
"""Kinds of an entry's value."""
FILM_RANGE_MM = (5, 600)
"""What lenses have; programs write 0 and other numbers where nothing is known."""
MOST_BYTES = 1 << 24
"""Of a TIFF file that are looked at; its entries mostly stand first."""


def focal_35mm(path: Path) -> float | None:
    """Focal length that a picture states, millimetres on 35 mm film; None where it states none that can be read."""
    try:
        data = _exif(path)
        order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
        places = dict(_entries(data, order, *struct.unpack_from(f"{order}I", data, 4)))
        found = dict(_entries(data, order, places[EXIF_TAG]))[FOCAL_35_MM_TAG]
    except (OSError, cv2.error, KeyError, struct.error):
        return None
    return float(found) if FILM_RANGE_MM[0] <= found <= FILM_RANGE_MM[1] else None


def _exif(path: Path) -> bytes:
    """A picture's EXIF as TIFF has it; nothing where there is none."""
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    if suffix in HEIF_SUFFIXES:
        return heif_exif(path)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    with quiet():  # the picture comes with it, the smaller the sooner
        _, kinds, parts = cv2.imdecodeWithMetadata(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    found = dict(zip(kinds, parts, strict=True))
    return bytes(found[cv2.IMAGE_METADATA_EXIF].tobytes())


def _entries(data: bytes, order: str, at: int) -> Iterator[tuple[int, int]]:
    """Tag and value of the entries of a TIFF directory that are a short or a long number."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, entry)
        if kind in (SHORT, LONG):
            yield (
                tag,
                *struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", data, entry + 8),
            )
