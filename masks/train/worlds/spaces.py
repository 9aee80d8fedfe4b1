"""Random empty worlds: rooms, streets and photographs. The camera starts near the origin; y is down, z ahead.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from scipy.spatial.transform import Rotation

from recon4d.core.pinhole import length_at
from recon4d.masks.train.worlds.cutouts import Cutout
from recon4d.masks.train.worlds.material import Material, recoloured
from recon4d.masks.train.worlds.planes import Bend, Patch
from recon4d.masks.train.worlds.solids import box

WALL_PX = 512
"""Texels along a wall."""
BOX_PX = 192
"""Texels along a face of a box."""
KINDS = ("room", "street", "backdrop")
SHARES = (0.4, 0.25, 0.35)
"""How often each kind of world occurs."""
SWAYING_WALL = 0.1
"""Part of the worlds with leaves or water: a wall whose picture sways a little and counts as static."""
MOST_TILT = 0.5
"""Of the ground in a photograph."""

Triple = tuple[float | int, float | int, float | int]


@dataclass(frozen=True)
class Space:
    """The empty world that objects are put into."""

    walls: tuple[Patch, ...]
    floor: float
    """Height of the ground, y; under a photograph that of its lower edge, where nothing stands."""
    depth: float
    """Distance of the far side, z."""
    subject: Patch | None = None
    """The object of the photograph that is the backdrop, at its own place in it."""
    has_floor: bool = True
    """Whether the ground is drawn; a photograph shows its own."""
    tilt: float = 0.0
    """Rise of the ground with z: what a photograph shows of it may be seen from above."""


@dataclass(frozen=True)
class Lens:
    """What placing objects in the picture needs."""

    focal: float
    size: tuple[int, int]


def make_space(
    rng: np.random.Generator, material: Material, lens: Lens, kind: str | None = None
) -> Space:
    """A random world without objects, of one of `KINDS`; any if not given."""
    kind = str(rng.choice(KINDS, p=SHARES)) if kind is None else kind
    return {"room": _room, "street": _street, "backdrop": _backdrop}[kind](rng, material, lens)


def wall(
    origin: Triple,
    across: Triple,
    down: Triple,
    picture: UInt8[np.ndarray, "rows cols 3"],
    bend: Bend | None = None,
) -> Patch:
    """A surface of the world, which never moves; its picture may sway."""
    o, a, d = (np.array(v, np.float64) for v in (origin, across, down))
    return Patch(o, a, d, picture, bend=bend)


def _sway(rng: np.random.Generator) -> Bend | None:
    if rng.random() > SWAYING_WALL:
        return None
    amplitude, speed = float(rng.uniform(0.0005, 0.003)), float(rng.uniform(0.2, 1.5))
    return Bend(amplitude, speed, float(rng.uniform(0, 6)), float(rng.uniform(2, 9)), 0.0)


def _room(rng: np.random.Generator, material: Material, lens: Lens) -> Space:
    left, right = -rng.uniform(1.2, 3.5), rng.uniform(1.2, 3.5)
    top, floor = -rng.uniform(0.9, 1.6), rng.uniform(0.8, 1.6)
    behind, depth = -2.0, rng.uniform(2.5, 7.0)
    wide, tall, deep = right - left, floor - top, depth - behind
    side = [material.picture(rng, WALL_PX) for _ in range(6)]
    walls = [
        wall((left, top, depth), (wide, 0, 0), (0, tall, 0), side[0], _sway(rng)),
        wall((left, top, behind), (0, 0, deep), (0, tall, 0), side[1]),
        wall((right, top, depth), (0, 0, -deep), (0, tall, 0), side[2]),
        wall((left, floor, depth), (wide, 0, 0), (0, 0, -deep), side[3]),
        wall((left, top, behind), (wide, 0, 0), (0, 0, deep), side[4]),
        wall((right, top, behind), (-wide, 0, 0), (0, tall, 0), side[5]),
    ]
    for _ in range(int(rng.integers(2, 9))):
        walls += _furniture(rng, material, (left, right), floor, (1.0, depth))
    return Space(tuple(walls), floor, depth)


def _street(rng: np.random.Generator, material: Material, lens: Lens) -> Space:
    floor, depth = rng.uniform(1.0, 1.8), rng.uniform(12, 40)
    left, right = -rng.uniform(3, 12), rng.uniform(3, 12)
    far, high = 4 * depth, 6 * depth
    near = -6.0
    walls = [
        wall((-high, -high, far), (2 * high, 0, 0), (0, 2 * high, 0), sky(rng, material)),
        wall((-high, floor, far), (2 * high, 0, 0), (0, 0, near - far), ground(rng, material)),
    ]
    for x in (left, right):
        z = near
        while z < depth:
            long, tall = rng.uniform(3, 10), rng.uniform(1.5, 9)
            picture = material.picture(rng, WALL_PX)
            walls.append(
                wall((x, floor - tall, z), (0, 0, long), (0, tall, 0), picture, _sway(rng))
            )
            z += long * rng.uniform(0.8, 1.3)
    tall = rng.uniform(0.05, 0.6) * depth
    picture = material.picture(rng, WALL_PX)
    walls.append(wall((-depth, floor - tall, depth), (2 * depth, 0, 0), (0, tall, 0), picture))
    for _ in range(int(rng.integers(2, 9))):
        walls += _furniture(rng, material, (left, right), floor, (2.5, depth))
    return Space(tuple(walls), floor, depth)


def _backdrop(rng: np.random.Generator, material: Material, lens: Lens) -> Space:
    """A photograph at its place behind its own object, which so keeps its natural surroundings."""
    index = int(rng.integers(len(material.photographs)))
    own = [c for c in material.cutouts if c.photograph == index]
    photograph = material.photographs[index]
    depth = rng.uniform(3, 8)
    height, width = photograph.shape[:2]
    margin = rng.uniform(1.0, 1.35)
    pixel = margin * max(lens.size[0] / width, lens.size[1] / height)
    scale = length_at(depth, pixel, lens.focal)
    tint = int(rng.integers(2**31))
    picture = photograph if not own else without(photograph, own[0])
    picture = recoloured(picture, np.random.default_rng(tint))
    corner = np.array([-width / 2 * scale, -height / 2 * scale, depth])
    lean = rng.uniform(-0.4, 0.4) * depth if rng.random() < 0.5 else 0.0  # the ground comes nearer
    back = Patch(
        corner + np.array([0, 0, max(lean, 0)]),
        np.array([width * scale, 0, 0]),
        np.array([0, height * scale, -abs(lean)]),
        picture,
        bend=_sway(rng),
    )
    subject = None
    if own:
        cut, nearer = own[0], rng.uniform(0.55, 0.9)
        rows, cols = cut.alpha.shape
        origin = (corner + scale * np.array([*cut.corner, 0])) * nearer
        across, down = (np.array(v) * scale * nearer for v in ((cols, 0, 0), (0, rows, 0)))
        colours = recoloured(cut.picture, np.random.default_rng(tint))
        subject = Patch(origin, across, down, colours, cut.alpha)
    around, low = _surround(rng, material, depth), height / 2 * scale
    tilt = rng.uniform(0, MOST_TILT)
    return Space((*around, back), low, depth, subject, has_floor=False, tilt=tilt)


def _surround(rng: np.random.Generator, material: Material, depth: float) -> tuple[Patch, ...]:
    """What is seen beyond the edges of a backdrop."""
    far, wide = 1.6 * depth, 8 * depth
    picture = material.picture(rng, WALL_PX)
    return (wall((-wide / 2, -wide / 2, far), (wide, 0, 0), (0, wide, 0), picture),)


def without(
    photograph: UInt8[np.ndarray, "rows cols 3"], cut: Cutout
) -> UInt8[np.ndarray, "rows cols 3"]:
    """The photograph with its object painted over from around it."""
    height, width = photograph.shape[:2]
    quarter = (max(width // 4, 1), max(height // 4, 1))
    small = np.asarray(cv2.resize(photograph, quarter, interpolation=cv2.INTER_AREA), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    (left, top), (rows, cols) = cut.corner, cut.alpha.shape
    mask[top : top + rows, left : left + cols] = cut.alpha > 0.02
    wide = np.asarray(cv2.dilate(mask, np.ones((9, 9), np.uint8)), np.uint8)
    hole = cv2.resize(wide, quarter, interpolation=cv2.INTER_NEAREST)
    filled = cv2.inpaint(small, hole, 5, cv2.INPAINT_TELEA)
    grain = np.random.default_rng(0).normal(0, 4, photograph.shape)
    large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC) + grain
    soft = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 2)[..., None]
    return np.asarray(np.clip(photograph * (1 - soft) + large * soft, 0, 255), np.uint8)


def _furniture(
    rng: np.random.Generator,
    material: Material,
    sides: tuple[float, float],
    floor: float,
    depths: tuple[float, float],
) -> list[Patch]:
    """A piece of furniture, a parked car, a crate: five faces."""
    z = rng.uniform(*depths)
    x = rng.uniform(*sides) * min(1.0, 0.3 + z / depths[1])
    size = np.array([1, 1, 1]) * 0.12 * z * np.exp(rng.normal(0, 0.5, 3)) + 0.1
    yaw = Rotation.from_euler("y", rng.uniform(0, np.pi)).as_matrix()
    pictures = [material.picture(rng, BOX_PX) for _ in range(3)]
    middle = np.array([x, floor - size[1] / 2, z])
    return box(middle, yaw, size, pictures)


def sky(rng: np.random.Generator, material: Material) -> UInt8[np.ndarray, "rows cols 3"]:
    """Clouds, or any picture."""
    if rng.random() < 0.3:
        return material.picture(rng, WALL_PX)
    top, bottom = rng.uniform((60, 90, 140), (180, 200, 240)), rng.uniform(150, 245, 3)
    mix = np.linspace(0, 1, 256)[:, None, None]
    clouds = cv2.resize(rng.normal(0, 14, (24, 24)).astype(np.float32), (256, 256))[..., None]
    return np.asarray(np.clip(top * (1 - mix) + bottom * mix + clouds, 0, 255), np.uint8)


def ground(rng: np.random.Generator, material: Material) -> UInt8[np.ndarray, "rows cols 3"]:
    """A picture in many mirrored copies: the ground is large."""
    tile = material.picture(rng, 128)
    twice = np.concatenate((tile, tile[:, ::-1]), axis=1)
    four = np.concatenate((twice, twice[::-1]), axis=0)
    return np.tile(four, (8, 8, 1))
