"""A contact sheet: the previews of many results on one picture."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import read_rgb, write_image
from recon4d.results.preview import BACKGROUND, TEXT, write_text

COLUMNS = 2
"""Previews beside each other."""
WIDTH_PX, HEADING_PX, GAP_PX = 960, 34, 12
"""Of every preview, of the line above it, and between two."""
TEXT_PX, LINE_LETTERS = 18, 100
"""Size of letters, and letters in a line."""

Image = UInt8[np.ndarray, "height width 3"]


def write_sheet(path: Path, shown: Mapping[str, Path | str]) -> None:
    """Write the sheet.

    Args:
        path: Where to, a PNG.
        shown: By name, the preview of a clip, or what is said where there is none.
    """
    tiles = [_tile(name, what) for name, what in shown.items()]
    rows = [_row(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.concatenate(rows)[..., ::-1])


def _tile(name: str, what: Path | str) -> Image:
    if isinstance(what, Path):
        try:
            picture = read_rgb(what)
        except InputError as error:
            return _tile(name, str(error).replace(str(what), what.name))
        height = max(1, round(picture.shape[0] * WIDTH_PX / picture.shape[1]))
        small = cv2.resize(picture, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    else:
        lines = wrap(what, LINE_LETTERS)
        small = _ground(HEADING_PX * (len(lines) + 1), WIDTH_PX)
        for at, line in enumerate(lines):
            write_text(small, line, (GAP_PX, HEADING_PX * (at + 1)), TEXT_PX)
    heading = _ground(HEADING_PX, WIDTH_PX)
    write_text(heading, name, (4, HEADING_PX - 10), TEXT_PX, TEXT)
    return np.concatenate((heading, small))


def _row(tiles: list[Image]) -> Image:
    """Tiles beside each other on a ground as high as the highest."""
    height = max(tile.shape[0] for tile in tiles)
    ground = _ground(height + GAP_PX, COLUMNS * WIDTH_PX + (COLUMNS - 1) * GAP_PX)
    for at, tile in enumerate(tiles):
        left = at * (WIDTH_PX + GAP_PX)
        ground[: tile.shape[0], left : left + WIDTH_PX] = tile
    return ground


def _ground(height: int, width: int) -> Image:
    return np.full((height, width, 3), BACKGROUND, np.uint8)
