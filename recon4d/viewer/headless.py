"""A picture of a result without a display: points as squares in a depth buffer, or as discs on a GPU.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from recon4d.core.pinhole import project_array, view_angle
from recon4d.io.pictures.files import write_image
from recon4d.results.cloud import PointCloud, join, median_depth, moving_cloud, static_cloud
from recon4d.results.colours import PLAIN, StdScale, Style, missing_uncertainty, styled, viridis
from recon4d.results.folder import read_result
from recon4d.results.frustums import (
    camera_lines,
    ellipsoid_legend,
    ellipsoid_lines,
    frustum_lines,
    path_lines,
)
from recon4d.results.preview import write_text
from recon4d.results.result import Result
from recon4d.results.trails import trail_lines
from recon4d.viewer.drawer import PointDrawer, point_drawer
from recon4d.viewer.moment import checked_frame, describe_frame

SIZE_PX = (1280, 960)
"""(width, height) of the picture."""
BACKGROUND = (250, 250, 252)
"""RGB of the picture where nothing is."""
ELEVATION_DEG, AZIMUTH_DEG = 22.0, 24.0
"""How far the view is turned up and to the side of the first camera: a three-quarter view."""
FIELD_OF_VIEW_DEG = 50.0
"""Across the width of the picture."""
MARGIN = 0.9
"""Share of the picture, from its centre, within which the whole path and most points lie."""
INNER_PERCENT = (4.0, 96.0)
"""Percentiles of the points' places, along each axis of the view, that must be in the picture."""
MAX_FITTED = 5000
"""Points that the view is fitted to."""
STEP_BACK, MAX_STEPS = 1.05, 120
"""Factor by which the view's distance grows until it sees all that, and how often at most: 350 times as far."""
CAMERA_COLOR, PATH_COLOR, CURRENT_COLOR = (70, 110, 255), (235, 60, 60), (255, 140, 0)
"""RGB of frustums, of the camera's path, and of the frustum of the moment that is shown."""
ELLIPSOID_COLOR = (230, 30, 160)
"""RGB of the cameras' uncertainty."""
INK = (40, 40, 44)
"""RGB of what is written."""
LEGEND_PX, RAMP_PX = 64, 200
"""Height of the legend, and width of its colours, pixels."""


def render_png(
    result: Path,
    file: Path,
    tell: Callable[[str], None] = print,
    style: Style = PLAIN,
    frame: int | None = None,
) -> Path:
    """Write a three-quarter view of a result folder: static cloud, movers of one frame, cameras and path.

    Without a frame it is the middle one, which the user is told.
    """
    reconstruction = read_result(result)
    count = len(reconstruction.images)
    shown = checked_frame(frame, count, count // 2)
    if frame is None:
        tell(f"shown is {describe_frame(reconstruction, shown)}; --frame N shows another one")
    missing = missing_uncertainty(reconstruction) if style.needs_uncertainty else None
    if missing is not None:
        tell(missing.message)
    draw_points = point_drawer(splat, BACKGROUND, tell)
    picture = draw(reconstruction, shown, style=style, draw_points=draw_points)
    write_image(file, picture[..., ::-1], suffix=".png")
    return file


def draw(
    reconstruction: Result,
    frame: int,
    size: tuple[int, int] = SIZE_PX,
    style: Style = PLAIN,
    draw_points: PointDrawer | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture as an RGB image; coloured by uncertainty, it has ellipsoids and a legend.

    Args:
        reconstruction: The result.
        frame: Whose moving points are shown.
        size: (width, height) in pixels.
        style: How points are shown.
        draw_points: What draws the points; `splat` by default.
    """
    static, moving = static_cloud(reconstruction), moving_cloud(reconstruction, frame)
    cloud = join([static, moving])
    has_legend = style.color == "uncertainty"
    size = (size[0], size[1] - LEGEND_PX) if has_legend else size
    focal = size[0] / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
    reach = view_angle(size[0] / 2, focal), view_angle(size[1] / 2, focal)
    view_from_world = path_view(reconstruction, cloud, reach)
    scale = StdScale.of(reconstruction)
    shown = join([styled(static, style, scale), styled(moving, style, scale, moves=True)])
    picture = (draw_points or splat)(shown, view_from_world, focal, size)
    drawings: list[tuple[np.ndarray, tuple[int, int, int]]] = [
        (camera_lines(reconstruction), CAMERA_COLOR),
        (path_lines(reconstruction), PATH_COLOR),
        (frustum_lines(reconstruction, frame), CURRENT_COLOR),
        (ellipsoid_lines(reconstruction) if has_legend else np.zeros((0, 2, 3)), ELLIPSOID_COLOR),
    ]
    trails, colors = trail_lines(reconstruction, frame)
    for red, green, blue in np.unique(colors, axis=0).tolist():
        own = (colors == (red, green, blue)).all(1)
        drawings.append((trails[own], (red, green, blue)))
    for lines, color in drawings:
        _draw_lines(picture, lines, view_from_world, focal, color)
    write_text(picture, describe_frame(reconstruction, frame), (16, 30), 18, INK)
    return np.concatenate((picture, _legend(reconstruction, size[0]))) if has_legend else picture


def _legend(reconstruction: Result, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """What the colours and the ellipsoids mean."""
    strip = np.full((LEGEND_PX, width, 3), BACKGROUND, np.uint8)
    scale = StdScale.of(reconstruction)
    if scale is None:
        write_text(strip, "the uncertainty of depth is not known", (16, 26), 16, INK)
    else:
        strip[13:28, 16 : 16 + RAMP_PX] = viridis(np.linspace(0, 1, RAMP_PX))
        write_text(strip, scale.legend, (16 + RAMP_PX + 12, 26), 16, INK)
    write_text(strip, ellipsoid_legend(reconstruction), (16, 50), 16, INK)
    return strip


def path_view(
    reconstruction: Result, cloud: PointCloud, reach: tuple[float, float]
) -> Float64[np.ndarray, "4 4"]:
    """A camera behind and above the mean camera that sees the whole path and most of the cloud.

    Args:
        reconstruction: The result.
        cloud: What is shown of it.
        reach: Largest |x / z| and |y / z| that the picture shows.
    """
    poses, depth = reconstruction.world_from_cam, median_depth(reconstruction)
    forward = _unit(poses[:, :3, 2].mean(axis=0), poses[0, :3, 2])
    down = _unit(poses[:, :3, 1].mean(axis=0), poses[0, :3, 1])
    right = _unit(np.cross(down, forward), poses[0, :3, 0])
    up, side = np.radians(ELEVATION_DEG), np.radians(AZIMUTH_DEG)
    away = -np.cos(up) * np.cos(side) * forward - np.cos(up) * np.sin(side) * right
    away -= np.sin(up) * down
    target, distance = poses[:, :3, 3].mean(axis=0) + depth * forward, depth
    view = _looking(target, target + distance * away, down, right)
    box = _box(view, np.concatenate((poses[:, :3, 3], _inner(view, cloud.points))))
    target = np.linalg.inv(view)[:3] @ np.append(box.mean(axis=0), 1)
    for _ in range(MAX_STEPS):
        view = _looking(target, target + distance * away, down, right)
        if _sees(view, poses[:, :3, 3], reach) and _sees(view, _inner(view, cloud.points), reach):
            break
        distance *= STEP_BACK
    return view


def _inner(
    view_from_world: Float64[np.ndarray, "4 4"], points: Float[np.ndarray, "points 3"]
) -> Float64[np.ndarray, "inner 3"]:
    """Points in the world without the outermost ones along the view's axes; few of them are enough."""
    few = points[:: max(1, len(points) // MAX_FITTED)].astype(np.float64)
    if not len(few):
        return few
    in_view = few @ view_from_world[:3, :3].T
    low, high = np.percentile(in_view, INNER_PERCENT, axis=0)
    return np.asarray(few[((in_view >= low) & (in_view <= high)).all(axis=1)])


def _box(
    view_from_world: Float64[np.ndarray, "4 4"], points: Float64[np.ndarray, "points 3"]
) -> Float64[np.ndarray, "2 3"]:
    """Smallest and largest coordinates in the view."""
    in_view = points @ view_from_world[:3, :3].T + view_from_world[:3, 3]
    return np.stack((in_view.min(axis=0), in_view.max(axis=0)))


def _looking(
    target: Float64[np.ndarray, "3"],
    eye: Float64[np.ndarray, "3"],
    down: Float64[np.ndarray, "3"],
    right: Float64[np.ndarray, "3"],
) -> Float64[np.ndarray, "4 4"]:
    """`view_from_world` of a camera at `eye` that looks at `target`, upright."""
    look = _unit(target - eye, np.cross(right, down))
    across = _unit(np.cross(down, look), right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack((across, np.cross(look, across), look), axis=1)
    pose[:3, 3] = eye
    return np.asarray(np.linalg.inv(pose))


def _sees(
    view_from_world: Float64[np.ndarray, "4 4"],
    points: Float64[np.ndarray, "points 3"],
    reach: tuple[float, float],
) -> bool:
    """Whether all points are in the picture, at `MARGIN` of it."""
    x, y, z = (points @ view_from_world[:3, :3].T + view_from_world[:3, 3]).T
    limit = MARGIN * z
    inside = (np.abs(x) < limit * reach[0]) & (np.abs(y) < limit * reach[1])
    return bool(((z > 0) & inside).all())


def _unit(
    vector: Float64[np.ndarray, "3"], otherwise: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3"]:
    """The vector's direction; where cameras look in opposite directions and it vanishes, that of another."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 1e-6 else otherwise)


def splat(
    cloud: PointCloud,
    view_from_world: Float64[np.ndarray, "4 4"],
    focal: float,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "height width 3"]:
    """Nearest point per pixel; gaps between points of one surface are closed by growing points."""
    width, height = size
    pose = view_from_world.astype(np.float32)
    in_view = cloud.points @ pose[:3, :3].T + pose[:3, 3]
    front = in_view[:, 2] > 1e-6
    in_view, colors = in_view[front], cloud.colors[front]
    u, v = np.floor(project_array(in_view, _lens(focal, size))).astype(np.int64).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    index, z, colors = (v * width + u)[inside], in_view[inside, 2], colors[inside]
    far_first = np.argsort(-z, kind="stable")
    depth = np.full(width * height, np.inf, np.float32)
    picture = np.full((width * height, 3), BACKGROUND, np.uint8)
    depth[index[far_first]], picture[index[far_first]] = z[far_first], colors[far_first]
    return _grow(depth.reshape(height, width), picture.reshape(height, width, 3))


def _lens(focal: float, size: tuple[int, int]) -> Float64[np.ndarray, "4"]:
    """Intrinsics of the view."""
    return np.array([focal, focal, size[0] / 2, size[1] / 2])


def _grow(
    depth: Float[np.ndarray, "height width"], picture: UInt8[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Every pixel takes the nearest point of its 3x3 neighbours if that lies clearly in front; twice."""
    for _ in range(2):
        best, out = depth.copy(), picture.copy()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                there = np.roll(depth, (dy, dx), axis=(0, 1))
                nearer = there < 0.97 * best
                best[nearer] = there[nearer]
                out[nearer] = np.roll(picture, (dy, dx), axis=(0, 1))[nearer]
        depth, picture = best, out
    return picture


def _draw_lines(
    picture: UInt8[np.ndarray, "height width 3"],
    lines: Float[np.ndarray, "lines 2 3"],
    view_from_world: Float64[np.ndarray, "4 4"],
    focal: float,
    color: tuple[int, int, int],
) -> None:
    height, width = picture.shape[:2]
    ends = lines @ view_from_world[:3, :3].T + view_from_world[:3, 3]
    ahead = ends[(ends[..., 2] > 1e-6).all(axis=1)]
    for p, q in project_array(ahead, _lens(focal, (width, height))):
        if max(np.abs(p).max(), np.abs(q).max()) < 1e5:
            cv2.line(picture, p.astype(int).tolist(), q.astype(int).tolist(), color, 1, cv2.LINE_AA)
