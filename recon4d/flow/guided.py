"""Flow from geometry: once cameras and depth are known, frames far apart can be compared, and all pairs more exactly.

DIS compares upright patches. Over many frames the static world turns, grows and moves farther than its search reaches;
with cameras and depth the target frame can be warped so that the static world stays where it is, and DIS only has to
find what is left: the error of the geometry, and what moves. Errors of short flows add up along a video, those of long
ones do not: on `exact_dancer` and `exact_heavy` the cameras' error falls to less than a half.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8

from recon4d.core.geometry import relative_cameras, scene_rays, static_pixels
from recon4d.core.parallel import each, one_opencv_thread
from recon4d.core.progress import Progress, counted, no_progress
from recon4d.core.sampling import image_size, sample_px
from recon4d.core.scene import Flow, Scene
from recon4d.core.shutter import RowMotion
from recon4d.flow import FlowMethod, window_pairs
from recon4d.flow.matched import CONSISTENT, HOPELESS, PairFlow
from recon4d.flow.matches import FARTHEST
from recon4d.flow.partners import is_slow
from recon4d.flow.store import store_flow
from recon4d.flow.unrolled import rolled_flow
from recon4d.flow.views import FrameViews, with_confidence
from recon4d.flow.warp import flow_from
from recon4d.optim.triangulate import triangulate

KEPT_OFFSETS = (1, 2)
"""Frames so far apart keep their flow: it is short, and holds where the geometry is wrong."""
GUIDED_OFFSETS = (5, 16, 32)
"""Frames so far apart are compared with the help of the geometry."""
SLOW_GUIDED_OFFSETS = (8, 16, 32)
"""The same where the picture hardly moves (`recon4d.flow.partners`); with 64 the cameras of a rendered slow walk are
worse."""
MIN_OVERLAP = 0.3
"""Pairs are not compared when less than this part of the static world stays in the picture, either way."""
MISLED = 0.5
"""Part of the measured flow's consistent samples below which the guided flow of a pair is given up: geometry that fits
loses none of them."""
OVERLAP_STEP = 8
"""Every how many samples that part is taken over. Set by hand, as are those above."""


@dataclass(frozen=True)
class Guide:
    """What frames are compared with the help of."""

    flow: Flow
    """As it was measured, of the window's pairs: some of it is kept."""
    scene: Scene
    """Current cameras."""
    inverse_depth: Float32[np.ndarray, "frames rows cols"]
    """Of every sample."""
    motion: RowMotion | None = None
    """Of the cameras while a shutter rolls."""

    @classmethod
    def of(cls, flow: Flow, scene: Scene, threads: int) -> "Guide":
        """For a shutter that is open at once; depth follows from cameras and flow."""
        frames = range(len(scene.component))
        maps = each(lambda k: triangulate(flow, k, scene).inverse_depth.numpy(), frames, threads)
        return cls(flow, scene, np.stack(list(maps)))


def guided_flow(
    images: UInt8[np.ndarray, "frames height width 3"],
    flow: Flow,
    scene: Scene,
    folder: Path,
    method: FlowMethod,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Flow:
    """Flow whose longer pairs are measured with the geometry's help.

    Pairs of frames whose relative pose is not known keep the flow that they have, and so do those where the geometry
    misleads: what it finds is less consistent than what was measured.

    Args:
        images: At working size.
        flow: Of the window's pairs.
        scene: Current cameras; depth follows from them and the flow.
        folder: Where the new flow's memory maps are written.
        method: Measures it.
        threads: Pairs that are compared at the same time.
        progress: Told about every finished pair.
    """
    return flow_by_guide(images, Guide.of(flow, scene, threads), folder, method, threads, progress)


def flow_by_guide(
    images: UInt8[np.ndarray, "frames height width 3"],
    guide: Guide,
    folder: Path,
    method: FlowMethod,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Flow:
    """As `guided_flow`, as it is measured: with what a shutter adds that rolls."""
    flow, scene = guide.flow, guide.scene
    offsets = SLOW_GUIDED_OFFSETS if is_slow(flow) else GUIDED_OFFSETS
    kept, pairs = _kept_pairs(flow, scene), _guided_pairs(scene, guide.inverse_depth, offsets)
    every = np.concatenate((flow.edges[kept], pairs))
    measured = guided_pairs(
        images, pairs, scene, guide.inverse_depth, method, threads, guide.motion
    )
    height, width = images.shape[1:3]
    with progress("guided flow", total=len(pairs)) as counter:
        found = _unless_misled(counted(measured, counter), flow, pairs)
        both = chain(_both_ways(flow, kept), found)
        return store_flow(enumerate(both), every, (width, height), folder)


def guided_pairs(
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    scene: Scene,
    inverse_depth: Float32[np.ndarray, "frames rows cols"],
    method: FlowMethod,
    threads: int = 1,
    motion: RowMotion | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Flow and confidence of pairs in both directions, as `FlowMethod.pairs` in order, with the geometry's help."""

    def start(m: int, n: int) -> Float32[np.ndarray, "rows cols 2"]:
        still = static_flow(scene, inverse_depth[m], m, n)
        return rolled_flow(still, motion, scene, (m, n), inverse_depth[m])

    views = FrameViews(images)

    def one(pair: Int64[np.ndarray, "2"]) -> tuple[np.ndarray, np.ndarray]:
        a, b = (int(k) for k in pair)
        there, back = (
            flow_from(method, views(m), views(n), start(m, n)) for m, n in ((a, b), (b, a))
        )
        return with_confidence(there, back, views(a), views(b))

    with one_opencv_thread():
        yield from each(one, pairs, threads if method.at_once else 1)


def _unless_misled(
    measured: Iterable[PairFlow], flow: Flow, pairs: Int64[np.ndarray, "pairs 2"]
) -> Iterator[PairFlow]:
    """The guided flow of pairs, or what `flow` has of one where guidance made it much less consistent."""
    half = len(flow.edges) // 2
    row_of = flow.row_of()
    for pair, guided in zip(pairs.tolist(), measured, strict=True):
        row = row_of.get(tuple(pair))
        before = 0.0 if row is None else _consistent(flow.confidence[[row, row + half]])
        if before < HOPELESS or _consistent(guided[1]) >= MISLED * before:
            yield guided
        else:
            yield from _both_ways(flow, np.array([row], np.int64))


def _consistent(sure: UInt8[np.ndarray, "2 rows cols"]) -> float:
    """Part of the samples whose flow is consistent."""
    return float((sure > CONSISTENT).mean())


def static_flow(
    scene: Scene,
    inverse_depth: Float32[np.ndarray, "rows cols"],
    source: int,
    target: int,
    step: int = 1,
) -> Float32[np.ndarray, "_ _ 2"]:
    """Flow of a static world, pixels; far outside where a point is behind the target.

    Args:
        scene: Cameras.
        inverse_depth: Of the source frame's samples.
        source: A frame.
        target: Another.
        step: Every how many samples of `Flow`, in each direction, the flow is wanted.
    """
    rows, cols = inverse_depth.shape
    turned, moved = (x[0] for x in relative_cameras(scene, source, np.array([target])))
    grid = torch.from_numpy(sample_px(rows, cols))
    limit = FARTHEST * float(grid.max())
    uv = grid[::step, ::step]
    ray = scene_rays(scene, source, uv.reshape(-1, 2))
    depth = torch.from_numpy(np.ascontiguousarray(inverse_depth[::step, ::step]))
    there, _ = static_pixels(turned, moved, ray, depth.flatten())
    return np.asarray((there.T.reshape(uv.shape) - uv).clamp_(-limit, limit).numpy(), np.float32)


def _kept_pairs(flow: Flow, scene: Scene) -> Int64[np.ndarray, " pairs"]:
    """Rows of `flow.edges`, of one direction, whose flow is kept."""
    first, second = flow.edges[: len(flow.edges) // 2].T
    short = np.isin(np.abs(second - first), KEPT_OFFSETS)
    return np.flatnonzero(short | ~_is_related(scene, first, second))


def _both_ways(
    flow: Flow, kept: Int64[np.ndarray, " pairs"]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Flow and confidence of kept pairs, as `guided_pairs`."""
    half = len(flow.edges) // 2
    for pair in kept.tolist():
        ways = [pair, pair + half]
        yield flow.flow_px[ways], flow.confidence[ways]


def _guided_pairs(
    scene: Scene, inverse_depth: Float32[np.ndarray, "frames rows cols"], offsets: tuple[int, ...]
) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs of related frames so far apart that show the same part of the world."""
    return overlapping(scene, inverse_depth, window_pairs(len(inverse_depth), offsets))


def overlapping(
    scene: Scene,
    inverse_depth: Float32[np.ndarray, "frames rows cols"],
    pairs: Int64[np.ndarray, "pairs 2"],
) -> Int64[np.ndarray, "kept 2"]:
    """Those pairs of related frames that show the same part of the world, as far as the geometry tells."""
    found = pairs[_is_related(scene, *pairs.T)]
    overlap = [
        min(_overlap(scene, inverse_depth[m], m, n) for m, n in ((a, b), (b, a)))
        for a, b in found.tolist()
    ]
    shared = np.array(overlap, np.float64) >= MIN_OVERLAP
    return np.asarray(found[shared])


def _is_related(
    scene: Scene, first: Int64[np.ndarray, " pairs"], second: Int64[np.ndarray, " pairs"]
) -> Bool[np.ndarray, " pairs"]:
    """Whether the relative pose of two frames is measured."""
    posed = scene.is_posed[first] & scene.is_posed[second]
    return np.asarray(posed & (scene.component[first] == scene.component[second]))


def _overlap(
    scene: Scene, inverse_depth: Float32[np.ndarray, "rows cols"], source: int, target: int
) -> float:
    """Part of the source's static world that the target shows."""
    rows, cols = inverse_depth.shape
    moved = static_flow(scene, inverse_depth, source, target, OVERLAP_STEP)
    there = moved + sample_px(rows, cols)[::OVERLAP_STEP, ::OVERLAP_STEP]
    return float(((there >= 0) & (there < image_size(rows, cols))).all(-1).mean())
