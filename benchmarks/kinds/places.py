"""Where clips are shot: a square with houses around it, open country from above; and what is painted on them.

Numbers here that name no source were set by hand while looking at the clips.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from recon4d.masks.train.worlds.material import PROCEDURAL, Material, Photograph
from recon4d.masks.train.worlds.planes import Patch
from recon4d.masks.train.worlds.solids import box
from recon4d.masks.train.worlds.spaces import Space, ground, sky, wall, without

BOX_PX = 192
"""Texels along a side of a box."""
DRAWN = 0.04
"""Part of the walls that show a drawn picture."""
LEAST_PX = 200
"""Photographs with a shorter side are none."""

Rng = np.random.Generator


def scenery(material: Material) -> Material:
    """Photographs without the objects that stand out in them, so that walls show none; the objects are kept."""
    by_photograph = {cut.photograph: cut for cut in material.cutouts}
    real = material.photographs[:-PROCEDURAL] or material.photographs
    shown = [
        without(photograph, by_photograph[at]) if at in by_photograph else photograph
        for at, photograph in enumerate(real)
    ]
    return Material(tuple(shown), material.cutouts, DRAWN)


def square(rng: Rng, material: Material) -> Space:
    """Level ground, a row of houses across its far side, a few at its sides, and some boxes and poles."""
    floor, depth = rng.uniform(1.1, 1.6), rng.uniform(11, 20)
    high = 60.0
    walls = [
        wall((-high, -high, 3 * depth), (2 * high, 0, 0), (0, 2 * high, 0), sky(rng, material)),
        wall((-high, floor, 3 * depth), (2 * high, 0, 0), (0, 0, -3 * high), ground(rng, material)),
        *_houses(rng, material, floor, depth),
    ]
    for side in (-1.0, 1.0):
        x = side * rng.uniform(7, 10)
        for z in (-2.0, 4.0, 10.0):
            tall = rng.uniform(3, 7)
            picture = material.picture(rng, 512)
            walls.append(wall((x, floor - tall, z), (0, 0, 5.5), (0, tall, 0), picture))
        for _ in range(int(rng.integers(1, 4))):
            walls += _block(
                rng, material, (side * rng.uniform(2.5, 6), rng.uniform(7, 0.9 * depth)), floor
            )
    return Space(tuple(walls), floor, depth)


def country(rng: Rng, material: Material, height: float) -> Space:
    """Ground far below, with houses on it."""
    wide = 120.0
    walls = [
        wall((-wide, -wide, wide), (2 * wide, 0, 0), (0, 2 * wide, 0), sky(rng, material)),
        wall((-wide, height, wide), (2 * wide, 0, 0), (0, 0, -2 * wide), ground(rng, material)),
    ]
    for x in (-1.6, -0.9, 0.9, 1.6):
        for z in (0.4, 1.2, 2.2, 3.4):
            size = rng.uniform((2.5, 1.5, 2.5), (6, 4.5, 6))
            place = np.array([x * rng.uniform(0.7, 1.3), 1, z]) * height - [0, size[1] / 2, 0]
            walls += box(place, np.eye(3), size, [material.picture(rng, BOX_PX) for _ in range(3)])
    return Space(tuple(walls), height, wide)


def _houses(rng: Rng, material: Material, floor: float, depth: float) -> Iterator[Patch]:
    """Whole photographs beside each other."""
    left = -1.6 * depth
    while left < 1.6 * depth:
        photograph = _whole(rng, material)
        wide = rng.uniform(0.5, 1.0) * depth
        tall = wide * photograph.shape[0] / photograph.shape[1]
        far = depth * rng.uniform(0.95, 1.15)
        yield wall((left, floor - tall, far), (wide, 0, 0), (0, tall, 0), photograph)
        left += wide * rng.uniform(0.9, 1.1)


def _whole(rng: Rng, material: Material) -> Photograph:
    """A photograph that lies on its long side, or a part of one that does."""
    real = [
        p for p in material.photographs if p.shape[0] != p.shape[1] and min(p.shape[:2]) >= LEAST_PX
    ]
    choice = real or material.photographs
    found = choice[int(rng.integers(len(choice)))]
    height, width = found.shape[:2]
    if height > 0.75 * width:
        top = int((height - 0.75 * width) * rng.uniform(0, 1))
        found = found[top : top + int(0.75 * width)]
    return np.ascontiguousarray(found)


def _block(rng: Rng, material: Material, place: tuple[float, float], floor: float) -> list[Patch]:
    """A kiosk, a crate, or a pole."""
    size = rng.uniform((0.5, 0.6, 0.5), (1.8, 1.8, 1.8))
    if rng.random() < 0.35:
        size = np.array([0.15, rng.uniform(2.5, 4.5), 0.15])
    yaw = Rotation.from_euler("y", rng.uniform(0, np.pi)).as_matrix()
    middle = np.array([place[0], floor - size[1] / 2, place[1]])
    return box(middle, yaw, size, [material.picture(rng, BOX_PX) for _ in range(3)])
