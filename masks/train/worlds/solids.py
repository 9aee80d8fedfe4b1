"""Rigid bodies of a few boxes: crates, and vehicles with a cabin on a body.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from scipy.spatial.transform import Rotation

from recon4d.masks.train.worlds.material import Material
from recon4d.masks.train.worlds.planes import Patch

FACE_PX = 256
"""Texels along a face."""
VEHICLES = 0.5
"""Part of the bodies that are vehicles; the others are crates."""
SMOOTH = 0.3
"""Part of the bodies with next to no texture."""


def box(
    middle: Float64[np.ndarray, "3"],
    turn: Float64[np.ndarray, "3 3"],
    size: Float64[np.ndarray, "3"],
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
) -> list[Patch]:
    """Six faces.

    Args:
        middle: In the world.
        turn: Columns are the directions of its sides.
        size: Lengths of its sides.
        pictures: Of the faces across each direction.
    """
    e = np.diag(size)
    found = []
    for axis, (a, d) in enumerate(((2, 1), (0, 2), (0, 1))):
        for sign in (-1, 1):
            corner = sign * e[axis] / 2 - e[a] / 2 - e[d] / 2
            found.append(Patch(middle + turn @ corner, turn @ e[a], turn @ e[d], pictures[axis]))
    return found


def random_body(
    rng: np.random.Generator, material: Material, foot: Float64[np.ndarray, "3"], tall: float
) -> list[Patch]:
    """A crate or a vehicle of a given height that stands on a point; a vehicle's long side is its own x."""
    turn = Rotation.from_euler("y", rng.uniform(0, np.pi)).as_matrix()
    if rng.random() > VEHICLES:
        size = tall * np.array([rng.uniform(0.4, 2), 1, rng.uniform(0.4, 2)])
        return box(foot - [0, tall / 2, 0], turn, size, _faces(rng, material))
    return vehicle(rng, foot, tall, turn, lambda: _faces(rng, material))


def vehicle(
    rng: np.random.Generator,
    foot: Float64[np.ndarray, "3"],
    tall: float,
    turn: Float64[np.ndarray, "3 3"],
    faces: Callable[[], Sequence[UInt8[np.ndarray, "_ _ 3"]]],
) -> list[Patch]:
    """A body with a cabin on it.

    Args:
        rng: Decides proportions.
        foot: The point that it stands on.
        tall: Its height.
        turn: Columns are the directions of its sides, the long one first.
        faces: Pictures as of `box`, first of the body, then of the cabin.
    """
    long, deep = tall * rng.uniform(1.6, 3.2), tall * rng.uniform(0.8, 1.3)
    low = rng.uniform(0.45, 0.65) * tall
    cabin = np.array([rng.uniform(0.4, 0.7) * long, tall - low, 0.9 * deep])
    ahead = turn @ [rng.uniform(-0.1, 0.1) * long, 0, 0]
    body = np.array([long, low, deep])
    return [
        *box(foot - [0, low / 2, 0], turn, body, faces()),
        *box(foot - [0, (tall + low) / 2, 0] + ahead, turn, cabin, faces()),
    ]


def _faces(rng: np.random.Generator, material: Material) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    pictures = [material.picture(rng, FACE_PX) for _ in range(3)]
    if rng.random() < SMOOTH:
        pictures = [np.asarray(cv2.GaussianBlur(p, (0, 0), 25), np.uint8) for p in pictures]
    return pictures
