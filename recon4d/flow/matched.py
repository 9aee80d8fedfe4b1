"""Flow from a matched start: where a method finds nothing from nothing, sparse matches say where to look.

In a fast pan things move farther between frames than a dense method's search reaches. The target, warped by a
homography that most of the matches obey, leaves it what is left of the motion. A mover that the camera follows is found
from nothing, the world behind it from the matches: every part of the picture takes what is more consistent there.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from recon4d.core.parallel import each
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.matches import flow_by, homography
from recon4d.flow.views import FrameView, FrameViews, with_confidence
from recon4d.flow.warp import flow_from

PairFlow = tuple[np.ndarray, np.ndarray]
"""Flow and confidence of both directions of a pair, as in `Measured`."""
CONSISTENT = 127
"""Confidence above which flow is called consistent."""
HOPELESS = 0.06
"""Part of the textured samples with consistent flow below which nothing is found: fast pans have less than .03 (DAVIS
`libby`, `bmx-trees`, `drift-straight`, every 2nd frame), pairs up to `NEAR` apart of other clips .08 or more."""
ENOUGH = 0.85
"""The same at which a pair around needs no better flow."""
NEAR = 3
"""Frames apart: where pairs of frames so near are hopeless, and matches help, the camera is fast, and all pairs around
begin from matches. Pairs farther apart of slower clips are measured anew by the geometry (`recon4d.flow.guided`)."""
STRETCH = 80
"""Pairs that are judged together, and held in memory: those of 16 frames."""
REGION = 9
"""Side of the window over which the confidence of two flows is compared, samples."""
COARSE = 4
"""Samples, in each direction, that become one where confident flow is spread to begin from it once more."""
SPREAD = (8, 2)
"""Standard deviations over which it is spread, in so many samples; the finer one where it finds anything."""
FOUND = 0.05
"""Part of the finer window that must be confident for that."""


def flow_of_pairs(
    method: FlowMethod,
    plain: Callable[[FrameView, FrameView], PairFlow],
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    threads: int,
) -> Iterator[Measured]:
    """Flow of pairs as `FlowMethod.pairs`, in the order of first frames; from matches where things move too fast.

    Args:
        method: Measures what is left of warped frames.
        plain: Measures a pair from nothing.
        images: Frames.
        pairs: Unordered pairs of different frames.
        threads: Pairs that are worked on at the same time.
    """
    views = FrameViews(images)
    order = np.argsort(pairs[:, 0], kind="stable")
    for begin in range(0, len(pairs), STRETCH):
        yield from _stretch(method, plain, views, pairs, order[begin : begin + STRETCH], threads)


def _stretch(
    method: FlowMethod,
    plain: Callable[[FrameView, FrameView], PairFlow],
    views: FrameViews,
    pairs: Int64[np.ndarray, "pairs 2"],
    rows: Int64[np.ndarray, " rows"],
    threads: int,
) -> Iterable[Measured]:
    """Flow of some pairs: where matches help one that is near and hopeless, all may begin from matches."""

    def both(at: int) -> tuple[FrameView, FrameView]:
        return views(int(pairs[at, 0])), views(int(pairs[at, 1]))

    def matched(at: int) -> PairFlow:
        return from_matches(method, *both(at), found[at])

    def again(which: list[int]) -> None:
        found.update(zip(which, list(each(matched, which, threads)), strict=True))

    every = rows.tolist()
    found = dict(zip(every, each(lambda at: plain(*both(at)), every, threads), strict=True))
    apart = np.abs(pairs[rows, 1] - pairs[rows, 0])
    near = rows[apart <= max(NEAR, apart.min())].tolist()
    hopeless = [at for at in near if share(found[at], *both(at)) < HOPELESS]
    again(hopeless)
    if any(share(found[at], *both(at)) >= HOPELESS for at in hopeless):
        again([at for at in every if at not in hopeless])
    return found.items()


def share(found: PairFlow, a: FrameView, b: FrameView) -> float:
    """Part of the textured samples of a pair whose flow is consistent; 1 where nothing has texture."""
    textured = np.stack((a.texture, b.texture)) > 0.5
    return float((found[1] > CONSISTENT)[textured].mean()) if textured.any() else 1.0


def from_matches(method: FlowMethod, a: FrameView, b: FrameView, plain: PairFlow) -> PairFlow:
    """Flow of a pair from sparse matches where these help, otherwise as it is.

    Args:
        method: Measures what is left of warped frames.
        a: A frame.
        b: Another.
        plain: Flow and confidence of the pair, both directions.
    """
    if share(plain, a, b) >= ENOUGH:
        return plain
    there = homography(a.features, b.features)
    if there is None:
        return plain
    starts = (flow_by(warp, *a.texture.shape) for warp in (there, np.linalg.inv(there)))
    best = _better(plain, _from_starts(method, a, b, *starts), a, b)
    starts = (_spread(flow, sure) for flow, sure in zip(*best, strict=True))
    return _better(best, _from_starts(method, a, b, *starts), a, b)


def _from_starts(
    method: FlowMethod,
    a: FrameView,
    b: FrameView,
    there: Float32[np.ndarray, "rows cols 2"],
    back: Float32[np.ndarray, "rows cols 2"],
) -> PairFlow:
    return with_confidence(flow_from(method, a, b, there), flow_from(method, b, a, back), a, b)


def _better(known: PairFlow, new: PairFlow, a: FrameView, b: FrameView) -> PairFlow:
    """Of two flows of a pair, or both joined, the one that is most consistent."""
    flows = []
    for way in (0, 1):
        before, after = (_around(found[1][way]) for found in (known, new))
        is_new = (after > before)[..., None]
        flows.append(np.where(is_new, new[0][way], known[0][way]).astype(np.float32))
    joined = with_confidence(flows[0], flows[1], a, b)
    return max((known, new, joined), key=lambda found: share(found, a, b))


def _around(sure: UInt8[np.ndarray, "rows cols"]) -> Float32[np.ndarray, "rows cols"]:
    """Confidence of the surroundings of every sample."""
    return np.asarray(cv2.blur(sure.astype(np.float32), (REGION, REGION)))


def _spread(
    flow: Float[np.ndarray, "rows cols 2"], sure: UInt8[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols 2"]:
    """A smooth flow through the confident part of another."""
    rows, cols = sure.shape
    weight = (sure > CONSISTENT).astype(np.float32)
    weighted = np.dstack((flow.astype(np.float32) * weight[..., None], weight))
    small = max(cols // COARSE, 1), max(rows // COARSE, 1)
    coarse = cv2.resize(weighted, small, interpolation=cv2.INTER_AREA)
    far, near = (cv2.GaussianBlur(coarse, (0, 0), sigma) for sigma in SPREAD)
    wide, fine = (blurred[..., :2] / np.maximum(blurred[..., 2:], 1e-6) for blurred in (far, near))
    part = np.clip(near[..., 2:] / FOUND, 0, 1)
    smooth = (part * fine + (1 - part) * wide).astype(np.float32)
    return np.asarray(cv2.resize(smooth, (cols, rows), interpolation=cv2.INTER_LINEAR))
