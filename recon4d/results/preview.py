"""`preview.png`: one picture that says whether a result is any good.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from recon4d.core.sampling import spread_evenly
from recon4d.core.text import plain_number, printable
from recon4d.io.pictures.files import write_image
from recon4d.results.cloud import depth_edges, lift_points, near_moving
from recon4d.results.overlay import (
    color_depth,
    depth_range,
    known_depth,
    stripes,
    tint_moving,
    turbo,
)
from recon4d.results.result import Result

COLUMNS = 5
"""Frames that are shown, spread over the video."""
THUMB_AREA_PX = 320 * 240
"""Pixels per small picture, whatever its shape."""
GAP_PX, HEADER_PX, WARNINGS_PX, FOOTER_PX = 10, 52, 30, 40
"""Between pictures, and height of the title, of the line that names warnings, and of the line below the pictures."""
BACKGROUND, TEXT, FAINT = (24, 24, 27), (228, 228, 231), (140, 140, 148)
"""RGB of the page, of what is written, and of what matters less."""
AMBER = (250, 190, 60)
"""RGB of warnings."""
NO_DEPTH = "no depth is known"
PLAN_FRAMES = 24
"""Frames whose static points are seen from above."""
PLAN_STRIDE = 3
"""Pixels between those points."""
PLAN_MARGIN = 0.06
"""Of the panel's side, left free around what it shows."""
POINTS_PERCENT = (3.0, 97.0)
"""Percentiles of the points' places that must fit into the panel; the path always fits."""

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Plan:
    """The scene from above: (right, forward) coordinates in the unit of the poses."""

    path: Float64[np.ndarray, "frames 2"]
    heading: Float64[np.ndarray, "frames 2"]
    """Viewing direction of each camera."""
    points: Float64[np.ndarray, "points 2"]


def write_preview(reconstruction: Result, path: Path, names: Sequence[int] | None = None) -> None:
    """Write a contact sheet: image, moving pixels and depth of a few frames, and the camera's path from above.

    Args:
        reconstruction: The result, or some of its frames.
        path: Where to.
        names: Index of each frame in the whole result, where these are only some; the last is that of the last frame.
    """
    write_image(path, draw_preview(reconstruction, names)[..., ::-1])


def draw_preview(reconstruction: Result, names: Sequence[int] | None = None) -> Image:
    """Draw the contact sheet as an RGB image."""
    names = range(len(reconstruction.sources)) if names is None else names
    pictures = _pictures(reconstruction, names)
    panel = _draw_plan(_plan(reconstruction), side=pictures.shape[0])
    height, width = pictures.shape[0], pictures.shape[1] + GAP_PX + panel.shape[1]
    warned = [notice.code for notice in reconstruction.warnings]
    top = HEADER_PX + (WARNINGS_PX if warned else 0)
    sheet = np.full((height + top + FOOTER_PX, width + 2 * GAP_PX, 3), BACKGROUND, np.uint8)
    body = sheet[top : top + height, GAP_PX:-GAP_PX]
    body[:, : pictures.shape[1]] = pictures
    body[:, pictures.shape[1] + GAP_PX :] = panel
    write_text(sheet, _title(reconstruction, names[-1] + 1), (GAP_PX + 4, 34), 22)
    if warned:
        _write_codes(sheet, warned)
    _draw_legend(sheet, reconstruction)
    return sheet


def _pictures(reconstruction: Result, names: Sequence[int]) -> Image:
    """Three rows of small pictures."""
    count, height, width = reconstruction.depth.shape
    frames = spread_evenly(count, COLUMNS)
    scale = np.sqrt(THUMB_AREA_PX / (height * width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    limits = depth_range(reconstruction.depth, reconstruction.confidence)
    columns = []
    for frame in frames:
        image, moving = reconstruction.images[frame], reconstruction.is_dynamic[frame]
        found = reconstruction.depth[frame], reconstruction.confidence[frame]
        colored = color_depth(*found, limits)
        rows = [_resize(rgb, size) for rgb in (image, tint_moving(image, moving), colored)]
        time_s = reconstruction.timestamps_s[frame] - reconstruction.timestamps_s[0]
        _label(rows[0], f"{names[int(frame)]}   {time_s:.2f} s")
        if not known_depth(*found).any():
            _label(rows[2], NO_DEPTH)
        columns.append(_stack(rows, axis=0))
    return _stack(columns, axis=1)


def _plan(reconstruction: Result) -> Plan:
    """Look at cameras and static points along the cameras' mean down axis."""
    poses = reconstruction.world_from_cam
    down, right = poses[:, :3, 1].mean(axis=0), poses[0, :3, 0]
    if np.linalg.norm(down) < 1e-3:  # the camera turned over: no direction is down
        down = poses[0, :3, 1]
    down = down / np.linalg.norm(down)
    right = right - (right @ down) * down
    if np.linalg.norm(right) < 1e-3:  # the first camera looks sideways
        right = np.cross(down, poses[0, :3, 2])
    right = right / np.linalg.norm(right)
    axes = np.stack((right, np.cross(right, down)), axis=1)
    points = []
    for frame in spread_evenly(len(poses), PLAN_FRAMES):
        usable = ~near_moving(reconstruction.is_dynamic[frame])
        usable &= reconstruction.confidence[frame] > 0
        usable &= ~depth_edges(reconstruction.depth[frame])
        grid = np.zeros_like(usable)
        grid[::PLAN_STRIDE, ::PLAN_STRIDE] = True
        points.append(lift_points(reconstruction, int(frame), usable & grid) @ axes)
    return Plan(poses[:, :3, 3] @ axes, poses[:, :3, 2] @ axes, np.concatenate(points))


def _draw_plan(plan: Plan, side: int) -> Image:
    """Draw the view from above: the first camera looks up the panel."""
    panel = np.full((side, side, 3), (12, 12, 14), np.uint8)
    low, high = plan.path.min(axis=0), plan.path.max(axis=0)
    if len(plan.points):
        inner = np.percentile(plan.points, POINTS_PERCENT, axis=0)
        low, high = np.minimum(low, inner[0]), np.maximum(high, inner[1])
    extent = max(float((high - low).max()), 1e-9)
    px_per_unit = side * (1 - 2 * PLAN_MARGIN) / extent

    def to_panel(xy: np.ndarray) -> np.ndarray:
        return np.asarray((xy - (low + high) / 2) * (px_per_unit, -px_per_unit) + side / 2)

    _shade_points(panel, to_panel(plan.points))
    _draw_path(panel, to_panel(plan.path), plan.heading * (1, -1))
    _label(panel, "from above" if len(plan.points) else "from above, cameras alone")
    return panel


def _shade_points(panel: Image, places: Float64[np.ndarray, "points 2"]) -> None:
    """Grey by the number of points in each pixel: walls stand out, floors stay faint."""
    side = panel.shape[0]
    cells = np.floor(places).astype(int)
    inside = ((cells >= 0) & (cells < side)).all(axis=1)
    index = cells[inside, 1] * side + cells[inside, 0]
    hits = np.bincount(index, minlength=side * side).reshape(side, side).astype(np.float32)
    hits = np.asarray(cv2.GaussianBlur(hits, (0, 0), 0.8), np.float32)
    if hits.max() > 0:
        grey = np.sqrt(np.clip(hits / np.percentile(hits[hits > 0.05], 97), 0, 1))
        panel += np.rint(grey * 120).astype(np.uint8)[..., None]


def _draw_path(
    panel: Image, places: Float64[np.ndarray, "frames 2"], heading: Float64[np.ndarray, "frames 2"]
) -> None:
    """Draw the path from blue (start) to red (end), with viewing directions and marks at both ends."""
    colors = turbo(np.linspace(0, 1, len(places), dtype=np.float32)[None])[0].tolist()
    fixed = np.rint(places * 16).astype(int)
    for start, end, color in zip(fixed[:-1], fixed[1:], colors, strict=False):
        cv2.line(panel, start.tolist(), end.tolist(), color, 3, cv2.LINE_AA, shift=4)
    for index in (0, -1):
        tip = np.rint((places[index] + heading[index] * panel.shape[0] * 0.06) * 16).astype(int)
        cv2.line(panel, fixed[index].tolist(), tip.tolist(), colors[index], 2, cv2.LINE_AA, shift=4)
        cv2.circle(panel, fixed[index].tolist(), 7 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
        cv2.circle(panel, fixed[index].tolist(), 5 * 16, colors[index], -1, cv2.LINE_AA, shift=4)


def _write_codes(sheet: Image, codes: Sequence[str]) -> None:
    """Name the warnings of the run in the line below the title, as many as there is room for."""
    place, different = (GAP_PX + 4, HEADER_PX + 12), list(dict.fromkeys(codes))
    for count in range(len(different), -1, -1):
        rest = f" and {len(different) - count} more" if count < len(different) else ""
        text = f"warnings: {', '.join(different[:count])}{rest}"
        if (
            write_text(np.zeros_like(sheet[:WARNINGS_PX]), text, (place[0], 20), 18)
            < sheet.shape[1]
        ):
            write_text(sheet, text, place, 18, AMBER)
            return


def _draw_legend(sheet: Image, reconstruction: Result) -> None:
    """Say what the colours mean, at the bottom."""
    limits = depth_range(reconstruction.depth, reconstruction.confidence)
    unit = " m" if reconstruction.is_metric else ""
    base = sheet.shape[0] - FOOTER_PX + 26
    if limits is None:
        x = write_text(sheet, NO_DEPTH, (GAP_PX + 4, base), 16, FAINT)
    else:
        near, far = (f"{plain_number(depth)}{unit}" for depth in limits)
        x = write_text(sheet, f"depth {near}", (GAP_PX + 4, base), 16, FAINT) + 8
        x = write_text(sheet, far, (_gradient(sheet, x, base, reverse=True) + 8, base), 16, FAINT)
        if not known_depth(reconstruction.depth, reconstruction.confidence).all():
            sheet[base - 11 : base, x + 20 : x + 60] = stripes(320, 320)[:11, :40]
            x = write_text(sheet, "not known", (x + 68, base), 16, FAINT)
    x = write_text(sheet, "time  start", (x + 50, base), 16, FAINT) + 8
    x = write_text(sheet, "end", (_gradient(sheet, x, base, reverse=False) + 8, base), 16, FAINT)
    share = reconstruction.is_dynamic.mean() * 100
    write_text(sheet, f"moving {share:.1f} % of all pixels", (x + 50, base), 16, FAINT)


def _gradient(sheet: Image, x: int, base: int, reverse: bool) -> int:
    ramp = np.linspace(1, 0, 160) if reverse else np.linspace(0, 1, 160)
    sheet[base - 11 : base, x : x + 160] = turbo(ramp.astype(np.float32)[None])
    return x + 160


def _title(reconstruction: Result, count: int) -> str:
    height, width = reconstruction.depth.shape[1:]
    focal = np.median(reconstruction.intrinsics[:, :2], axis=0)
    is_assumed = reconstruction.run.get("focal_source") == "assumed"
    parts = [
        f"{count} frames",
        f"{width}x{height} px",
        f"focal length {'not known, assumed ' if is_assumed else ''}{focal[0]:.1f}, {focal[1]:.1f} px",
        "metres" if reconstruction.is_metric else "relative scale",
    ]
    for key in ("geometry", "masks"):
        if key in reconstruction.run:
            parts.append(f"{key} {reconstruction.run[key]}")
    return "   |   ".join(parts)


def _stack(images: list[Image], axis: int) -> UInt8[np.ndarray, "rows cols 3"]:
    """Put images of the same size beside each other (axis 1) or below each other (axis 0)."""
    shape = list(images[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, BACKGROUND, np.uint8)
    parts = [part for image in images for part in (gap, image)][1:]
    return np.concatenate(parts, axis=axis)


def _resize(image: Image, size: tuple[int, int]) -> UInt8[np.ndarray, "rows cols 3"]:
    shrinks = size[0] <= image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _label(image: Image, text: str) -> None:
    """Write into the upper left corner, readable on any ground."""
    scratch = np.zeros((32, image.shape[1], 3), np.uint8)
    end = write_text(scratch, text, (10, 22), 16)
    image[:28, : end + 10] = image[:28, : end + 10] // 3
    write_text(image, text, (10, 20), 16)


def write_text(
    image: Image,
    text: str,
    place: tuple[int, int],
    size_px: int,
    color: tuple[int, int, int] = TEXT,
) -> int:
    """Write text whose baseline starts at `place`; returns the column where it ends."""
    end, _ = cv2.putText(image, printable(text), place, color, cv2.FontFace("sans"), size_px, 400)
    return int(end[0])
