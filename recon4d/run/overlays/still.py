"""Edges that stay where they are, to a fraction of a pixel, while the picture around them moves.

The mean of a pixel's gradient over time is small where the scene passes by, and as large as in every frame where
something sticks to the picture. A mover that the camera follows stays nearly where it is, too: but it wavers by more
than `Limits.waver_px`, which the marks of a rig, a logo or a bar do not.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from recon4d.run.overlays.moves import gradient, motion_around

FEWEST_FRAMES = 8
"""Frames without which nothing is told from chance."""
SMOOTH_PX = 1.0
"""Standard deviation of the smoothing before gradients are taken, pixels of the working size."""
LEAST_EDGE = 2.5
"""Gradient of an edge, grey levels per pixel, after that."""
GAP = (0.014, 0.026)
"""Height and width of gaps that are closed between the edges of one mark, as between letters; parts of the width."""
DETAIL_PX = 9
"""Window whose mean is taken away before marks are compared: brightness is not theirs."""
PRESENT = 0.4
"""Contrast of a mark in a frame, as a part of its usual one, from which on it is there."""
TWO_WAYS = 0.1
"""Least ratio of a mark's squared gradients in its two directions: a straight line may slide along itself, as the edge
of a bridge or a lorry does. Those of logos and letters have .4 and more, those of lines less than .07."""
WAVER_SHARE = 0.06
"""Most that a mark may waver, as a part of the motion around it: what is there comes to .03, a followed lorry to .3."""


@dataclass(frozen=True)
class Limits:
    """What makes a mark; set on 23 clips, of which two have one, and on three with drawn ones."""

    steady: float
    """Least share of a gradient's power that is its mean over time."""
    moves_px: float
    """Least motion of the picture around an edge, across it, from one frame that is looked at to the next, pixels."""
    waver_px: float
    """Most that a mark may waver over time, root mean square, pixels."""
    size_px: int
    """Least number of edge pixels of a mark."""
    there: float
    """Least share of the frames in which a mark must be there, and of those in which the picture moves."""
    most_still: float = 0.35
    """Share of all edges of the picture above which it is the camera that stands still."""


WHOLE_VIDEO = Limits(steady=0.6, moves_px=1.0, waver_px=0.2, size_px=40, there=0.5)
SOME_FRAMES = Limits(steady=0.75, moves_px=1.5, waver_px=0.12, size_px=120, there=0.9)
"""Of what is there for a while: fewer frames prove less."""


@dataclass(frozen=True)
class Mark:
    """Something that sticks to the picture, by its edges."""

    edges: Bool[np.ndarray, "height width"]
    steady: Float32[np.ndarray, "height width"]
    """Share of each gradient's power that is its mean, 0 where there is no edge: less at the mark's own border, behind
    which the scene passes by."""
    even: Bool[np.ndarray, "height width"]
    """Pixels of the picture that kept their colour in the frames in which it was found."""
    usual: Float32[np.ndarray, "edge_pixels 3"]
    """Detail at its edges as it usually is, grey levels."""


@dataclass(frozen=True)
class _Sums:
    """Of some frames, per pixel; squares are means over the colour channels."""

    mean: Float32[np.ndarray, "height width 3"]
    """Squares of the mean gradient (across², down², across x down), grey levels per pixel."""
    power: Float32[np.ndarray, "height width"]
    """Mean squared gradient."""
    variance: Float32[np.ndarray, "height width"]
    """Of the colour over time."""


EVEN = 2.5
"""Standard deviation over time up to which a pixel keeps its colour, grey levels."""


def still_marks(
    images: UInt8[np.ndarray, "frames height width 3"],
    frames: Int64[np.ndarray, " chosen"],
    limits: Limits,
    known: Bool[np.ndarray, "height width"],
) -> list[Mark]:
    """Marks that are there in most of some frames.

    Args:
        images: At working size.
        frames: Those that are looked at, ascending.
        limits: What makes a mark.
        known: Pixels that are overlay anyway.
    """
    sums = _sums(images, frames)
    squared = sums.mean[..., 0] + sums.mean[..., 1]
    is_edge = sums.power > LEAST_EDGE**2
    stays = (squared > LEAST_EDGE**2) & (squared > limits.steady * sums.power)
    is_new = stays & ~known
    if is_new.sum() < limits.size_px or stays.sum() > limits.most_still * is_edge.sum():
        return []
    moves, moving = motion_around([grey(images[frame]) for frame in frames], dilated(stays, 2))
    across_it = (moves * sums.mean * np.array((1, 1, 2), np.float32)).sum(-1)
    is_new &= across_it > limits.moves_px**2 * squared
    moves_px = np.sqrt(np.maximum(across_it, 0) / np.maximum(squared, LEAST_EDGE**2))
    marks = []
    for edges in _pieces(is_new, limits.size_px):
        if _is_line(sums.mean[edges]):
            continue
        most_px = min(limits.waver_px, WAVER_SHARE * float(np.median(moves_px[edges])))
        box = around(edges, DETAIL_PX)
        details = np.stack([detail(images[frame][box]) for frame in frames])
        usual = _usual(edges[box], details, moving, limits.there, most_px)
        if usual is not None:
            share = np.where(squared > LEAST_EDGE**2, squared / np.maximum(sums.power, 1e-6), 0)
            even = sums.variance < EVEN**2
            marks.append(Mark(edges, share.astype(np.float32), even, usual))
    return marks


def grey(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    """Grey levels of an RGB image."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def around(edges: Bool[np.ndarray, "height width"], by_px: int) -> tuple[slice, slice]:
    """The box of some pixels, and a margin."""
    rows, cols = np.nonzero(edges)
    down, across = (slice(max(at.min() - by_px, 0), at.max() + by_px + 1) for at in (rows, cols))
    return down, across


def dilated(area: Bool[np.ndarray, "height width"], by_px: int) -> Bool[np.ndarray, "height width"]:
    """An area, and what is so near to it, along rows and columns."""
    kernel: UInt8[np.ndarray, "side side"] = np.ones((2 * by_px + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(area.astype(np.uint8), kernel)) > 0


def detail(
    image: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width 3"]:
    """An image without its noise and without what is brighter or darker over `DETAIL_PX`."""
    smooth = _smooth(image)
    return np.asarray(smooth - cv2.blur(smooth, (DETAIL_PX, DETAIL_PX)), np.float32)


def contrast(
    seen: Float32[np.ndarray, "edge_pixels 3"], usual: Float32[np.ndarray, "edge_pixels 3"]
) -> float:
    """Of a mark in a frame, as a part of its usual one: 1 where it is there, 0 where it is not."""
    return float((seen * usual).sum() / max(float((usual * usual).sum()), 1e-6))


def _sums(
    images: UInt8[np.ndarray, "frames height width 3"], frames: Int64[np.ndarray, " chosen"]
) -> _Sums:
    shape = images.shape[1:]
    across, down, power, level, square = (np.zeros(shape, np.float32) for _ in range(5))
    for frame in frames:
        smooth = _smooth(images[frame])
        for mean, part in zip((across, down), gradient(smooth), strict=True):
            cv2.accumulate(part, mean)
            cv2.accumulateSquare(part, power)
        cv2.accumulate(smooth, level)
        cv2.accumulateSquare(smooth, square)
    count = np.float32(len(frames))
    across, down, level = across / count, down / count, level / count
    products = (across * across, down * down, across * down)
    return _Sums(
        np.stack([_over_channels(product) for product in products], -1),
        _over_channels(power / count),
        _over_channels(np.maximum(square / count - level * level, 0)),
    )


def _over_channels(
    values: Float32[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width"]:
    return np.asarray(cv2.transform(values, np.full((1, 3), 1 / 3, np.float32)), np.float32)


def _smooth(
    image: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width 3"]:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), SMOOTH_PX), np.float32)


def _pieces(
    stays: Bool[np.ndarray, "height width"], size_px: int
) -> list[Bool[np.ndarray, "height width"]]:
    """Edges that lie together."""
    side = max(stays.shape)
    gap = tuple(2 * round(part * side / 2) + 1 for part in GAP)
    joined = cv2.morphologyEx(stays.astype(np.uint8), cv2.MORPH_CLOSE, np.ones(gap))
    _, labels = cv2.connectedComponents(joined)
    labels = np.where(stays, labels, 0)
    sizes = np.bincount(labels.ravel())
    return [labels == piece for piece in np.flatnonzero(sizes >= size_px) if piece > 0]


def _is_line(squares: Float32[np.ndarray, "edge_pixels 3"]) -> bool:
    """Whether edges, by the squares of their gradients, are all of one direction."""
    across, down, both = squares.astype(np.float64).sum(0)
    low, high = np.linalg.eigvalsh(((across, both), (both, down)))
    return bool(low < TWO_WAYS * high)


def _usual(
    edges: Bool[np.ndarray, "height width"],
    details: Float32[np.ndarray, "frames height width 3"],
    moving: Bool[np.ndarray, " frames"],
    least_there: float,
    most_px: float,
) -> Float32[np.ndarray, "edge_pixels 3"] | None:
    """Detail of a mark at its edges; None where it wavers by more than `most_px`, or is there in too few frames.

    These are both all frames and those in which the picture moves: while it stands still, everything stays.
    """
    usual = np.asarray(np.median(details, 0), np.float32)
    there = np.array([contrast(one[edges], usual[edges]) for one in details], np.float32)
    present = there >= PRESENT
    if present.mean() < least_there or present[moving].mean() < least_there:
        return None
    slopes = np.stack([slope[edges] for slope in gradient(usual)], -1)
    rest = details[present][:, edges] - there[present, None, None] * usual[edges]
    if _waver_px(slopes.reshape(-1, 2), rest.reshape(len(rest), -1)) > most_px:
        return None
    return np.asarray(usual[edges], np.float32)


def _waver_px(
    slopes: Float32[np.ndarray, "values 2"], rest: Float32[np.ndarray, "frames values"]
) -> float:
    """How far a mark is from its usual place, root mean square over the frames, pixels.

    Args:
        slopes: Gradients of the mark as it usually is.
        rest: What each frame differs from it by.
    """
    powers, ways = np.linalg.eigh(slopes.T @ slopes)
    moved = rest @ slopes @ ways / powers
    return float(np.sqrt((moved**2).sum(1).mean()))
