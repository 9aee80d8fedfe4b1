"""How publications bring depth to the scale (and shift) and to the size of the truth, for figures beside theirs.

All alignments take the valid pixels of a whole sequence as flat arrays, and return (scale, shift).

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Float32

from recon4d.evaluate.depth import Pixels, lower_median

LARGEST_ADAM = 2_000_000
"""Pixels; `adam_absolute` sees an even selection of at most so many: a whole sequence of 640x480 px would take minutes,
and so many pixels say the same."""


def ratio_of_medians(prediction: Pixels, truth: Pixels) -> tuple[float, float]:
    """Scale between the (lower) medians, the default of MonST3R's evaluation; shift 0."""
    return lower_median(truth) / lower_median(prediction), 0.0


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
