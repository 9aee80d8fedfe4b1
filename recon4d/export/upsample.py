"""Depth and masks from the working size to the input's, guided by its image: edges stay edges, unknown stays 0."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from recon4d.viewer.cloud import EDGE_STEP, depth_edges

RADIUS = 2
"""Working pixels around a pixel that vote where surfaces meet: beyond the one or two that mix both."""
SPATIAL_PX = 1.0
"""Standard deviation of a vote's weight in the distance, working pixels."""
COLOR_LEVELS = 16.0
"""Standard deviation of a vote's weight in the colour, levels of 255 (root of the mean square over the channels)."""
COLOR_FLOOR = 0.01
"""Weight of a vote whatever its colour: where no colour resembles the pixel's, the nearest votes decide."""
CHUNK = 20_000
"""Pixels that vote at once: 25 x 25 comparisons each."""


@dataclass(frozen=True)
class Layers:
    """What is known of each pixel of one frame."""

    depth: Float32[np.ndarray, "height width"]
    """z-depth in the scale of the poses; 0 = unknown."""
    confidence: UInt8[np.ndarray, "height width"]
    """255 = certain."""
    is_dynamic: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class _Votes:
    """Working pixels around some pixels of the image, and how much each has to say."""

    places: Int64[np.ndarray, "pixels votes"]
    """Indices into the flattened working image."""
    near: Float32[np.ndarray, "pixels votes"]
    """Weight by distance alone."""
    alike: Float32[np.ndarray, "pixels votes"]
    """Weight by distance and colour."""


def upsample(layers: Layers, image: UInt8[np.ndarray, "height width 3"]) -> Layers:
    """Bring depth, confidence and mask to the size of the image that they belong to.

    Within a surface inverse depth is interpolated linearly, which is exact for planes. Where the four working pixels
    around a pixel are of different surfaces, or moving and static, the working pixels near it vote with their
    likeness in colour, and the values come from the winning side alone: no depth lies between two surfaces.

    Args:
        layers: At the working size.
        image: RGB, shows the same view as the layers.
    """
    size = (image.shape[1], image.shape[0])
    shape = layers.depth.shape
    if image.shape[:2] == shape:
        return layers
    inverse = np.divide(
        1, layers.depth, out=np.zeros_like(layers.depth), where=layers.depth > 0
    ).astype(np.float32)
    fine_inverse = cv2.resize(inverse, size, interpolation=cv2.INTER_LINEAR)
    sure = layers.confidence.astype(np.float32)
    fine_sure = cv2.resize(sure, size, interpolation=cv2.INTER_LINEAR)
    moving = layers.is_dynamic.astype(np.float32)
    fine_moving = cv2.resize(moving, size, interpolation=cv2.INTER_LINEAR) > 0.5
    is_mixed = _mixed_depth(layers.depth)
    meets = _at_pixels(is_mixed, shape, size)
    borders = _at_pixels(_differs(moving), shape, size)
    small = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    rows, cols = np.nonzero(meets | borders)
    for start in range(0, len(rows), CHUNK):
        row, col = rows[start : start + CHUNK], cols[start : start + CHUNK]
        votes = _votes(row, col, image, small)
        at_edge = meets[row, col]
        value, certainty = _winning(votes, inverse, sure)
        fine_inverse[row[at_edge], col[at_edge]] = value[at_edge]
        fine_sure[row[at_edge], col[at_edge]] = certainty[at_edge]
        share = (votes.alike * moving.ravel()[votes.places]).sum(1) / votes.alike.sum(1)
        fine_moving[row, col] = share > 0.5
    depth = np.divide(1, fine_inverse, out=np.zeros_like(fine_inverse), where=fine_inverse > 0)
    confidence = np.where(depth > 0, np.rint(fine_sure), 0).astype(np.uint8)
    return Layers(depth.astype(np.float32), confidence, fine_moving)


def _mixed_depth(
    depth: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "blocks_down blocks_across"]:
    """Blocks of 2x2 pixels (see `_blocks`) that two surfaces share, or a surface and the unknown."""
    blocks = _blocks(depth)
    low, high = blocks.min(0), blocks.max(0)
    is_partly_known = (low <= 0) & (high > 0)
    is_edge = _blocks(depth_edges(depth)).any(0)
    return np.asarray(is_partly_known | ((high > (1 + EDGE_STEP) * low) & is_edge))


def _differs(
    values: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "blocks_down blocks_across"]:
    """Blocks of 2x2 pixels whose values are not all the same."""
    blocks = _blocks(values)
    return np.asarray(blocks.min(0) != blocks.max(0))


def _blocks(values: np.ndarray) -> np.ndarray:
    """The four pixels of every block of 2x2, (4, height + 1, width + 1); the image's border is repeated outside."""
    padded = np.pad(values, 1, mode="edge")
    return np.stack((padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]))


def _at_pixels(
    blocks: Bool[np.ndarray, "blocks_down blocks_across"],
    shape: tuple[int, ...],
    size: tuple[int, int],
) -> Bool[np.ndarray, "height width"]:
    """What holds for the block of four working pixels around each pixel of an image of `size` (width, height)."""
    down = np.floor(_places(size[1], shape[0])).astype(np.int64) + 1
    across = np.floor(_places(size[0], shape[1])).astype(np.int64) + 1
    return np.asarray(blocks[np.ix_(down, across)])


def _places(fine: int, coarse: int) -> np.ndarray:
    """Index among `coarse` pixels, with fraction, of each of `fine` pixel centres along the same side."""
    return np.asarray((np.arange(fine) + 0.5) * (coarse / fine) - 0.5)


def _votes(
    row: Int64[np.ndarray, " pixels"],
    col: Int64[np.ndarray, " pixels"],
    image: UInt8[np.ndarray, "height width 3"],
    small: UInt8[np.ndarray, "rows cols 3"],
) -> _Votes:
    """Weigh the working pixels around the given pixels of the image."""
    height, width = small.shape[:2]
    y = _places(image.shape[0], height)[row][:, None]
    x = _places(image.shape[1], width)[col][:, None]
    steps = np.arange(-RADIUS, RADIUS + 1)
    down, across = (step.ravel() for step in np.meshgrid(steps, steps, indexing="ij"))
    at_row, at_col = np.rint(y) + down, np.rint(x) + across
    squared = (at_row - y) ** 2 + (at_col - x) ** 2
    inside = (at_row >= 0) & (at_row < height) & (at_col >= 0) & (at_col < width)
    near = np.exp(-squared / (2 * SPATIAL_PX**2)) * inside
    places = np.clip(at_row, 0, height - 1) * width + np.clip(at_col, 0, width - 1)
    places = places.astype(np.int64)
    colors = small.reshape(-1, 3).astype(np.float32)[places]
    apart = colors - image[row, col].astype(np.float32)[:, None]
    likeness = np.exp(-(apart**2).mean(-1) / (2 * COLOR_LEVELS**2)) + COLOR_FLOOR
    return _Votes(places, near.astype(np.float32), (near * likeness).astype(np.float32))


def _winning(
    votes: _Votes,
    inverse: Float32[np.ndarray, "rows cols"],
    sure: Float32[np.ndarray, "rows cols"],
) -> tuple[Float32[np.ndarray, " pixels"], Float32[np.ndarray, " pixels"]]:
    """Inverse depth and confidence of the surface with the most votes; inverse depth 0 where the unknown wins."""
    values = inverse.ravel()[votes.places]
    one, other = values[:, :, None], values[:, None, :]
    # two unknowns (0 and 0) are of one kind, a known and an unknown depth never are
    agree = np.abs(one - other) <= EDGE_STEP * np.minimum(one, other)
    support = np.where(votes.near > 0, (agree * votes.alike[:, None, :]).sum(-1), -1)
    winner = support.argmax(1)
    side = agree[np.arange(len(winner)), winner] * votes.near
    total = side.sum(1)
    certainty = (side * sure.ravel()[votes.places]).sum(1) / total
    return (side * values).sum(1) / total, certainty
