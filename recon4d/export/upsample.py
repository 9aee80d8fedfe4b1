"""Depth and masks from the working size to the input's, guided by its image: edges stay edges, unknown stays 0.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from recon4d.results.cloud import EDGE_STEP, depth_edges

RADIUS = 2
"""Working pixels around a pixel that vote where surfaces meet: beyond the one or two that mix both."""
SPATIAL_PX = 1.0
"""Standard deviation of a vote's weight in the distance, working pixels."""
COLOR_LEVELS = 16.0
"""Standard deviation of a vote's weight in the colour, levels of 255 (root of the mean square over the channels)."""
COLOR_FLOOR = 0.01
"""Weight of a vote whatever its colour: where no colour resembles the pixel's, the nearest votes decide."""
CHUNK = 10_000
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

    def select(self, chosen: Bool[np.ndarray, " pixels"]) -> "_Votes":
        """The votes of some of the pixels."""
        return _Votes(self.places[chosen], self.near[chosen], self.alike[chosen])


def upsample(layers: Layers, image: UInt8[np.ndarray, "height width 3"]) -> Layers:
    """Bring depth, confidence and mask to the size of the image that they belong to.

    Within a surface inverse depth is interpolated linearly, which is exact for planes. Where the four working pixels
    around a pixel are of different surfaces, or moving and static, the working pixels near it vote with their
    likeness in colour, and the values come from the winning side alone: no depth lies between two surfaces.

    Args:
        layers: At the working size.
        image: RGB, shows the same view as the layers.
    """
    if image.shape[:2] == layers.depth.shape:
        return layers
    coarse = _Maps.of(layers)
    fine = coarse.interpolated((image.shape[1], image.shape[0]))
    meets, borders = _places_to_vote(layers, image.shape[:2])
    small = cv2.resize(image, layers.depth.shape[::-1], interpolation=cv2.INTER_AREA)
    rows, cols = np.nonzero(meets | borders)
    for start in range(0, len(rows), CHUNK):
        row, col = rows[start : start + CHUNK], cols[start : start + CHUNK]
        votes = _votes(row, col, image, small)
        share = (votes.alike * coarse.moving.ravel()[votes.places]).sum(1) / votes.alike.sum(1)
        fine.moving[row, col] = share
        at_edge = meets[row, col]
        row, col, voters = row[at_edge], col[at_edge], votes.select(at_edge)
        fine.inverse[row, col], fine.sure[row, col] = _winning(voters, coarse)
    return fine.layers()


@dataclass(frozen=True)
class _Maps:
    """Layers as numbers that can be averaged."""

    inverse: Float32[np.ndarray, "height width"]
    """1 / depth; 0 = unknown."""
    sure: Float32[np.ndarray, "height width"]
    moving: Float32[np.ndarray, "height width"]

    @classmethod
    def of(cls, layers: Layers) -> "_Maps":
        return cls(
            _inverted(layers.depth),
            layers.confidence.astype(np.float32),
            layers.is_dynamic.astype(np.float32),
        )

    def interpolated(self, size: tuple[int, int]) -> "_Maps":
        """Linearly, to `size` (width, height)."""
        return _Maps(
            *(
                np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))
                for values in (self.inverse, self.sure, self.moving)
            )
        )

    def layers(self) -> Layers:
        depth = _inverted(self.inverse)
        sure = np.where(depth > 0, np.rint(self.sure), 0).astype(np.uint8)
        return Layers(depth, sure, self.moving > 0.5)


def _inverted(values: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    return np.asarray(np.divide(1, values, out=np.zeros_like(values), where=values > 0))


def _places_to_vote(
    layers: Layers, shape: tuple[int, ...]
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Pixels of an image of `shape` around which surfaces meet, and around which moving and static pixels do."""
    meets = _at_pixels(_mixed_depth(layers.depth), shape)
    moving = _blocks(layers.is_dynamic)
    return meets, _at_pixels(np.asarray(moving.any(0) & ~moving.all(0)), shape)


def _mixed_depth(
    depth: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "blocks_down blocks_across"]:
    """Blocks of 2x2 pixels (see `_blocks`) that two surfaces share, or a surface and the unknown."""
    blocks = _blocks(depth)
    low, high = blocks.min(0), blocks.max(0)
    is_partly_known = (low <= 0) & (high > 0)
    is_edge = _blocks(depth_edges(depth)).any(0)
    return np.asarray(is_partly_known | ((high > (1 + EDGE_STEP) * low) & is_edge))


def _blocks(values: np.ndarray) -> np.ndarray:
    """The four pixels of every block of 2x2, (4, height + 1, width + 1); the image's border is repeated outside."""
    padded = np.pad(values, 1, mode="edge")
    return np.stack((padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]))


def _at_pixels(
    blocks: Bool[np.ndarray, "blocks_down blocks_across"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "height width"]:
    """What holds for the block of four working pixels around each pixel of an image of `shape`."""
    down, across = (
        np.floor(_places(fine, count - 1)).astype(np.int64) + 1
        for fine, count in zip(shape, blocks.shape, strict=True)
    )
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
    votes: _Votes, coarse: _Maps
) -> tuple[Float32[np.ndarray, " pixels"], Float32[np.ndarray, " pixels"]]:
    """Inverse depth and confidence of the surface with the most votes; inverse depth 0 where the unknown wins."""
    values = coarse.inverse.ravel()[votes.places]
    one, other = values[:, :, None], values[:, None, :]
    # two unknowns (0 and 0) are of one kind, a known and an unknown depth never are
    agree = np.abs(one - other) <= EDGE_STEP * np.minimum(one, other)
    support = np.where(votes.near > 0, (agree * votes.alike[:, None, :]).sum(-1), -1)
    winner = support.argmax(1)
    side = agree[np.arange(len(winner)), winner] * votes.near
    total = side.sum(1)
    certainty = (side * coarse.sure.ravel()[votes.places]).sum(1) / total
    return (side * values).sum(1) / total, certainty
