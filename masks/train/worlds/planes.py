"""A renderer of textured planar patches: with exact depth, motion and visibility, a few milliseconds per patch.

Everything in a training world is a parallelogram with a picture on it: walls, faces of boxes, and, with a transparent
border, movers. A patch's point (s, t) in [0, 1]^2 lies at `origin + s across + t down`; with the camera's matrix this
is a 3x3 matrix M, and M^-1 (u, v, 1) = (s, t, 1) / z: texture coordinates and inverse depth of a pixel are linear
functions (Hartley and Zisserman, Multiple View Geometry, 8.1).

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int16, UInt8

NOTHING = -1
"""Surface index of pixels that show no patch."""
NEAREST = 0.02
"""z-depth below which nothing is drawn, world units."""
INVERSION_STEPS = 12
"""Fixed-point steps that invert a patch's bending; each shrinks the error by the bending's slope (below 0.5)."""
SOLID = 0.5
"""Opacity from which a pixel shows the patch."""

Pose = Float64[np.ndarray, "4 4"]
Coordinates = tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]


@dataclass(frozen=True)
class Bend:
    """Sway of a picture within its patch: legs that swing, cloth that waves. Offsets are parts of the patch's sides."""

    amplitude: float
    """Largest offset."""
    speed: float
    """Radians per frame."""
    phase: float
    waves: float
    """Waves over the height."""
    split: float
    """0: all moves alike; 1: the left and the right half swing against each other, more so further down."""

    def offset(
        self, s: Float[np.ndarray, "*shape"], t: Float[np.ndarray, "*shape"], time: float
    ) -> Float[np.ndarray, "*shape"]:
        """Offset of the picture's s at a point of the patch."""
        swing = np.sin(self.speed * time + self.phase + 2 * np.pi * self.waves * t)
        side = np.tanh(6 * (s - 0.5)) * self.split + (1 - self.split)
        low = np.clip(2 * t - 1, 0, 1) * self.split + (1 - self.split)
        return np.asarray(self.amplitude * swing * side * low)


@dataclass(frozen=True)
class Patch:
    """A picture on a parallelogram."""

    origin: Float64[np.ndarray, "3"]
    across: Float64[np.ndarray, "3"]
    down: Float64[np.ndarray, "3"]
    picture: UInt8[np.ndarray, "rows cols 3"]
    alpha: Float32[np.ndarray, "rows cols"] | None = None
    """Opacity; all opaque where not given."""
    moved: Callable[[float], Pose] | None = None
    """Rigid motion in the world at a time in frames; None stands still."""
    bend: Bend | None = None
    mover: int = NOTHING
    """Which mover it is a part of."""
    is_shade: bool = False
    """Shadows and reflections: they colour what they lie on, and are no surface."""
    is_through: bool = False
    """Drawn whatever lies before it: reflections in a floor."""

    @cached_property
    def levels(self) -> tuple[tuple[np.ndarray, np.ndarray | None], ...]:
        """Picture and opacity at full size, half, quarter, ... against aliasing."""
        found = [(self.picture, self.alpha)]
        while min(found[-1][0].shape[:2]) > 16:
            picture, alpha = found[-1]
            size = (picture.shape[1] // 2, picture.shape[0] // 2)
            less = None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
            smaller = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            found.append((np.asarray(smaller, np.uint8), less))
        return tuple(found)

    def frame(self, time: float) -> Float64[np.ndarray, "3 3"]:
        """Columns (across, down, origin) in the world at a time."""
        columns = np.stack((self.across, self.down, self.origin), axis=1)
        if self.moved is None:
            return columns
        pose = self.moved(time)
        turned = pose[:3, :3] @ columns
        turned[:, 2] += pose[:3, 3]
        return np.asarray(turned)

    def picture_point(self, s: np.ndarray, t: np.ndarray, time: float) -> Coordinates:
        """The point of the picture that a point of the patch shows."""
        return (s if self.bend is None else s + self.bend.offset(s, t, time)), t

    def patch_point(self, s: np.ndarray, t: np.ndarray, time: float) -> Coordinates:
        """The point of the patch that shows a point of the picture."""
        if self.bend is None:
            return s, t
        found = s
        for _ in range(INVERSION_STEPS):
            found = s - self.bend.offset(found, t, time)
        return found, t


@dataclass(frozen=True)
class View:
    """A pinhole camera at a time in frames."""

    world_from_cam: Pose
    intrinsics: Float64[np.ndarray, "4"]
    """(fx, fy, cx, cy) in pixels; the centre of the first pixel is (0.5, 0.5)."""
    time: float

    def matrix(self, patch: Patch) -> Float64[np.ndarray, "3 3"]:
        """M with M (s, t, 1) = z (u, v, 1)."""
        fx, fy, cx, cy = self.intrinsics
        frame = patch.frame(self.time)
        frame[:, 2] -= self.world_from_cam[:3, 3]
        in_cam = self.world_from_cam[:3, :3].T @ frame
        return np.asarray(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]) @ in_cam)


@dataclass(frozen=True)
class Picture:
    """What a camera sees."""

    colour: Float32[np.ndarray, "rows cols 3"]
    """0 to 255."""
    inverse_depth: Float32[np.ndarray, "rows cols"]
    surface: Int16[np.ndarray, "rows cols"]
    """Index of the patch, or `NOTHING`."""


def draw(
    patches: Sequence[Patch],
    view: View,
    size: tuple[int, int],
    rows: slice | None = None,
) -> Picture:
    """Draw all patches in their order; where two overlap, the nearer one is seen.

    Args:
        patches: Opaque ones first; transparent ones are laid over what is there.
        view: The camera.
        size: (width, height) of the whole picture.
        rows: Which rows to draw; all if not given.
    """
    top, bottom, _ = (rows or slice(None)).indices(size[1])
    shape = (bottom - top, size[0])
    canvas = Picture(
        np.zeros((*shape, 3), np.float32),
        np.zeros(shape, np.float32),
        np.full(shape, NOTHING, np.int16),
    )
    for index in _far_to_near(patches, view):
        _draw_one(patches[index], index, view, top, canvas)
    return canvas


def follow(
    patches: Sequence[Patch],
    source: View,
    target: View,
    surface: Int16[np.ndarray, "rows cols"],
) -> Float64[np.ndarray, "rows cols 3"]:
    """Where the points that the source's pixels show are in the target: (u, v, z); zeros where they show nothing."""
    found = np.zeros((*surface.shape, 3))
    for index in np.unique(surface[surface != NOTHING]):
        row, col = np.nonzero(surface == index)
        patch = patches[index]
        s, t, _ = _coordinates(np.linalg.inv(source.matrix(patch)), col + 0.5, row + 0.5)
        at = patch.patch_point(*patch.picture_point(s, t, source.time), target.time)
        x, y, z = target.matrix(patch) @ np.stack((*at, np.ones_like(s)))
        found[row, col] = np.stack((x / z, y / z, z), axis=1)
    return found


def _far_to_near(patches: Sequence[Patch], view: View) -> list[int]:
    """Opaque patches in their order (the depth buffer sorts them), then transparent ones from far to near."""

    def depth(patch: Patch) -> float:
        return float((view.matrix(patch) @ (0.5, 0.5, 1.0))[2])

    def rank(index: int) -> tuple[int, float]:
        patch = patches[index]
        if patch.is_shade:
            return 1, float(index)
        return (0, float(index)) if patch.alpha is None else (2, -depth(patch))

    return sorted(range(len(patches)), key=rank)


def _coordinates(
    inverse: Float64[np.ndarray, "3 3"], u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(s, t) and inverse depth of pixels."""
    x, y, w = (row[0] * u + row[1] * v + row[2] for row in inverse.astype(u.dtype))
    z = 1 / np.where(np.abs(w) > 1e-9, w, 1e-9)
    return x * z, y * z, w


def _draw_one(patch: Patch, index: int, view: View, top: int, canvas: Picture) -> None:
    matrix = view.matrix(patch)
    if abs(np.linalg.det(matrix)) < 1e-9:
        return  # seen edge-on
    window = _window(matrix, top, canvas.surface.shape)
    if window is None:
        return
    rows, cols = window
    u, v = np.meshgrid(
        np.arange(cols.start, cols.stop, dtype=np.float32) + 0.5,
        np.arange(rows.start, rows.stop, dtype=np.float32) + (top + 0.5),
    )
    s, t, near = _coordinates(np.linalg.inv(matrix), u, v)
    s, t = patch.picture_point(s, t, view.time)
    seen = (near > 0) & (near < 1 / NEAREST) & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    if not patch.is_through:
        margin = 0.98 if patch.is_shade else 1.0  # a shadow lies on its floor
        seen &= near > canvas.inverse_depth[window] * margin
    if seen.any():
        _blend(patch, index, (s, t, near, seen), canvas, window)


def _blend(
    patch: Patch,
    index: int,
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    canvas: Picture,
    window: tuple[slice, slice],
) -> None:
    s, t, near, seen = found
    picture, alpha = patch.levels[_level(patch, s, t, seen)]
    map_s = (s * picture.shape[1] - 0.5).astype(np.float32)
    map_t = (t * picture.shape[0] - 0.5).astype(np.float32)
    colour = cv2.remap(picture, map_s, map_t, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if alpha is None:
        cv2.copyTo(colour.astype(np.float32), seen.view(np.uint8), canvas.colour[window])
        solid = seen
    else:
        cover = cv2.remap(alpha, map_s, map_t, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = np.where(seen, cover, 0)[..., None]
        canvas.colour[window] += cover * (colour - canvas.colour[window])
        solid = seen & (cover[..., 0] > SOLID)
    if not patch.is_shade:
        canvas.inverse_depth[window] = np.where(solid, near, canvas.inverse_depth[window])
        canvas.surface[window] = np.where(solid, np.int16(index), canvas.surface[window])


def _level(patch: Patch, s: np.ndarray, t: np.ndarray, seen: np.ndarray) -> int:
    """The level at which neighbouring pixels are about one texel apart, at the middle of what is seen."""
    row, col = np.nonzero(seen)
    middle = len(row) // 2
    r, c = min(row[middle], s.shape[0] - 2), min(col[middle], s.shape[1] - 2)
    if r < 0 or c < 0:
        return 0
    height, width = patch.picture.shape[:2]
    du, dv = abs(s[r, c + 1] - s[r, c]) * width, abs(t[r + 1, c] - t[r, c]) * height
    texels = float(max(du, dv))
    level = int(np.floor(np.log2(max(texels, 1.0)) + 0.5)) if np.isfinite(texels) else 0
    return min(level, len(patch.levels) - 1)


def _window(
    matrix: Float64[np.ndarray, "3 3"], top: int, shape: tuple[int, ...]
) -> tuple[slice, slice] | None:
    """Rows and columns that can show a patch; None where none can."""
    corners = np.array([(s, t, 1.0) for s in (-0.02, 1.02) for t in (0, 1)]) @ matrix.T
    depth = corners[:, 2]
    if (depth < NEAREST).all():
        return None
    whole = slice(0, shape[0]), slice(0, shape[1])
    if (depth < NEAREST).any():
        return whole
    at = corners[:, :2] / depth[:, None]
    low, high = np.floor(at.min(0)).astype(int), np.ceil(at.max(0)).astype(int)
    rows = slice(max(low[1] - top, 0), min(high[1] - top, shape[0]))
    cols = slice(max(low[0], 0), min(high[0], shape[1]))
    return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None
