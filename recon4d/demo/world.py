"""The world of the demo: a furnished room, a toy robot that crosses it, and a camera in a hand.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8
from scipy.spatial.transform import Rotation

from recon4d.demo.render import Camera, Solid, World

ROOM_HALF_SIZE_M = (2.4, 1.3, 2.6)
"""Half of width, height, depth; the floor is at y = +1.3 because y points down."""
ROOM_SIDE_PX = 768
"""Texels along a wall: about as fine as the picture's pixels, so that nothing flickers."""
FOCAL_OVER_WIDTH = 0.89
"""A phone's main camera: 59 degrees across."""
ROBOT_START_M = (0.62, 0.0, 0.4)
"""(x, y, z) of the robot at the first frame, world axes; it stands on the floor, whatever y."""
ROBOT_SPEED_M_PER_S = 0.8
"""Faster than the camera and the same way: movers that go against the camera can pass for something near and still."""
ROBOT_HOP_M = 0.07
"""Height of its hops."""
ROBOT_TURN_DEG_PER_S = 35
"""About the vertical."""

Texture: TypeAlias = UInt8[np.ndarray, "rows cols 3"]
Layer: TypeAlias = Float32[np.ndarray, "rows cols"]
Colour: TypeAlias = tuple[int, int, int]
Pose: TypeAlias = Float64[np.ndarray, "4 4"]


def make_world(seed: int) -> World:
    """Furnish the room; the seed decides every texture."""
    rng = np.random.default_rng(seed)
    floor = ROOM_HALF_SIZE_M[1]

    def standing(
        face: Callable[[np.random.Generator], Texture],
        x: float,
        z: float,
        yaw_deg: int,
        size: tuple[float, float, float],
    ) -> Solid:
        half = np.array(size) / 2
        return Solid("box", pose_at(x, floor - half[1], z, yaw_deg), half, _faces(face, rng))

    globe = Solid("ellipsoid", pose_at(1.02, floor - 0.92, 1.35), np.full(3, 0.22), _globe(rng))
    return World(
        (
            Solid("box", pose_at(0, 0, 0), np.array(ROOM_HALF_SIZE_M), _room(rng), is_inward=True),
            standing(_rug, 0.1, 0.75, 8, (2.3, 0.012, 1.5)),
            standing(_books, -1.25, 2.25, 0, (1.1, 1.75, 0.4)),
            standing(_crate, 1.05, 1.4, -24, (0.8, 0.7, 0.6)),
            standing(_cardboard, -0.25, 2.05, 31, (0.55, 0.5, 0.5)),
            standing(_cardboard, 1.75, 0.75, 12, (0.45, 0.42, 0.45)),
            standing(_crate, -1.75, 0.9, 18, (0.55, 0.5, 0.55)),
            globe,
            *_robot(rng),
        ),
        _robot_motion,
    )


def make_camera(frame: int, num_frames: int, fps: int, size: tuple[int, int]) -> Camera:
    """Where a hand that walks a slow arc around the room's middle holds the camera at a frame."""
    s = frame / max(num_frames - 1, 1)
    t = frame / fps
    shake_m = 0.012 * np.array([np.sin(9.1 * t), np.sin(11.7 * t + 1), np.sin(7.3 * t + 2)])
    shake_deg = 0.5 * np.array([np.sin(10.3 * t + 4), np.sin(8.3 * t + 3), np.sin(6.1 * t)])
    position = np.array([0.62 - 1.2 * s, -0.12 + 0.1 * np.sin(2.2 * s), -1.75 + 0.28 * s]) + shake_m
    look_at = np.array([0.05, 0.42, 1.2])
    forward = look_at - position
    yaw_deg = np.degrees(np.arctan2(forward[0], forward[2])) + shake_deg[1]
    pitch_deg = np.degrees(np.arctan2(-forward[1], np.hypot(forward[0], forward[2]))) + shake_deg[0]
    pose = np.eye(4)
    turn = Rotation.from_euler("YXZ", [yaw_deg, pitch_deg, 1.5 * shake_deg[2]], degrees=True)
    pose[:3, :3], pose[:3, 3] = turn.as_matrix(), position
    focal = FOCAL_OVER_WIDTH * size[0]
    return Camera(pose, np.array([focal, focal, size[0] / 2, size[1] / 2]), t)


def _robot(rng: np.random.Generator) -> tuple[Solid, ...]:
    """Body, head and two feet of the toy that moves."""
    floor = ROOM_HALF_SIZE_M[1]

    def part(
        shape: str, x: float, above: float, half: tuple[float, float, float], texture: Texture
    ) -> Solid:
        place = pose_at(ROBOT_START_M[0] + x, floor - above, ROBOT_START_M[2])
        return Solid("box" if shape == "box" else "ellipsoid", place, np.array(half), texture, True)

    metal = _faces(_panel, rng)
    return (
        part("box", 0.0, 0.47, (0.24, 0.3, 0.17), metal),
        part("ball", 0.0, 0.95, (0.2, 0.2, 0.2), _stripes(rng)),
        part("box", -0.13, 0.09, (0.09, 0.09, 0.17), metal),
        part("box", 0.13, 0.09, (0.09, 0.09, 0.17), metal),
    )


def _robot_motion(time_s: float) -> Pose:
    """It walks to the left, hops, and turns about its own axis."""
    there = pose_at(
        -ROBOT_SPEED_M_PER_S * time_s,
        -ROBOT_HOP_M * abs(np.sin(5 * time_s)),
        0.12 * np.sin(1.7 * time_s),
        ROBOT_TURN_DEG_PER_S * time_s - 30,
    )
    start = pose_at(*ROBOT_START_M)
    return np.asarray(start @ there @ np.linalg.inv(start))


def pose_at(x: float | int, y: float | int, z: float | int, yaw_deg: float | int = 0) -> Pose:
    """A place in the world, and a turn about the vertical."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", yaw_deg, degrees=True).as_matrix()
    pose[:3, 3] = x, y, z
    return pose


def _rgb(red: float | int, green: float | int, blue: float | int) -> Float32[np.ndarray, "3"]:
    return np.array((red, green, blue), np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], period: tuple[int, int]) -> Layer:
    """Smooth noise of unit deviation; (rows, cols) per wave."""
    coarse = rng.normal(0, 1, [int(n / p) + 3 for n, p in zip(shape, period, strict=True)])
    return np.asarray(
        cv2.resize(coarse.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC),
        np.float32,
    )


def _grain(rng: np.random.Generator, side: int, strength: int) -> Layer:
    """What every real surface has: unevenness of all sizes, the finest about 4 texels."""
    waves = [(_noise(rng, (side, side), (p, p)), p) for p in (4, 9, 24, 90)]
    return np.asarray(strength * sum(wave * (0.5 + p / 90) for wave, p in waves) / 2, np.float32)


def _painted(colour: Colour, *layers: Layer) -> Float32[np.ndarray, "rows cols 3"]:
    """A colour, made lighter and darker by layers of grey levels."""
    return np.asarray(_rgb(*colour) + np.sum(np.stack(layers), axis=0)[..., None])


def _finish(picture: Float[np.ndarray, "rows cols 3"]) -> Texture:
    return np.asarray(np.clip(picture, 0, 255).astype(np.uint8))


def _faces(face: Callable[[np.random.Generator], Texture], rng: np.random.Generator) -> Texture:
    """Six different faces of one kind, side by side."""
    return np.concatenate([face(rng) for _ in range(6)], axis=1)


def _room(rng: np.random.Generator) -> Texture:
    left, right = (_plaster(rng, colour) for colour in ((92, 138, 140), (214, 178, 120)))
    ceiling, behind = _plaster(rng, (226, 220, 208)), _plaster(rng, (170, 170, 165))
    return np.concatenate((left, right, ceiling, _planks(rng), behind, _bricks(rng)), axis=1)


def _plaster(rng: np.random.Generator, colour: Colour) -> Texture:
    """A painted wall with two framed pictures."""
    wall = _painted(colour, _grain(rng, ROOM_SIDE_PX, 11))
    for left in (150, 440):
        _hang(wall, rng, (left, 210), (190, 250))
    return _finish(wall)


def _hang(
    wall: Float32[np.ndarray, "rows cols 3"],
    rng: np.random.Generator,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Hang a framed abstract painting at a corner (x, y)."""
    (x, y), (width, height) = corner, size
    cv2.rectangle(wall, (x - 12, y - 12), (x + width + 12, y + height + 12), (58, 40, 26), -1)
    waves = [np.sin(3 * _noise(rng, (height, width), (p, p))) for p in (90, 60, 30)]
    wall[y : y + height, x : x + width] = 128 + 85 * np.stack(waves, axis=-1)


def _planks(rng: np.random.Generator) -> Texture:
    """A wooden floor; planks run away from the viewer."""
    side, width = ROOM_SIDE_PX, 32
    wood = _painted((160, 112, 68), 9 * _noise(rng, (side, side), (60, 5)), _grain(rng, side, 8))
    for x in range(0, side, width):
        cut = int(rng.integers(100, side - 100))
        for rows in (slice(0, cut), slice(cut, side)):
            wood[rows, x : x + width] += np.float32(rng.normal(0, 17))
        wood[cut : cut + 3, x : x + width] -= 60
        wood[:, x : x + 3] -= 60
    return _finish(wood)


def _bricks(rng: np.random.Generator) -> Texture:
    """A brick wall with two pictures."""
    side, height, width = ROOM_SIDE_PX, 24, 40
    wall = _painted((176, 166, 152), _grain(rng, side, 8))
    for row, y in enumerate(range(0, side, height)):
        for x in range(-width // 2 * (row % 2), side, width):
            colour = _rgb(158, 82, 60) + rng.normal(0, (20, 13, 11)).astype(np.float32)
            wall[y + 2 : y + height - 2, max(x + 2, 0) : max(x + width - 2, 0)] = colour
    wall += _grain(rng, side, 9)[..., None]
    _hang(wall, rng, (410, 200), (120, 190))
    _hang(wall, rng, (590, 250), (110, 130))
    return _finish(wall)


def _books(rng: np.random.Generator) -> Texture:
    """A bookshelf of five boards."""
    side, board = 360, 72
    shelf = _painted((84, 56, 36), _grain(rng, side, 7))
    for y in range(0, side, board):
        x = 8
        while x < side - 20:
            wide, tall = int(rng.integers(9, 22)), int(rng.integers(42, 62))
            spine = rng.integers(35, 225, 3).astype(np.float32)
            shelf[y + board - tall : y + board - 2, x : x + wide - 1] = spine
            label = y + board - int(0.7 * tall)
            shelf[label : label + 8, x + 2 : x + wide - 3] = 245 - 0.5 * spine
            x += wide
        shelf[y + board - 3 : y + board + 3] = (60, 38, 24)
    return _finish(shelf + _grain(rng, side, 6)[..., None])


def _crate(rng: np.random.Generator) -> Texture:
    """Boards in a frame."""
    side = 192
    wood = _painted((186, 142, 84), 10 * _noise(rng, (side, side), (5, 50)), _grain(rng, side, 8))
    for y in range(0, side, 32):
        wood[y : y + 32] += np.float32(rng.normal(0, 15))
        wood[y : y + 3] -= 70
    for edge in (slice(0, 20), slice(side - 20, side)):
        wood[:, edge] = 0.75 * wood[:, edge] + 12
        wood[edge] = 0.75 * wood[edge] + 12
    return _finish(wood)


def _cardboard(rng: np.random.Generator) -> Texture:
    """Cardboard with tape and a printed label."""
    side = 160
    board = _painted((188, 150, 104), _grain(rng, side, 11), 4 * _noise(rng, (side, side), (90, 5)))
    board[:, 70:92] = board[:, 70:92] * 0.5 + _rgb(108, 100, 84)
    x, y = (int(v) for v in rng.integers(12, 50, 2))
    board[y : y + 50, x : x + 70] = _rgb(236, 234, 226)
    for line in range(5):
        end = x + int(rng.integers(30, 64))
        board[y + 6 + 9 * line : y + 10 + 9 * line, x + 6 : end] = _rgb(40, 42, 60)
    return _finish(board)


def _rug(rng: np.random.Generator) -> Texture:
    """Rings of lozenges."""
    side = 448
    v, u = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    rings = np.sin(
        14 * np.maximum(np.abs(u), np.abs(v)) + 0.8 * _noise(rng, (side, side), (60, 60))
    )
    lozenges = np.sin(22 * (u + v)) * np.sin(22 * (u - v))
    shades = np.stack((140 + 55 * rings, 52 + 40 * lozenges, 58 + 34 * rings * lozenges), axis=-1)
    return _finish(shades + _grain(rng, side, 12)[..., None])


def _panel(rng: np.random.Generator) -> Texture:
    """Enamelled metal with a display, knobs and scratches."""
    side = 160
    metal = _painted((232, 138, 42), _grain(rng, side, 13))
    cv2.rectangle(metal, (22, 24), (side - 22, 84), (24, 34, 44), -1)
    metal[28:80, 26 : side - 26] += 34 * (_noise(rng, (52, side - 52), (9, 5)) > 0.3)[..., None]
    for k in range(4):
        shade = tuple(float(c) for c in rng.integers(30, 250, 3))
        cv2.circle(metal, (32 + 32 * k, 118), 11, shade, -1, cv2.LINE_AA)
    cv2.rectangle(metal, (3, 3), (side - 4, side - 4), (96, 52, 20), 5)
    return _finish(metal)


def _stripes(rng: np.random.Generator) -> Texture:
    """The robot's head: bands and eyes."""
    rows, cols = 128, 256
    bands = np.where(np.sin(np.linspace(0, 22, rows)) > 0, 1.0, 0.0)[:, None] * np.ones((1, cols))
    shell = _rgb(64, 92, 168) + _rgb(150, 120, 40) * bands[..., None].astype(np.float32)
    shell = shell + 14 * _noise(rng, (rows, cols), (6, 6))[..., None]
    for x in range(16, cols, 48):
        cv2.circle(shell, (x, 58), 13, (246, 246, 240), -1, cv2.LINE_AA)
        cv2.circle(shell, (x, 60), 6, (16, 16, 22), -1, cv2.LINE_AA)
    return _finish(shell)


def _globe(rng: np.random.Generator) -> Texture:
    """Land and sea that nobody knows."""
    rows, cols = 160, 320
    height = _noise(rng, (rows, cols), (36, 36)) + 0.5 * _noise(rng, (rows, cols), (12, 12))
    land = _rgb(120, 148, 66) + 34 * height[..., None] * _rgb(1.0, 0.6, 0.4)
    sea = _rgb(34, 84, 150) + 18 * height[..., None]
    lines = (np.arange(rows) % 20 < 1)[:, None] | (np.arange(cols) % 20 < 1)[None]
    globe = np.where(height[..., None] > 0.1, land, sea) + 30 * lines[..., None]
    return _finish(globe + 7 * _noise(rng, (rows, cols), (4, 4))[..., None])
