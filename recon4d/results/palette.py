"""Pictures of object ids: PNG files with a palette, so that what shows them shows colours, and what reads them ids."""

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from recon4d.core.files import writing

_LEVEL = 1
"""Of zlib: areas of one id are small anyway."""


def _palette() -> UInt8[np.ndarray, "256 3"]:
    """RGB of every id: the bits of the id, spread over the upper bits of the channels; black is 0."""
    ids = np.arange(256)
    channels = [sum(((ids >> (3 * k + c)) & 1) << (7 - k) for k in range(3)) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


PALETTE = _palette()
"""RGB of every id; 0, the static world, is black."""


def write_ids(path: Path, ids: UInt8[np.ndarray, "height width"]) -> None:
    """Write a PNG file whose values are ids, with `PALETTE`."""
    height, width = ids.shape
    rows = np.concatenate((np.zeros((height, 1), np.uint8), ids), axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", PALETTE.tobytes()))
    data = ((b"IDAT", zlib.compress(rows.tobytes(), _LEVEL)), (b"IEND", b""))
    with writing(path):
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in (*parts, *data)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ids_of(pixels: np.ndarray) -> UInt8[np.ndarray, "height width"] | None:
    """The ids of a picture as OpenCV decodes it: grey levels, or the palette's colours in BGR; None: neither."""
    if pixels.dtype != np.uint8:
        return None
    if pixels.ndim == 2:
        return pixels
    weights = np.array([1, 256, 65536])
    colours = PALETTE[:, ::-1].astype(np.int64) @ weights
    order = np.argsort(colours)
    found = pixels[..., :3].astype(np.int64) @ weights
    at = np.searchsorted(colours[order], found).clip(0, 255)
    return order[at].astype(np.uint8) if (colours[order][at] == found).all() else None
