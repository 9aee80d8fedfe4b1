"""Maps of depth that are made frame by frame, brought to what they say in the mean of some frames.

Each is off by a smooth factor over the picture, and by one for every moving object: not by the same ones in the next
frame.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32

from recon4d.core.geometry import transfer
from recon4d.core.sampling import cell_of, sample_at, sample_px
from recon4d.core.scene import Flow, MotionMasks, Scene, Video

MOVING = 0.5
"""Probability from which on a pixel moves."""
FEW = 12
"""Samples of `Flow` that tell a mover's change of depth."""
MOST_CHANGE = 1.0
"""Logarithm of depth by which a mover changes between compared frames, at most."""
APART = (-8, -5, -3, -2, -1, 1, 2, 3, 5, 8)
"""Frames that static parts are compared with: those of the flow."""
STEP = 4
"""Every so-manieth sample of `Flow` is compared, in both directions."""
OTHER = 0.15
"""Logarithm of the difference at which a place has half of its weight: it is hidden there, or at an edge."""
ROUNDS = 3
"""Times that this is done: the second one doubles the span of time."""
REACH = 0.03
"""Standard deviation of the mean around a place, parts of the picture's width."""


@dataclass(frozen=True)
class Finished:
    """What the user's depth is aligned to."""

    video: Video
    flow: Flow
    scene: Scene
    motion: MotionMasks

    @property
    def static(self) -> Bool[np.ndarray, "frames rows cols"]:
        """Samples of `Flow` that do not move."""
        return np.asarray(self.motion.probability < MOVING)


def steady(depth: Float32[np.ndarray, "frames height width"], to: Finished) -> None:
    """Change maps in place, which are in the unit of the scene."""
    for _ in range(ROUNDS):
        _steady_once(depth, to)


def _steady_once(depth: Float32[np.ndarray, "frames height width"], to: Finished) -> None:
    count, size = len(depth), (depth.shape[2], depth.shape[1])
    static = [_static_change(depth, to, frame) for frame in range(count)]
    movers = _mover_changes(depth, to)
    for frame in range(count):
        change = cv2.resize(static[frame], size, interpolation=cv2.INTER_LINEAR)
        if frame in movers:
            labels, by_label = movers[frame]
            region = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
            change = np.where(region > 0, by_label[region], change)
        depth[frame] *= np.exp(change)


def _static_change(
    depth: Float32[np.ndarray, "frames height width"], to: Finished, frame: int
) -> Float32[np.ndarray, "rows cols"]:
    """Logarithm of the factor that brings the static part of a map to the mean of those around."""
    scene, rows, cols = to.scene, *to.static.shape[1:]
    cells = np.stack(np.meshgrid(np.arange(0, rows, STEP), np.arange(0, cols, STEP), indexing="ij"))
    shape, px = cells.shape[1:], sample_at(np.moveaxis(cells, 0, -1).reshape(-1, 2))
    here = depth[frame][_pixel(px, depth)]
    known = (here > 0) & to.static[frame][cells[0], cells[1]].reshape(-1)
    total, weights = np.zeros(len(px)), known.astype(np.float64)
    for other in (frame + apart for apart in APART):
        if not 0 <= other < len(depth) or scene.component[other] != scene.component[frame]:
            continue
        found, ratio = _carried(scene, frame, other, px, here)
        row, col = cell_of(found).T
        use = known & (ratio > 0) & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        use[use] &= to.static[other][row[use], col[use]]
        there = np.where(use, depth[other][_pixel(found, depth)], 0)
        use &= there > 0
        change = np.log(np.where(use, there / np.where(use, here * ratio, 1), 1))
        weight = use / (1 + (change / OTHER) ** 2)
        total, weights = total + weight * change, weights + weight
    mean = np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    reach = REACH * cols / STEP
    sums = [
        cv2.GaussianBlur(x.reshape(shape), (0, 0), reach)
        for x in (known * mean, known.astype(float))
    ]
    return np.asarray(sums[0] / np.maximum(sums[1], 1e-6), np.float32)


def _carried(
    scene: Scene,
    frame: int,
    other: int,
    px: Float32[np.ndarray, "points 2"],
    depth: Float32[np.ndarray, " points"],
) -> tuple[Float32[np.ndarray, "points 2"], Float32[np.ndarray, " points"]]:
    """Where static points are in another frame, and their depth there over that here."""
    relative = np.linalg.inv(scene.world_from_cam[other]) @ scene.world_from_cam[frame]
    intrinsics = torch.from_numpy(np.array(scene.intrinsics, np.float32))
    inverse = torch.from_numpy(np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0))
    turned = torch.from_numpy(relative.astype(np.float32))
    found, ratio = transfer(
        torch.from_numpy(px), inverse, turned, intrinsics[frame], intrinsics[other]
    )
    found = torch.where((ratio > 0)[:, None], found, -1.0).clamp(-1e6, 1e6)
    return found.numpy(), ratio.numpy()


def _mover_changes(
    depth: Float32[np.ndarray, "frames height width"], to: Finished
) -> dict[int, tuple[Int32[np.ndarray, "rows cols"], Float32[np.ndarray, " regions"]]]:
    """Regions of movers, and the logarithm of the factor that brings each to the mean of the frames around.

    Shapes stay. Partners are as many before
    as after, so that a mover's own motion is not lost; near the ends of a video a part of it is.
    """
    partners: dict[int, list[int]] = {}
    for edge, (frame, _) in enumerate(to.flow.edges.tolist()):
        partners.setdefault(frame, []).append(edge)
    levels = {}
    for frame in range(len(depth)):
        count, labels = cv2.connectedComponents((~to.static[frame]).astype(np.uint8))
        if count > 1:
            changes = [_changes(depth, to, edge, labels, count) for edge in partners.get(frame, [])]
            levels[frame] = labels, _mean_change(changes, count)
    return levels


def _changes(
    depth: Float32[np.ndarray, "frames height width"],
    to: Finished,
    edge: int,
    labels: Int32[np.ndarray, "rows cols"],
    count: int,
) -> list[float]:
    """Logarithm of the change of every region's depth to a partner frame; nan where it is not seen there."""
    frame, other = to.flow.edges[edge].tolist()
    rows, cols = labels.shape
    row, col = np.nonzero(labels)
    px = sample_px(rows, cols)[row, col]
    target = px + np.asarray(to.flow.flow_px[edge][row, col], np.float32)
    there_row, there_col = np.clip(cell_of(target), 0, (rows - 1, cols - 1)).T
    here, there = depth[frame][_pixel(px, depth)], depth[other][_pixel(target, depth)]
    use = (to.flow.confidence[edge][row, col] > 0) & (here > 0) & (there > 0)
    use &= ~to.static[other][there_row, there_col]
    change = np.log(there[use] / here[use])
    mine = labels[row[use], col[use]]
    return [
        float(np.median(change[mine == label])) if (mine == label).sum() >= FEW else np.nan
        for label in range(count)
    ]


def _pixel(px: Float32[np.ndarray, "points 2"], depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.clip(px.astype(int), 0, (depth.shape[2] - 1, depth.shape[1] - 1)).T
    return v, u


def _mean_change(changes: list[list[float]], count: int) -> Float32[np.ndarray, " regions"]:
    """Mean over the partners, and the frame itself, whose change is 0."""
    every = np.array([[0.0] * count, *changes])
    every = np.clip(every, -MOST_CHANGE, MOST_CHANGE)
    every[:, 0] = 0
    return np.asarray(np.nanmean(every, axis=0), np.float32)
