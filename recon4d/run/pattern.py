"""Where in the picture static pixels move otherwise than depth and cameras say: along its rows, or towards its border.

Noise of the flow is alike everywhere. A shutter that rolls moves whole rows; a lens that nobody undid bends what is far
from the middle, and the same way all over a place there.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon4d.core.sampling import spread_evenly

FEWEST, MOST = 500, 12_000
"""Static pixels of a pair below which it tells no pattern, and of more than which a part is looked at."""
CAP = 3.0
"""Times the median length of the errors of a pair, above which they count as that long."""
BANDS = 12
"""Of rows, and of columns, of a picture."""
CELLS = (10, 8)
"""Of a picture, across and down, whose mean errors are what its places have in common."""
FEWEST_IN_CELL = 20
"""Pixels whose mean counts."""
FEWEST_CELLS = 6
"""In the middle and at the border, that tell anything."""
MIDDLE, BORDER = 0.4, 0.75
"""Largest and least distance from the middle, over half the diagonal, of pixels of the middle and of the border."""
MIDDLE_CELL, BORDER_CELL = 0.45, 0.7
"""The same of the middles of cells."""


@dataclass(frozen=True)
class Residuals:
    """Of the static pixels of a pair of frames that the flow follows. Pixels are those of the working size."""

    place_px: Float64[np.ndarray, "pixels 2"]
    """In the first frame."""
    error_px: Float64[np.ndarray, "pixels 2"]
    """Predicted minus measured place in the second; inf behind the camera."""

    @property
    def length_px(self) -> Float64[np.ndarray, " pixels"]:
        """Of the errors."""
        return np.asarray(np.hypot(self.error_px[:, 0], self.error_px[:, 1]))


NOTHING = Residuals(np.zeros((0, 2)), np.zeros((0, 2)))
"""Of a pair that tells nothing."""


@dataclass(frozen=True)
class Pattern:
    """Of the residuals of a pair; nan: it does not tell."""

    rows: float = np.nan
    """Share of the errors' variance that is between bands of rows."""
    columns: float = np.nan
    """The same of columns."""
    border: float = np.nan
    """Median length at the border over that in the middle."""
    common: float = np.nan
    """Root mean square of what cells at the border have in common, over that of cells in the middle."""


def pattern_of(residuals: Residuals, size: tuple[int, int]) -> Pattern:
    """Look for patterns in the residuals of a pair of frames of `size` (width, height)."""
    length = residuals.length_px
    known = np.flatnonzero(np.isfinite(length))
    if len(known) < FEWEST:
        return Pattern()
    known = known[spread_evenly(len(known), MOST)]
    place, length = residuals.place_px[known], length[known]
    longest = CAP * float(np.median(length))
    if not longest:
        return Pattern()
    shorter = np.minimum(1.0, longest / np.maximum(length, longest))
    error = residuals.error_px[known] * shorter[:, None]
    bands = [np.floor(place[:, axis] / size[axis] * BANDS) for axis in (1, 0)]
    columns, rows = (_between(error, band.astype(np.int64)) for band in reversed(bands))
    border, common = _towards_border(place, error, length, size)
    return Pattern(rows, columns, border, common)


def _between(error: Float64[np.ndarray, "pixels 2"], band: Int64[np.ndarray, " pixels"]) -> float:
    """Share of the variance that is between bands."""
    mean = error.mean(0)
    means, count = _means(error, band, BANDS)
    whole = float(((error - mean) ** 2).sum())
    return float((count[:, None] * (means - mean) ** 2).sum() / whole) if whole else np.nan


def _towards_border(
    place: Float64[np.ndarray, "pixels 2"],
    error: Float64[np.ndarray, "pixels 2"],
    length: Float64[np.ndarray, " pixels"],
    size: tuple[int, int],
) -> tuple[float, float]:
    """`border` and `common` of a `Pattern`."""
    across, down = CELLS
    cell = np.floor(place / size * CELLS).astype(np.int64)
    means, count = _means(error, cell[:, 1] * across + cell[:, 0], across * down)
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(down)), -1).reshape(-1, 2) + 0.5
    far, usable = _from_middle(grid / CELLS * size, size), count >= FEWEST_IN_CELL
    inner, outer = usable & (far < MIDDLE_CELL), usable & (far > BORDER_CELL)
    away = _from_middle(place, size)
    near, rim = length[away < MIDDLE], length[away > BORDER]
    if min(inner.sum(), outer.sum()) < FEWEST_CELLS or not (len(near) and len(rim)):
        return np.nan, np.nan
    lengths = float(np.median(rim)), float(np.median(near))
    commons = _mean_square(means, outer), _mean_square(means, inner)
    return _ratio(*lengths), _ratio(*commons) ** 0.5


def _means(
    error: Float64[np.ndarray, "pixels 2"], place: Int64[np.ndarray, " pixels"], places: int
) -> tuple[Float64[np.ndarray, "places 2"], Int64[np.ndarray, " places"]]:
    """Mean error of the pixels in every place, and how many these are."""
    count = np.bincount(place, minlength=places)
    sums = [np.bincount(place, error[:, axis], places) for axis in (0, 1)]
    return np.stack(sums, -1) / np.maximum(count, 1)[:, None], count


def _mean_square(
    means: Float64[np.ndarray, "places 2"], chosen: Bool[np.ndarray, " places"]
) -> float:
    return float((means[chosen] ** 2).sum(1).mean())


def _ratio(one: float, other: float) -> float:
    return one / other if other else np.nan


def _from_middle(
    place: Float64[np.ndarray, "places 2"], size: tuple[int, int]
) -> Float64[np.ndarray, " places"]:
    """Distance from the middle of the picture over half its diagonal."""
    width, height = size
    u, v = (place - np.array(size) / 2).T
    return np.asarray(np.hypot(u, v) / (np.hypot(width, height) / 2))
