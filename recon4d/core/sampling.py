"""Where the samples of `Flow` lie, the image at that size, and some of many, spread evenly.

Sample (row, col) stands for a cell of `FLOW_STRIDE` x `FLOW_STRIDE` pixels of the working size and sits in its middle:
pixel (u, v) = `FLOW_STRIDE` * (col + 0.5, row + 0.5). Halves of powers of two are exact, so nothing here rounds.
"""

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from recon4d.core.scene import FLOW_STRIDE

ONE_PER_CELL = (
    ...,
    slice(FLOW_STRIDE // 2, None, FLOW_STRIDE),
    slice(FLOW_STRIDE // 2, None, FLOW_STRIDE),
)
"""Index of one pixel of every sample's cell in maps of the working size: the one to the right of the sample and below
it, whose centre is half a pixel off in both directions. For what has no mean; `recon4d.core.tensors.depth_at_samples`
has none of that half pixel."""


def sample_shape(size: tuple[int, int]) -> tuple[int, int]:
    """(rows, cols) of the samples of an image of some (width, height)."""
    return size[1] // FLOW_STRIDE, size[0] // FLOW_STRIDE


def sample_at(
    samples: Int64[np.ndarray, "*batch 2"],
) -> Float32[np.ndarray, "*batch 2"]:
    """Pixel (u, v) where a sample (row, col) lies."""
    return sample_place(samples[..., ::-1]).astype(np.float32)


def sample_px(rows: int, cols: int) -> Float32[np.ndarray, "rows cols 2"]:
    """Pixels (u, v) of all samples."""
    return sample_at(np.moveaxis(np.indices((rows, cols), np.int64), 0, -1))


def cell_of(px: Float[np.ndarray, "*batch 2"]) -> Int64[np.ndarray, "*batch 2"]:
    """Sample (row, col) whose cell holds a pixel (u, v); may lie outside of the image, as the pixel may."""
    return np.floor(px[..., ::-1] / FLOW_STRIDE).astype(np.int64)


def sample_index(px: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Place along an axis, in samples, of a pixel: whole numbers are where samples lie."""
    return np.asarray(px / FLOW_STRIDE - 0.5)


def sample_place(
    index: Int64[np.ndarray, "*batch"] | Float[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Pixel along an axis where a sample, or what is between two, lies; `sample_index` is its inverse."""
    return (index + 0.5) * FLOW_STRIDE


def in_samples(length_px: Float32[np.ndarray, "*batch"]) -> Float32[np.ndarray, "*batch"]:
    """A length in distances of samples."""
    return length_px / FLOW_STRIDE


def image_size(rows: int, cols: int) -> tuple[int, int]:
    """(width, height) in pixels of what some samples cover."""
    return cols * FLOW_STRIDE, rows * FLOW_STRIDE


def shrink(
    image: UInt8[np.ndarray, "height width *channels"],
) -> UInt8[np.ndarray, "rows cols *channels"]:
    """The image at the samples: the mean of each cell."""
    rows, cols = sample_shape((image.shape[1], image.shape[0]))
    small = cv2.resize(np.ascontiguousarray(image), (cols, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def spread_evenly(count: int, most: int) -> Int64[np.ndarray, " chosen"]:
    """At most `most` of the indices 0..count-1, ascending; the first and the last are among them.

    Args:
        count: Of what there is to choose from; 0 gives none.
        most: At least 2, or 1, which chooses the first.
    """
    places = np.linspace(0, count - 1, min(count, most))
    return np.unique(places.round().astype(np.int64))
