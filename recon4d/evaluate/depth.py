"""Depth errors, and the alignments in scale (and shift) of `recon4d eval`.

All functions take the valid pixels of a whole sequence as flat arrays.

Numbers here that name no source were set by hand.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64

SMALLEST_DEPTH = 1e-5
"""Aligned depth is raised to this before a logarithm or a ratio is taken: MonST3R's and CUT3R's protocol."""
DELTA_BASE = 1.25
"""Ratio of the delta < 1.25^k measures (Eigen et al. 2014)."""
LARGEST_FIT = 200_000
"""Pixels; least absolute deviations are fitted to an even selection of at most so many, which fixes the two numbers
to far below a thousandth."""
Pixels = Float[np.ndarray, " pixels"]


@dataclass(frozen=True)
class DepthErrors:
    """Errors over a set of pixels with known truth.

    An unknown pixel (prediction 0) counts as the depth 0: Abs Rel 1, outside every delta. It has no logarithm: log RMSE
    is over the known pixels alone.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    log_rmse: float
    delta_1: float
    delta_2: float
    delta_3: float
    known: float
    """Share of the pixels with a prediction."""
    pixels: int


def error_sums(
    prediction: Pixels, truth: Pixels, is_known: Bool[np.ndarray, " pixels"]
) -> Float64[np.ndarray, "9"]:
    """Sums over pixels of all that `mean_errors` needs; those of several frames add up.

    Args:
        prediction: Aligned.
        truth: Known everywhere.
        is_known: Where there is a prediction.
    """
    prediction = np.where(is_known, prediction, 0).astype(np.float64)
    truth = truth.astype(np.float64)
    error = prediction - truth
    positive = np.maximum(prediction, SMALLEST_DEPTH)
    log_ratio = np.abs(np.log(positive / truth))
    deltas = [((log_ratio < k * np.log(DELTA_BASE)) & is_known).sum() for k in (1, 2, 3)]
    return np.array(
        (
            (np.abs(error) / truth).sum(),
            (error**2 / truth).sum(),
            (error**2).sum(),
            (log_ratio[is_known] ** 2).sum(),
            *deltas,
            is_known.sum(),
            truth.size,
        ),
        np.float64,
    )


def mean_errors(sums: Float64[np.ndarray, "9"]) -> DepthErrors:
    """Turn the sums over some pixels into errors (Eigen et al. 2014)."""
    *summed, known, pixels = sums.tolist()
    return DepthErrors(
        abs_rel=summed[0] / pixels,
        sq_rel=summed[1] / pixels,
        rmse=math.sqrt(summed[2] / pixels),
        log_rmse=math.sqrt(summed[3] / known) if known else math.nan,
        delta_1=summed[4] / pixels,
        delta_2=summed[5] / pixels,
        delta_3=summed[6] / pixels,
        known=known / pixels,
        pixels=round(pixels),
    )


def median_of_ratios(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale that makes the median of truth / prediction one; shift 0."""
    return float(np.median(truth / prediction)), 0.0


def least_absolute(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale and shift of least absolute deviations, found by BFGS from the ratio of medians."""
    from scipy.optimize import minimize

    step = -(-prediction.size // LARGEST_FIT)
    some, wanted = prediction[::step].astype(np.float64), truth[::step].astype(np.float64)
    unit = lower_median(
        some
    )  # BFGS needs numbers of the order of one, whatever the scale of the prediction
    start = [lower_median(wanted) / unit * unit, 0.0]

    def cost(guess: Float[np.ndarray, "2"]) -> float:
        return float(np.abs(guess[0] * some / unit + guess[1] - wanted).sum())

    found = minimize(cost, start, method="BFGS").x
    return float(found[0] / unit), float(found[1])


def resize_nearest(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize to the truth's (height, width) without inventing values: what `recon4d eval` does."""
    return np.asarray(cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_NEAREST))


def lower_median(values: Pixels) -> float:
    """Middle value; of an even count the lower of the two, as torch does it."""
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle)[middle])


ALIGNMENTS: dict[str, Callable[[Pixels, Pixels], tuple[float, float]]] = {
    "sequence": median_of_ratios,
    "scale_shift": least_absolute,
    "none": lambda prediction, truth: (1.0, 0.0),
}
"""(scale, shift) from known pixels of prediction and truth, by the values of `--depth-scale`."""
