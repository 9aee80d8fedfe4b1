"""Tokens brought to 1/4 of the image, bilinearly and by D2MIF's token feed: `python -m benchmarks.tokens`.

Draws a smooth field as it is, as tokens and after both ways of resampling, with the spectra of the errors; prints the
lattice energies (`benchmarks.measure.lattice`) over some random fields.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from benchmarks.measure.command import command_line
from benchmarks.measure.common import markdown_table
from benchmarks.measure.lattice import (
    SCALE,
    TOKENS,
    Compared,
    Field,
    RandomField,
    compare,
    lattice_energy,
    spectrum,
    table,
)
from recon4d.io.pictures.files import write_image

Image = UInt8[np.ndarray, "rows cols 3"]

FIELDS = 20
"""Random fields whose energies are averaged. This and the layout of the picture were set by hand."""
SHOWN_SEED = 0
"""Of the field that is drawn."""
SIDE = 300
"""Pixels of the picture per panel."""
GAP, HEADER = 10, 34
"""Between panels, and above them, pixels."""
SHOWN = 50
"""Samples at 1/4 that a panel shows of the field, in the middle: single patches are seen."""
SLOPE = 3.0
"""Change of the field per patch, along the diagonal, that is drawn black or white."""
RANGE_DB = (-80.0, -20.0)
"""Energies of a frequency that are drawn black and white; the field has 0 dB in all."""
PNG_SMALLEST = (cv2.IMWRITE_PNG_COMPRESSION, 9)
"""Option of OpenCV: zlib's strongest level."""
BACKGROUND, TEXT, MARK = (24, 24, 27), (228, 228, 231), (255, 170, 60)
"""RGB of the page, of what is written, and of what is pointed at."""


def relief(values: Field, patch_px: int) -> Image:
    """Slopes as seen in light from the upper left: kinks show as edges."""
    start = (len(values) - SHOWN) // 2
    part = slice(start, start + SHOWN + 1)
    shown = values[part, part]
    slope = (np.diff(shown, axis=0)[:, :-1] + np.diff(shown, axis=1)[:-1]) * patch_px / SCALE
    grey = np.clip(127.5 * (1 + slope / SLOPE), 0, 255).astype(np.uint8)
    return _colour(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))


def spectrum_image(values: Field, patch_px: int) -> Image:
    """Energy by frequency in dB, 0 in the middle; ticks are at one and two cycles per patch."""
    low, high = RANGE_DB
    decibels = 10 * np.log10(spectrum(values) + 1e-30)
    grey = np.clip(255 * (decibels - low) / (high - low), 0, 255).astype(np.uint8)
    image = _colour(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    for cycles in (-1, 1, -2, 2):
        at = round(SIDE * (0.5 + cycles * SCALE / patch_px))
        if 0 < at < SIDE:
            image[-12:, at - 1 : at + 1] = MARK
            image[at - 1 : at + 1, :12] = MARK
    return image


def draw(compared: Compared) -> Image:
    """Two rows of panels: the field as it is, as tokens, bilinear and ours; below, spectra."""
    patch_px, truth = compared.patch_px, compared.truth
    tokens = cv2.resize(compared.tokens, truth.shape, interpolation=cv2.INTER_NEAREST_EXACT)
    ways = {
        f"{patch_px}-pixel tokens, nearest": np.asarray(tokens),
        "bilinear": compared.bilinear,
        "token feed": compared.ours,
    }
    upper = [("slopes of a smooth field", relief(truth, patch_px))]
    upper += [(name, relief(values, patch_px)) for name, values in ways.items()]
    lower = [("its spectrum; ticks: 1/patch", spectrum_image(truth, patch_px))]
    for values in ways.values():
        title = f"error; {1e6 * lattice_energy(values, truth, patch_px):.0f} ppm at the lattice"
        lower.append((title, spectrum_image(values - truth, patch_px)))
    return np.concatenate((_row(upper), _row(lower)))


def _row(panels: Sequence[tuple[str, Image]]) -> Image:
    sheet = np.full((SIDE + HEADER, GAP + len(panels) * (SIDE + GAP), 3), BACKGROUND, np.uint8)
    for at, (title, panel) in enumerate(panels):
        left = GAP + at * (SIDE + GAP)
        sheet[HEADER:, left : left + SIDE] = panel
        cv2.putText(sheet, title, (left, HEADER - 10), TEXT, cv2.FontFace("sans"), 17, 400)
    return sheet


def _colour(grey: np.ndarray) -> Image:
    return np.repeat(grey[..., None], 3, axis=2)


def energies(fields: int) -> str:
    """A table of lattice energies, parts per million of the field's energy."""
    rows = [
        (
            f"{patch_px} px, {how}",
            f"{1e6 * linear:.0f}",
            f"{1e6 * ours:.0f}",
            f"{linear / ours:.0f}",
        )
        for patch_px, how, linear, ours in table(range(fields))
    ]
    return markdown_table(("tokens", "bilinear", "token feed", "ratio"), rows)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    picture = Path("docs/tokens.png")
    arguments = command_line("tokens", __doc__, out=picture, fields=FIELDS).parse_args(words)
    print(
        f"Lattice energy, ppm of the field's, mean over {arguments.fields} fields (seeds from 0)\n"
    )
    print(energies(arguments.fields))
    rows = []
    for patch_px in TOKENS:
        field = RandomField.make(np.random.default_rng(SHOWN_SEED), patch_px)
        rows.append(draw(compare(field, patch_px, "mean")))
    write_image(arguments.out, np.concatenate(rows)[..., ::-1], PNG_SMALLEST)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
