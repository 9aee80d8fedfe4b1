"""A ray caster for small worlds of textured boxes and ellipsoids, with exact depth, identity and motion.

The demo video and the synthetic scenes of the tests are made with it. Works on any floating dtype: float32 is enough
for pictures, float64 gives flow that is exact to rounding.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int16, Int64, UInt8

from recon4d.core.pinhole import project_array, rays_array

BACKGROUND = -1
"""Solid index of a ray that meets nothing."""
LIGHT_DIRECTION = np.array([-0.45, -0.8, -0.4]) / np.linalg.norm([0.45, 0.8, 0.4])
"""From a surface towards the light, in world axes (y is down): from above, left and the viewer's side."""
AMBIENT = 0.62
"""Share of the light that reaches a surface turned away from the light."""

NEAREST_CORNER = 1e-3
"""z-depth, metres, below which a corner of a solid is not projected, because its pixel would be far off or mirrored."""

Texels: TypeAlias = tuple[
    Float32[np.ndarray, "rows cols"],
    Float32[np.ndarray, "rows cols"],
    Float32[np.ndarray, "rows cols"],
]
"""Where points lie in a solid's texture, (u, v) in texels, and the cosine of the light's angle there."""


@dataclass(frozen=True)
class Solid:
    """A box or an ellipsoid that is axis-aligned in its own frame."""

    shape: Literal["box", "ellipsoid"]
    world_from_solid: Float64[np.ndarray, "4 4"]
    """Rigid pose at rest."""
    half_size: Float64[np.ndarray, "3"]
    """Half of the extent along each own axis, world units."""
    texture: UInt8[np.ndarray, "rows cols 3"]
    """Box: six square faces side by side (-x, +x, -y, +y, -z, +z). Ellipsoid: longitude by latitude."""
    is_moving: bool = False
    is_inward: bool = False
    """A room: the box is seen from inside."""


@dataclass(frozen=True)
class World:
    """Solids, and the rigid motion that all moving ones share."""

    solids: tuple[Solid, ...]
    moved_from_rest: Callable[[float], Float64[np.ndarray, "4 4"]]
    """Rigid motion of the moving solids at a time in seconds."""

    def world_from_solid(self, index: int, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Pose of one solid at a time."""
        solid = self.solids[index]
        rest = solid.world_from_solid
        return self.moved_from_rest(time_s) @ rest if solid.is_moving else rest

    @property
    def is_moving(self) -> Bool[np.ndarray, " solids"]:
        """Which solids move."""
        return np.array([solid.is_moving for solid in self.solids])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at one time."""

    world_from_cam: Float64[np.ndarray, "4 4"]
    intrinsics: Float64[np.ndarray, "4"]
    """(fx, fy, cx, cy) in pixels; the centre of the first pixel is (0.5, 0.5)."""
    time_s: float

    def directions(
        self, uv_px: Float[np.ndarray, "rows cols 2"]
    ) -> Float[np.ndarray, "rows cols 3"]:
        """World directions of pixels; their length is such that the ray parameter is z-depth."""
        right, down, ahead = self.world_from_cam[:3, :3].T.astype(uv_px.dtype)
        rays = rays_array(uv_px, self.intrinsics.astype(uv_px.dtype))
        directions = rays[..., :1] * right + ahead
        directions += rays[..., 1:2] * down
        return np.asarray(directions)

    def project(self, points: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
        """Pixel (u, v) and z-depth of world points."""
        in_cam = (points - self.world_from_cam[:3, 3]) @ self.world_from_cam[:3, :3]
        return np.concatenate((project_array(in_cam, self.intrinsics), in_cam[..., 2:]), axis=-1)


@dataclass(frozen=True)
class Hits:
    """What each ray meets first."""

    depth: Float[np.ndarray, "rows cols"]
    """z-depth; infinite where a ray meets nothing."""
    solid: Int16[np.ndarray, "rows cols"]
    """Index in `World.solids`, `BACKGROUND` where a ray meets nothing."""
    colour: Float[np.ndarray, "rows cols 3"] | None
    """Shaded colour, 0..255; None where only the geometry was asked for."""


def pixel_grid(
    size: tuple[int, int], per_pixel: int = 1, dtype: type[np.floating] = np.float64
) -> Float[np.ndarray, "rows cols 2"]:
    """Pixels `(u, v)` of `per_pixel` x `per_pixel` rays in every pixel of an image of size (width, height)."""
    u = (np.arange(size[0] * per_pixel, dtype=dtype) + dtype(0.5)) / dtype(per_pixel)
    v = (np.arange(size[1] * per_pixel, dtype=dtype) + dtype(0.5)) / dtype(per_pixel)
    return np.stack(np.meshgrid(u, v), axis=-1)


def cast(
    world: World, camera: Camera, uv_px: Float[np.ndarray, "rows cols 2"], with_colour: bool = False
) -> Hits:
    """Find what the rays through some pixels meet.

    Args:
        world: What can be met.
        camera: Where the rays start, and when.
        uv_px: A regular grid as of `pixel_grid`; anything else must have one row.
        with_colour: Whether to paint, which takes most of the time.
    """
    directions = camera.directions(uv_px)
    rows, cols = uv_px.shape[:2]
    depth = np.full((rows, cols), np.inf, uv_px.dtype)
    index = np.full((rows, cols), BACKGROUND, np.int16)
    colour = np.zeros((rows, cols, 3), np.float32) if with_colour else None
    for i, solid in enumerate(world.solids):
        world_from_solid = world.world_from_solid(i, camera.time_s)
        window = _window(solid, world_from_solid, camera, uv_px)
        origin, local = _own_rays(solid, world_from_solid, camera, directions[window])
        distance = _enter_box(origin, local, solid.is_inward)
        if solid.shape == "ellipsoid":
            distance = _enter_ellipsoid(origin, local)
        is_nearer = distance < depth[window]
        if not is_nearer.any():
            continue
        depth[window] = np.where(is_nearer, distance, depth[window])
        index[window] = np.where(is_nearer, np.int16(i), index[window])
        if colour is not None:
            surface = origin + np.where(is_nearer, distance, 0)[..., None] * local
            painted = _paint(solid, world_from_solid, surface.astype(np.float32, copy=False))
            cv2.copyTo(painted, is_nearer.view(np.uint8), colour[window])
    return Hits(depth, index, colour)


def picture(hits: Hits, per_pixel: int) -> UInt8[np.ndarray, "height width 3"]:
    """Average the rays of every pixel into an anti-aliased picture."""
    assert hits.colour is not None, "cast(..., with_colour=True) is what can be looked at"
    rows, cols = hits.depth.shape
    size = (cols // per_pixel, rows // per_pixel)
    mean = cv2.resize(hits.colour, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(mean, 0, 255).round().astype(np.uint8))


def follow(
    world: World,
    source: Camera,
    target: Camera,
    uv_px: Float64[np.ndarray, "rows cols 2"],
    hits: Hits,
) -> Float64[np.ndarray, "rows cols 3"]:
    """Where the surface points that pixels show are seen by another camera at its own time.

    Args:
        world: What the cameras look at.
        source: The camera whose pixels are followed.
        target: The camera that sees the same surface points at its own time.
        uv_px: The pixels of the source.
        hits: What `cast` says about them.

    Returns:
        (u, v, z-depth) in the target camera, whether or not something hides the point there.
    """
    points = source.world_from_cam[:3, 3] + hits.depth[..., None] * source.directions(uv_px)
    then = world.moved_from_rest(target.time_s) @ np.linalg.inv(
        world.moved_from_rest(source.time_s)
    )
    moved = points @ then[:3, :3].T + then[:3, 3]
    is_moving = np.append(world.is_moving, False)[hits.solid]
    return target.project(np.where(is_moving[..., None], moved, points))


def _window(
    solid: Solid,
    world_from_solid: Float64[np.ndarray, "4 4"],
    camera: Camera,
    uv_px: Float[np.ndarray, "rows cols 2"],
) -> tuple[slice, slice] | tuple[slice, Int64[np.ndarray, " rays"]]:
    """Index of the rays that can meet a solid: a rectangle of a grid, or a list where there is one row."""
    everything = slice(None), slice(None)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3)
    corners = signs * solid.half_size @ world_from_solid[:3, :3].T + world_from_solid[:3, 3]
    depth = (corners - camera.world_from_cam[:3, 3]) @ camera.world_from_cam[:3, 2]
    if solid.is_inward or depth.min() < NEAREST_CORNER:
        return everything
    seen = camera.project(corners)
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    if uv_px.shape[0] == 1:
        inside = ((uv_px[0] >= low) & (uv_px[0] <= high)).all(-1)
        return slice(None), np.flatnonzero(inside)
    cols = slice(*np.searchsorted(uv_px[0, :, 0], (low[0], high[0])).tolist())
    rows = slice(*np.searchsorted(uv_px[:, 0, 1], (low[1], high[1])).tolist())
    return rows, cols


def _own_rays(
    solid: Solid,
    world_from_solid: Float64[np.ndarray, "4 4"],
    camera: Camera,
    directions: Float[np.ndarray, "rows cols 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "rows cols 3"]]:
    """Rays in the solid's frame, where it is the cube [-1, 1]^3 or the unit ball."""
    to_own = world_from_solid[:3, :3] / solid.half_size
    origin = (camera.world_from_cam[:3, 3] - world_from_solid[:3, 3]) @ to_own
    return origin.astype(directions.dtype), directions @ to_own.astype(directions.dtype)


def _enter_box(
    origin: Float[np.ndarray, "3"], directions: Float[np.ndarray, "rows cols 3"], is_inward: bool
) -> Float[np.ndarray, "rows cols"]:
    """Ray parameter at which rays enter (or, from inside, leave) the cube; infinite where they miss it."""
    enter = np.full(directions.shape[:2], -np.inf, directions.dtype)
    leave = np.full(directions.shape[:2], np.inf, directions.dtype)
    for axis in range(3):
        with np.errstate(divide="ignore"):  # a ray parallel to a face meets it at infinity
            slope = 1 / directions[..., axis]
        low, high = (-1 - origin[axis]) * slope, (1 - origin[axis]) * slope
        np.maximum(enter, np.minimum(low, high), out=enter)
        np.minimum(leave, np.maximum(low, high), out=leave)
    if is_inward:
        return leave
    return np.where((enter <= leave) & (enter > 0), enter, np.asarray(np.inf, enter.dtype))


def _enter_ellipsoid(
    origin: Float[np.ndarray, "3"], directions: Float[np.ndarray, "rows cols 3"]
) -> Float[np.ndarray, "rows cols"]:
    """Ray parameter at which rays enter the unit ball; infinite where they miss it."""
    a = np.einsum("...i,...i", directions, directions)
    b = directions @ origin
    discriminant = b * b - a * (origin @ origin - 1)
    enter = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant > 0) & (enter > 0), enter, np.asarray(np.inf, enter.dtype))


def _paint(
    solid: Solid,
    world_from_solid: Float64[np.ndarray, "4 4"],
    surface: Float32[np.ndarray, "rows cols 3"],
) -> Float32[np.ndarray, "rows cols 3"]:
    """Shaded colour of points on a solid, given in its frame."""
    towards_light = (LIGHT_DIRECTION @ world_from_solid[:3, :3]).astype(np.float32)
    if solid.is_inward:
        towards_light = -towards_light
    looked_up = _box_texels if solid.shape == "box" else _ball_texels
    u, v, facing = looked_up(solid, surface, towards_light)
    painted = cv2.remap(solid.texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light = np.float32(AMBIENT) + np.float32(1 - AMBIENT) * np.maximum(facing, 0)
    return np.asarray(painted * light[..., None], np.float32)


def _box_texels(
    solid: Solid,
    surface: Float32[np.ndarray, "rows cols 3"],
    towards_light: Float32[np.ndarray, "3"],
) -> Texels:
    """Texels of points on a box, whose six faces lie side by side."""
    side = solid.texture.shape[0]
    x, y, z = cv2.split(surface)
    size_x, size_y, size_z = np.abs(x), np.abs(y), np.abs(z)
    is_x = (size_x >= size_y) & (size_x >= size_z)
    is_y = ~is_x & (size_y >= size_z)
    axis = 2 - 2 * is_x.astype(np.int8) - is_y
    face = 2 * axis + (np.where(is_x, x, np.where(is_y, y, z)) > 0)
    half = np.float32((side - 1) / 2)
    u = (np.where(is_x, z, x) + 1) * half + np.float32(side) * face
    v = (np.where(is_y, z, y) + 1) * half
    return u, v, np.stack((-towards_light, towards_light), axis=1).ravel()[face]


def _ball_texels(
    solid: Solid,
    surface: Float32[np.ndarray, "rows cols 3"],
    towards_light: Float32[np.ndarray, "3"],
) -> Texels:
    """Texels of points on an ellipsoid, by longitude and latitude."""
    rows, cols = solid.texture.shape[:2]
    x, y, z = cv2.split(surface)
    u = (np.arctan2(x, z) / np.float32(2 * np.pi) + np.float32(0.5)) * np.float32(cols - 1)
    v = (np.arcsin(np.clip(y, -1, 1)) / np.float32(np.pi) + np.float32(0.5)) * np.float32(rows - 1)
    normal = surface / solid.half_size.astype(np.float32)
    length = np.maximum(np.linalg.norm(normal, axis=-1), np.float32(1e-6))
    return u, v, normal @ towards_light / length
