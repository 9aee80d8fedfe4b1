"""Dense depth, cameras fixed: triangulate, join with the neighbours, complete, place movers, enlarge.

May use the core, `recon4d.optim.triangulate` and `recon4d.optim.objective`.

Numbers here that name no source were set by hand.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import shrink
from recon4d.core.scene import DenseDepth, Flow, MotionMasks, Scene, Video
from recon4d.optim.dense.beside import fill_beside_movers
from recon4d.optim.dense.complete import complete
from recon4d.optim.dense.edges import choose_sides, enlarge
from recon4d.optim.dense.fuse import fuse, observe
from recon4d.optim.dense.guided import SHAPED, Guide
from recon4d.optim.dense.known import join_known, known_confidence, known_depth
from recon4d.optim.dense.movers import MOVING, Regions, moving_regions, placed
from recon4d.optim.dense.moving import joint_levels
from recon4d.optim.dense.observed import Observed
from recon4d.optim.dense.over_time import steady
from recon4d.optim.dense.trust import (
    LEAST,
    Verdict,
    confidence_of,
    judged,
    trust_of,
    weight_of,
)
from recon4d.optim.setting import AlignOptions

CHUNK_FRAMES = 8
"""Frames that are completed at once: enough to keep vector units busy, few enough for the memory budget."""
CONFIDENT = 0.3
"""Trust from which on a pixel takes part in deciding what depths the scene has."""
MIN_CONFIDENT = 200
"""Confident pixels that are needed to decide it; with fewer, the optimizer's samples decide."""
BEYOND = 2.0
"""Depths may lie beyond those of confident pixels by this factor: completed slopes go on for a while."""
TAIL = 0.005
"""Share of confident pixels at either end that may be outliers."""
MOVER = 0.02
"""Confidence of moving pixels: their depth is plausible, not measured, and as wrong as that of far completed ones."""
UNSURE_SHARE = 1 / 3
"""What is left of confidence where the reverse order of depth explains the video about as well: nothing is certain, and
what was measured still stands above what was completed."""
MEASURED = 0.25
"""Confidence that some pixel of a frame must have for its depth to be measured."""


T = TypeVar("T")
R = TypeVar("R")
_Maps = tuple[Float32[np.ndarray, "frames height width"], UInt8[np.ndarray, "frames height width"]]
"""Depth, inverse until a frame is finished, and confidence."""


@dataclass(frozen=True)
class _Inputs:
    video: Video
    flow: Flow
    scene: Scene
    motion: MotionMasks
    device: torch.device


@dataclass(frozen=True)
class _Alone:
    """What each frame of a chunk tells alone, at the samples of `Flow`."""

    frames: list[int]
    surface: Float[Tensor, "frames rows cols"]
    """Static inverse depth."""
    weight: Float[Tensor, "frames rows cols"]
    """What it counts among other frames."""
    observed: Observed
    shapes: Guide | None
    """The user's depth, brought to what is measured."""


def densify(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    options: AlignOptions,
    progress: Progress = no_progress,
    only: range | None = None,
) -> DenseDepth:
    """Find the depth of every pixel of the working size, in every frame.

    Memory beyond the result is that of a few frames: those of a chunk, and those that its flow leads to.

    Args:
        video: Images guide the completion; sensor depth, if any, is a strong measurement in a metric scene.
        flow: Edges in both directions.
        scene: Cameras, taken as exact. Its samples decide whether a frame has any parallax.
        motion: Moving pixels are not triangulated.
        options: Of the optimizer: how many frames are looked at at the same time, and on which device.
        progress: Told about every finished frame.
        only: Consecutive frames that are wanted, all if not given; the others help to see them.
    """
    wanted = only or range(video.num_frames)
    inputs = _Inputs(video, flow, scene, motion, torch.device(options.device))
    width, height = video.size
    depth = np.empty((len(wanted), height, width), np.float32)
    confidence = np.zeros((len(wanted), height, width), np.uint8)
    with (
        ThreadPoolExecutor(max_workers=options.threads) as pool,
        progress("depth", len(wanted)) as counter,
    ):
        in_turn = partial(_in_turn, pool, options.threads)
        alone = list(in_turn(partial(_complete, inputs), _chunks(inputs, wanted, pool)))
        surface = torch.cat([chunk.surface for chunk in alone])
        by_itself = surface.reciprocal().half().cpu().numpy()
        surface = steady(surface, torch.cat([chunk.weight for chunk in alone]), scene, wanted)
        moving = _regions(inputs, wanted, surface)
        finish = partial(_finish, inputs, wanted, surface, moving)
        for frames, found in in_turn(finish, alone):
            place = np.array(frames) - wanted.start
            depth[place], confidence[place] = _shown(found, video, frames)
            counter.advance(len(frames))
    return DenseDepth(depth, confidence, by_itself)


def _in_turn(
    pool: ThreadPoolExecutor, ahead: int, work: Callable[[T], R], parts: Iterable[T]
) -> Iterator[R]:
    """Results of `work` in the order of the parts, of which few are at hand at the same time."""
    running: deque[Future[R]] = deque()
    for part in parts:
        running.append(pool.submit(work, part))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _runs(wanted: range) -> list[list[int]]:
    """The frames, a chunk at a time."""
    starts = range(wanted.start, wanted.stop, CHUNK_FRAMES)
    return [list(range(first, min(first + CHUNK_FRAMES, wanted.stop))) for first in starts]


def _shown(found: _Maps, video: Video, frames: list[int]) -> _Maps:
    """Depth and confidence; 0 where an overlay hides the scene."""
    depth, confidence = 1 / found[0], found[1]
    if video.overlay is None:
        return depth, confidence
    seen = ~np.stack([video.overlay.at(frame) for frame in frames])
    return depth * seen, confidence * seen


def _chunks(
    inputs: _Inputs, wanted: range, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[int], Observed]]:
    """Joined observations, a chunk of frames at a time; keeps views only while a later frame needs them."""
    num_frames, edges = inputs.video.num_frames, inputs.flow.edges
    last_use = np.arange(num_frames)
    np.maximum.at(last_use, edges[:, 1], edges[:, 0])
    views: dict[int, Observed] = {}
    for frames in _runs(wanted):
        partners = edges[np.isin(edges[:, 0], frames), 1].tolist()
        missing = sorted({*frames, *partners} - views.keys())
        views.update(zip(missing, pool.map(partial(_view, inputs), missing), strict=True))
        join = partial(_join, inputs, views)
        yield frames, _stack(list(pool.map(join, frames)))
        views = {frame: view for frame, view in views.items() if last_use[frame] > frames[-1]}


def _join(inputs: _Inputs, views: dict[int, Observed], frame: int) -> Observed:
    observed = fuse(inputs.flow, frame, inputs.scene, views)
    moving = _tensor(inputs.motion.probability[frame], inputs)
    return fill_beside_movers(observed, moving, frame, inputs.scene, views)


def _stack(views: list[Observed]) -> Observed:
    depths = torch.cat([view.inverse_depth for view in views])
    return Observed(depths, torch.cat([view.confidence for view in views]))


def _view(inputs: _Inputs, frame: int) -> Observed:
    static = 1 - inputs.motion.probability[frame]
    view = observe(inputs.flow, frame, inputs.scene, static, inputs.device)
    if not has_parallax(inputs.scene, frame):
        return Observed(view.inverse_depth, torch.zeros_like(view.confidence))
    return view


def has_parallax(scene: Scene, frame: int) -> bool:
    """Whether anything but the prior determines depth in a frame."""
    return bool(np.isfinite(scene.inverse_depth_std[frame]).any())


def _guide(inputs: _Inputs, frames: list[int]) -> Float[Tensor, "frames rows cols 3"]:
    images = inputs.video.images[frames]
    return _tensor(np.stack([_smoothed(image) for image in images]), inputs)


def _complete(inputs: _Inputs, chunk: tuple[list[int], Observed]) -> _Alone:
    """The static surface of a chunk, and what it goes by."""
    frames, observed = chunk
    guide = _guide(inputs, frames)
    moving = _tensor(inputs.motion.probability[frames], inputs)
    known = known_depth(inputs.video, inputs.scene, frames, inputs.device)
    if known is not None:
        observed = join_known(observed, known.at_samples().where(moving <= MOVING))
    shapes = Guide.of(inputs.video, frames, inputs.device)
    if shapes is not None:
        shapes = shapes.following(observed, moving <= MOVING)
        observed = shapes.joined(observed, moving <= MOVING)
    limits = _limits(inputs.scene, frames, observed, SHAPED / 2 if shapes else CONFIDENT)
    completed = Observed(complete(observed, guide, moving, limits), observed.confidence)
    surface = choose_sides(completed, guide)
    weight = _judged(inputs, frames, surface, trust_of(surface, observed), weight_of)
    return _Alone(frames, surface, weight, observed, shapes)


def _judged(
    inputs: _Inputs,
    frames: list[int],
    surface: Float[Tensor, "frames rows cols"],
    trust: Float[Tensor, "frames rows cols"],
    by: Callable[[Tensor, Verdict], Tensor],
) -> Float[Tensor, "frames rows cols"]:
    """Trust as the flow has it, of frames that have parallax."""
    trust = trust.clone()
    for i, frame in enumerate(frames):
        if has_parallax(inputs.scene, frame):
            static = 1 - inputs.motion.probability[frame]
            trust[i] = by(trust[i], judged(surface[i], inputs.flow, frame, inputs.scene, static))
    return trust


def _finish(
    inputs: _Inputs,
    wanted: range,
    surface: Float[Tensor, "all rows cols"],
    regions: list[Regions],
    alone: _Alone,
) -> tuple[list[int], _Maps]:
    """Inverse depth and confidence of a chunk at the working size."""
    frames, observed, shapes = alone.frames, alone.observed, alone.shapes
    part = slice(frames[0] - wanted.start, frames[-1] + 1 - wanted.start)
    moving = _tensor(inputs.motion.probability[frames], inputs)
    known = known_depth(inputs.video, inputs.scene, frames, inputs.device)
    trust = trust_of(surface[part], observed)
    trust = _judged(inputs, frames, surface[part], trust, confidence_of)
    depths, trust = _place_movers(surface[part], trust, regions[part])
    image = _tensor(inputs.video.images[frames].astype(np.float32), inputs)
    full = enlarge(depths, _guide(inputs, frames), image)
    full_trust = F.interpolate(trust[:, None], size=full.shape[1:], mode="nearest")[:, 0]
    if known is not None:
        joined = join_known(Observed(full, full_trust), known)
        full, sure = joined.inverse_depth, known_confidence(joined.inverse_depth, full_trust, known)
        full_trust = torch.where(known.depth > 0, sure, full_trust)
        if not known.is_measured:  # a network's guess of a mover is plausible, too
            moves = F.interpolate(moving[:, None], size=full.shape[1:], mode="nearest")[:, 0]
            full_trust = torch.where(moves > MOVING, MOVER, full_trust)
    if shapes is not None:
        full = shapes.on_movers(full, moving > MOVING)
    return frames, _settle(inputs.scene, frames, full, full_trust, shapes)


def _settle(
    scene: Scene,
    frames: list[int],
    inverse_depth: Float[Tensor, "frames height width"],
    trust: Float[Tensor, "frames height width"],
    shapes: Guide | None,
) -> _Maps:
    """Frames that nothing measures, and no map tells, have a constant; those without a pose have no confidence.

    Where the order of depth is unsure, all have less of it.
    """
    for i, frame in enumerate(frames):
        is_measured = bool((trust[i] > MEASURED).any())
        is_measured |= shapes is not None and bool((shapes.depth[i] > 0).any())
        if not is_measured:
            inverse_depth[i] = float(np.median(scene.inverse_depth[frame]))
        if not is_measured or not scene.is_posed[frame]:
            trust[i] = 0
    if scene.is_order_unsure:
        trust = torch.where(trust > 0, (UNSURE_SHARE * trust).clamp_min(LEAST), 0.0)
    return inverse_depth.cpu().numpy(), (255 * trust).round().to(torch.uint8).cpu().numpy()


def _limits(
    scene: Scene, frames: list[int], observed: Observed, confident: float
) -> Float[Tensor, "frames 2"]:
    """Smallest and largest inverse depth that each frame may have, by its pixels from some trust on."""
    rows = []
    for i, frame in enumerate(frames):
        seen = observed.inverse_depth[i][observed.confidence[i] > confident]
        if len(seen) < MIN_CONFIDENT:
            seen = torch.from_numpy(scene.inverse_depth[frame]).to(seen)
        ends = torch.quantile(seen, seen.new_tensor((TAIL, 1 - TAIL)))
        rows.append(ends * ends.new_tensor((1 / BEYOND, BEYOND)))
    return torch.stack(rows)


def _regions(
    inputs: _Inputs, wanted: range, surface: Float[Tensor, "frames rows cols"]
) -> list[Regions]:
    """The moving regions of all frames, with the inverse depth that they have together."""
    alone = [
        moving_regions(depths, inputs.motion.probability[frame])
        for frame, depths in zip(wanted, surface.cpu().numpy(), strict=True)
    ]
    levels = joint_levels(alone, inputs.flow, inputs.scene, wanted)
    return [replace(one, level=level) for one, level in zip(alone, levels, strict=True)]


def _place_movers(
    surface: Float[Tensor, "frames rows cols"],
    trust: Float[Tensor, "frames rows cols"],
    regions: list[Regions],
) -> tuple[Float[Tensor, "frames rows cols"], Float[Tensor, "frames rows cols"]]:
    static = zip(surface.cpu().numpy(), regions, strict=True)
    depths = np.stack([placed(depths, found.labels, found.level) for depths, found in static])
    is_placed = torch.from_numpy(np.stack([found.labels > 0 for found in regions]))
    trust = torch.where(is_placed.to(surface.device), MOVER, trust)
    return torch.from_numpy(depths).to(surface), trust


def _tensor(array: np.ndarray, inputs: _Inputs) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(inputs.device)


def _smoothed(
    image: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "rows cols 3"]:
    """The image at the samples of `Flow`, without its noise."""
    return cv2.bilateralFilter(shrink(image), 5, 25, 3).astype(np.float32)
