"""Coloured point clouds of a reconstruction: the static world fused over all frames, and what moves in one frame.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from recon4d.core.pinhole import length_at, project_array, view_angle
from recon4d.results.result import Result

MIN_CONFIDENCE = 64
"""Confidence (of 255) below which depth is mostly completion, and is left out of the static cloud."""
MAX_POINTS = 1_500_000
"""Points of a static cloud: what a laptop without a graphics card still turns fluently."""
MAX_SAMPLES = 5_000_000
"""Pixels that are fused; more are redundant, because neighbouring frames see the same surfaces."""
VOXEL_PX = 1.3
"""Edge of a voxel in pixels at the median depth: what one frame resolves."""
FAR = 30.0
"""Multiple of the median depth beyond which depth carries no position (sky, infinity)."""
EDGE_STEP = 0.06
"""Relative change of depth over 3x3 pixels that only an occlusion edge, or a grazing surface, has."""
EDGE_BEND = 0.008
"""Relative deviation of inverse depth from a plane over 5x5 pixels: tells an edge from a grazing plane."""
MASK_MARGIN = 0.012
"""Share of the image width by which moving regions are widened: their outlines are soft and cast shadows."""
SEEN_THROUGH = 0.06
"""Relative depth by which a point must lie in front of what another frame sees there to be refuted by it."""
CONFIDENT_FRAMES = 0.02
"""Share of confident pixels below which the confidence cannot choose (a still camera): all depth is used."""


@dataclass(frozen=True)
class PointCloud:
    """Points in the world, in the scale that depth and poses share."""

    points: Float32[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    """RGB."""
    normals: Float32[np.ndarray, "points 3"]
    """Unit length, on the side from which the cameras saw the surface."""
    confidence: UInt8[np.ndarray, " points"]
    """255 = certain."""
    relative_std: Float32[np.ndarray, " points"]
    """Standard deviation of the depth over the depth; infinite: not known."""

    @property
    def num_points(self) -> int:
        """Number of points."""
        return len(self.points)

    def select(self, chosen: Bool[np.ndarray, " points"]) -> "PointCloud":
        """Return the chosen points."""
        return PointCloud(
            self.points[chosen],
            self.colors[chosen],
            self.normals[chosen],
            self.confidence[chosen],
            self.relative_std[chosen],
        )


def join(clouds: list[PointCloud]) -> PointCloud:
    """Concatenate clouds."""
    if not clouds:
        nothing = np.zeros((0, 3), np.float32)
        none = np.zeros(0, np.float32)
        return PointCloud(nothing, nothing.astype(np.uint8), nothing, none.astype(np.uint8), none)
    return PointCloud(
        np.concatenate([cloud.points for cloud in clouds]),
        np.concatenate([cloud.colors for cloud in clouds]),
        np.concatenate([cloud.normals for cloud in clouds]),
        np.concatenate([cloud.confidence for cloud in clouds]),
        np.concatenate([cloud.relative_std for cloud in clouds]),
    )


def median_depth(reconstruction: Result) -> float:
    """Median z-depth of the static pixels: the scale of the scene; 1 where no depth is known."""
    depth = reconstruction.depth[:, ::8, ::8]
    static = (depth > 0) & ~reconstruction.is_dynamic[:, ::8, ::8]
    chosen = static if static.any() else depth > 0
    return float(np.median(depth[chosen])) if chosen.any() else 1.0


def default_voxel(reconstruction: Result) -> float:
    """Edge of a voxel in scene units: `VOXEL_PX` pixels at the median depth."""
    focal_px = float(np.median(reconstruction.intrinsics[:, :2]))
    return length_at(median_depth(reconstruction), VOXEL_PX, focal_px)


def usable_confidence(reconstruction: Result, min_confidence: int) -> int:
    """Return `min_confidence`, or 0 where next to nothing of the result reaches it."""
    reached = reconstruction.confidence[:, ::4, ::4] >= min_confidence
    static = ~reconstruction.is_dynamic[:, ::4, ::4]
    share = (reached & static).sum() / max(int(static.sum()), 1)
    return min_confidence if share >= CONFIDENT_FRAMES else 0


def static_cloud(
    reconstruction: Result,
    min_confidence: int = MIN_CONFIDENCE,
    voxel: float | None = None,
    max_points: int = MAX_POINTS,
    max_samples: int = MAX_SAMPLES,
) -> PointCloud:
    """Fuse the static pixels of all frames.

    Pixels on depth edges, and points that other frames see through, are left out.

    Args:
        reconstruction: The result.
        min_confidence: Pixels below are left out, unless the result as a whole is below (a still camera).
        voxel: Points closer than this (scene units) are averaged; by default `default_voxel`.
        max_points: The voxels grow until there are no more points than this.
        max_samples: Pixels and frames are skipped evenly so that no more than about this many are fused.
    """
    frames, stride = _sampling(reconstruction, max_samples)
    least = usable_confidence(reconstruction, min_confidence)
    size = default_voxel(reconstruction) if voxel is None else voxel
    far = FAR * median_depth(reconstruction)
    parts: list[PointCloud] = []
    for frame in frames:
        chosen = _static_pixels(reconstruction, frame, least, far)[::stride, ::stride]
        part = lift(reconstruction, frame, chosen, stride)
        others = _witnesses(frame, frames)
        parts.append(_merge(part.select(_is_solid(reconstruction, part, others)), size))
    cloud = _merge(join(parts), size)
    while cloud.num_points > max_points:
        size *= 1.1 * (cloud.num_points / max_points) ** 0.5  # points lie on surfaces
        cloud = _merge(cloud, size)
    return cloud


def moving_cloud(
    reconstruction: Result, frame: int, min_confidence: int = 0, pixel_stride: int = 1
) -> PointCloud:
    """Lift the moving pixels of one frame, but for those on depth edges.

    Args:
        reconstruction: The result.
        frame: Index of the frame.
        min_confidence: Pixels below are left out. Nothing triangulates a mover, so its confidence is low.
        pixel_stride: Take every so many pixels in each direction.
    """
    depth = reconstruction.depth[frame]
    near = (depth > 0) & (depth < FAR * median_depth(reconstruction))
    sure = reconstruction.confidence[frame] >= min_confidence
    chosen = reconstruction.is_dynamic[frame] & near & sure & ~depth_edges(depth)
    return lift(reconstruction, frame, chosen[::pixel_stride, ::pixel_stride], pixel_stride)


def _sampling(reconstruction: Result, max_samples: int) -> tuple[list[int], int]:
    """Frames and pixel stride that keep the number of samples below `max_samples`, evenly."""
    count, height, width = reconstruction.depth.shape
    per_frame = max_samples / min(count, 100)
    stride = max(1, round((height * width / per_frame) ** 0.5))
    affordable = max(1, int(max_samples * stride**2 / (height * width)))
    step = -(-count // affordable)
    return list(range(0, count, step)), stride


def _static_pixels(
    reconstruction: Result, frame: int, min_confidence: int, far: float
) -> Bool[np.ndarray, "height width"]:
    depth = reconstruction.depth[frame]
    moving = near_moving(reconstruction.is_dynamic[frame])
    sure = reconstruction.confidence[frame] >= min_confidence
    near = (depth > 0) & (depth < far)
    return np.asarray(near & sure & ~moving & ~depth_edges(depth))


def near_moving(is_dynamic: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Moving pixels and a margin around them."""
    margin = 2 * round(MASK_MARGIN * is_dynamic.shape[1]) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
    return np.asarray(cv2.dilate(is_dynamic.astype(np.uint8), disc) > 0)


def depth_edges(
    depth: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "height width"]:
    """Pixels between two surfaces, whose depth belongs to neither; unknown pixels (0) count as a surface."""
    log_depth = np.log(np.maximum(depth, 1e-6))
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(log_depth, kernel) - cv2.erode(log_depth, kernel)
    inverse = 1 / np.maximum(depth, 1e-6)
    bend = np.abs(inverse - cv2.blur(inverse, (5, 5))) / inverse
    bent = cv2.dilate(bend, np.ones((5, 5), np.uint8)) > EDGE_BEND
    return np.asarray((step > EDGE_STEP) & bent)


def lift(
    reconstruction: Result,
    frame: int,
    chosen: Bool[np.ndarray, "rows cols"],
    stride: int = 1,
) -> PointCloud:
    """Points of the chosen ones among every `stride`-th pixel of a frame."""
    in_cam = _in_cam(reconstruction, frame, stride)
    pose = reconstruction.world_from_cam[frame].astype(np.float32)
    return PointCloud(
        in_cam[chosen] @ pose[:3, :3].T + pose[:3, 3],
        reconstruction.images[frame, ::stride, ::stride][chosen],
        _normals(in_cam)[chosen] @ pose[:3, :3].T,
        reconstruction.confidence[frame, ::stride, ::stride][chosen],
        relative_std(reconstruction, frame, stride)[chosen],
    )


def lift_points(
    reconstruction: Result, frame: int, chosen: Bool[np.ndarray, "height width"]
) -> Float32[np.ndarray, "points 3"]:
    """Where the chosen pixels of a frame are, nothing else of them."""
    pose = reconstruction.world_from_cam[frame].astype(np.float32)
    found = _in_cam(reconstruction, frame, 1)[chosen] @ pose[:3, :3].T + pose[:3, 3]
    return np.asarray(found, np.float32)


def _in_cam(reconstruction: Result, frame: int, stride: int) -> Float32[np.ndarray, "rows cols 3"]:
    depth = reconstruction.depth[frame, ::stride, ::stride]
    fx, fy, cx, cy = reconstruction.intrinsics[frame]
    rows, cols = depth.shape
    x = view_angle(np.arange(cols) * stride + 0.5 - cx, fx).astype(np.float32) * depth
    y = view_angle(np.arange(rows) * stride + 0.5 - cy, fy).astype(np.float32)[:, None] * depth
    return np.stack((x, y, depth), axis=-1)


def relative_std(
    reconstruction: Result, frame: int, stride: int = 1
) -> Float32[np.ndarray, "rows cols"]:
    """Standard deviation of every `stride`-th pixel's depth over the depth; infinite: not known."""
    depth = reconstruction.depth[frame, ::stride, ::stride]
    out = np.full(depth.shape, np.inf, np.float32)
    if reconstruction.depth_std is not None:
        std = reconstruction.depth_std[frame, ::stride, ::stride].astype(np.float32)
        np.divide(std, depth, out=out, where=depth > 0)
    return out


def _normals(
    in_cam: Float32[np.ndarray, "rows cols 3"],
) -> Float32[np.ndarray, "rows cols 3"]:
    """Unit normals that face the camera, from smoothed central differences."""
    smooth = cv2.blur(in_cam, (5, 5))
    across = np.gradient(smooth, axis=1)
    down = np.gradient(smooth, axis=0)
    normals = np.cross(across, down)
    normals *= -np.sign((normals * in_cam).sum(-1, keepdims=True))
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-20), np.float32)


def _witnesses(frame: int, frames: list[int]) -> list[int]:
    """Return frames near and far in time that check the points of a frame."""
    place, count = frames.index(frame), len(frames)
    near, far = max(1, count // 25), max(2, count // 8)
    places = (place - far, place - near, place + near, place + far)
    return [frames[p] for p in places if 0 <= p < count]


def _is_solid(
    reconstruction: Result, cloud: PointCloud, others: list[int]
) -> Bool[np.ndarray, " points"]:
    """Points that at least as many other frames confirm as refute; what nobody sees is solid."""
    balance = np.zeros(cloud.num_points, np.int8)
    height, width = reconstruction.depth.shape[1:]
    for other in others:
        pose = reconstruction.world_from_cam[other].astype(np.float32)
        intrinsics = reconstruction.intrinsics[other].astype(np.float32)
        in_cam = (cloud.points - pose[:3, 3]) @ pose[:3, :3]
        z = in_cam[:, 2]
        front = np.flatnonzero(z > 0)
        u, v = np.floor(project_array(in_cam[front], intrinsics)).T
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        seen = front[inside]
        row, col = v[inside].astype(np.int64), u[inside].astype(np.int64)
        there = reconstruction.depth[other][row, col]
        usable = (there > 0) & ~reconstruction.is_dynamic[other][row, col]
        ratio = z[seen] / np.where(usable, there, 1)
        balance[seen] += (usable & (np.abs(ratio - 1) < SEEN_THROUGH)).astype(np.int8)
        balance[seen] -= (usable & (ratio <= 1 - SEEN_THROUGH)).astype(np.int8)
    return balance >= 0


def _merge(cloud: PointCloud, voxel: float) -> PointCloud:
    """Average the points of each voxel, weighted by confidence; the best confidence and deviation of them stay."""
    if cloud.num_points == 0:
        return cloud
    keys = _voxel_keys(cloud.points, voxel)
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    confidence = cloud.confidence[order]
    weight = confidence.astype(np.float32)[:, None] + 1
    total = np.add.reduceat(weight, first)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(values[order] * weight, first) / total)

    origin = cloud.points.mean(axis=0)  # small numbers: float32 sums stay exact enough
    normals = mean(cloud.normals)
    length = np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    return PointCloud(
        mean(cloud.points - origin) + origin,
        np.rint(mean(cloud.colors.astype(np.float32))).astype(np.uint8),
        normals / length,
        np.maximum.reduceat(confidence, first),
        np.minimum.reduceat(cloud.relative_std[order], first),
    )


def _voxel_keys(
    points: Float32[np.ndarray, "points 3"], voxel: float
) -> Int64[np.ndarray, " points"]:
    """One number per voxel: 21 bits for each axis."""
    cells = np.floor(points / np.float32(voxel)).astype(np.int64)
    cells = np.clip(cells + 2**20, 0, 2**21 - 1)
    return np.asarray((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2])
