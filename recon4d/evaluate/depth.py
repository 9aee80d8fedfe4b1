"""Depth errors, and the alignments in scale (and shift) under which published depth numbers are given.

All functions take the valid pixels of a whole sequence as flat arrays. The alignments of published protocols are here
so that numbers can be compared with those of papers; `recon4d eval` uses `median_of_ratios` and `least_absolute`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

SMALLEST_DEPTH = 1e-5
"""Aligned depth is raised to this before a logarithm or a ratio is taken: MonST3R's and CUT3R's protocol."""
DELTA_BASE = 1.25
"""Ratio of the delta < 1.25^k measures (Eigen et al. 2014)."""
LARGEST_FIT = 200_000
"""Pixels; least absolute deviations are fitted to an even selection of at most so many, which fixes the two numbers
to far below a thousandth."""
LARGEST_ADAM = 2_000_000
"""Pixels; `adam_absolute` sees an even selection of at most so many: a whole sequence of 640x480 px would take minutes,
and so many pixels say the same."""

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


def depth_errors(
    prediction: Pixels, truth: Pixels, is_known: Bool[np.ndarray, " pixels"]
) -> DepthErrors:
    """Compare aligned depth with the truth (Eigen et al. 2014)."""
    return mean_errors(error_sums(prediction, truth, is_known))


def error_sums(
    prediction: Pixels, truth: Pixels, is_known: Bool[np.ndarray, " pixels"]
) -> Float64[np.ndarray, "9"]:
    """Sums over pixels of all that `mean_errors` needs; those of several frames add up."""
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
    """Turn the sums over some pixels into errors."""
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


def ratio_of_medians(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale between the (lower) medians, the default of MonST3R's evaluation; shift 0."""
    return _lower_median(truth) / _lower_median(prediction), 0.0


def least_absolute_scale(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale by ten re-weightings towards least absolute deviations: "scale" in MonST3R's and CUT3R's tables."""
    prediction, truth = prediction.astype(np.float64), truth.astype(np.float64)
    scale = truth.mean() / prediction.mean()
    for _ in range(10):
        weight = 1 / (np.abs(scale * prediction - truth) + 1e-8)
        scale = (weight * prediction * truth).sum() / (weight * prediction**2).sum()
    return max(float(scale), 1e-3), 0.0


def least_squares(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale and shift of least squares."""
    columns = np.stack((prediction, np.ones_like(prediction)), axis=1).astype(np.float64)
    scale, shift = np.linalg.lstsq(columns, truth.astype(np.float64), rcond=None)[0]
    return float(scale), float(shift)


def least_absolute(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale and shift of least absolute deviations, found by BFGS from the ratio of medians."""
    from scipy.optimize import minimize

    step = -(-prediction.size // LARGEST_FIT)
    some, wanted = prediction[::step].astype(np.float64), truth[::step].astype(np.float64)
    unit = _lower_median(
        some
    )  # BFGS needs numbers of the order of one, whatever the scale of the prediction
    start = [_lower_median(wanted) / unit * unit, 0.0]

    def cost(guess: Float[np.ndarray, "2"]) -> float:
        return float(np.abs(guess[0] * some / unit + guess[1] - wanted).sum())

    found = minimize(cost, start, method="BFGS").x
    return float(found[0] / unit), float(found[1])


def adam_absolute(
    prediction: Pixels, truth: Pixels, learning_rate: float = 1e-4, max_steps: int = 1000
) -> tuple[float, float]:
    """Scale and shift of the papers' "scale&shift": Adam on the summed absolute error, stopped early on purpose.

    Each of the two numbers can move by about `learning_rate * max_steps` from (ratio of medians, 0): it is not the
    optimum of `least_absolute`, and depends on the prediction's unit.
    """
    step = max(1, -(-prediction.size // LARGEST_ADAM))
    prediction, truth = prediction[::step].astype(np.float64), truth[::step].astype(np.float64)
    guess = np.array(ratio_of_medians(prediction, truth))
    mean, mean_square, last = np.zeros(2), np.zeros(2), np.inf
    for count in range(1, max_steps + 1):
        residual = guess[0] * prediction + guess[1] - truth
        sign = np.sign(residual)
        gradient = np.array([(sign * prediction).sum(), sign.sum()])
        mean = 0.9 * mean + 0.1 * gradient
        mean_square = 0.999 * mean_square + 0.001 * gradient**2
        root = np.sqrt(mean_square / (1 - 0.999**count)) + 1e-8
        guess = guess - learning_rate * mean / (1 - 0.9**count) / root
        loss = float(np.abs(residual).sum())
        if abs(last - loss) < 1e-6:
            break
        last = loss
    return float(guess[0]), float(guess[1])


def resize_nearest(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize to the truth's (height, width) without inventing values: what `recon4d eval` does."""
    return np.asarray(cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_NEAREST))


def resize_cubic(
    depth: Float32[np.ndarray, "_ _"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "_ _"]:
    """Resize to the truth's (height, width) as published evaluations do, with OpenCV's cubic filter.

    Unknown pixels (0) stay unknown and do not bleed into their neighbours: they are filled from the nearest known pixel
    before, and taken out again after. The filter may overshoot at edges, even below 0, as
    it does in published evaluations.
    """
    is_known = depth != 0
    if not is_known.any():
        return np.zeros(shape, np.float32)
    if not is_known.all():
        from scipy.ndimage import distance_transform_edt

        nearest = distance_transform_edt(~is_known, return_distances=False, return_indices=True)
        depth = depth[tuple(nearest)]
    size = shape[1::-1]
    resized = cv2.resize(depth, size, interpolation=cv2.INTER_CUBIC)
    still_known = cv2.resize(is_known.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.where(still_known > 0, resized, 0).astype(np.float32)


def _lower_median(values: Pixels) -> float:
    """Middle value; of an even count the lower of the two, as torch does it."""
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle)[middle])


ALIGNMENTS: dict[str, Callable[[Pixels, Pixels], tuple[float, float]]] = {
    "sequence": median_of_ratios,
    "scale_shift": least_absolute,
    "none": lambda prediction, truth: (1.0, 0.0),
}
"""(scale, shift) from known pixels of prediction and truth, by the values of `--depth-scale`."""
