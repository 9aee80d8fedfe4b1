"""What stands and moves in training worlds, with its shadow and its reflection.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from recon4d.core.pinhole import length_at, view_angle
from recon4d.masks.train.worlds.cutouts import random_outline
from recon4d.masks.train.worlds.light import Affine, Ground, Light
from recon4d.masks.train.worlds.material import Material, recoloured
from recon4d.masks.train.worlds.paths import Track
from recon4d.masks.train.worlds.planes import NOTHING, Bend, Patch
from recon4d.masks.train.worlds.solids import random_body
from recon4d.masks.train.worlds.spaces import Lens, Space

OBJECT_PX = 320
"""Longest side of the picture of a drawn outline."""
SOLID = 0.25
"""Part of the things that are bodies of boxes; the others are flat pictures."""
DRAWN = 0.25
"""Part of the pictures that are drawn outlines instead of cut-outs."""
SWAYING = 0.65
"""Part of the flat movers whose picture sways: legs, arms, cloth."""
MIRRORED = 0.15
"""Part of the movers that a floor reflects."""
SHADE_PX = 96
"""Longest side of a shadow's picture."""

Motion = Callable[[float], Affine]


@dataclass(frozen=True)
class Thing:
    """A body or a picture that stands somewhere."""

    parts: tuple[Patch, ...]
    middle: Float64[np.ndarray, "3"]
    """What it turns about."""
    is_solid: bool = False

    @classmethod
    def flat(cls, patch: Patch) -> "Thing":
        """A single picture."""
        return cls((patch,), patch.origin + 0.5 * (patch.across + patch.down))


def random_thing(rng: np.random.Generator, material: Material, space: Space, lens: Lens) -> Thing:
    """A thing that stands somewhere in view."""
    share = float(np.exp(rng.uniform(np.log(0.12), np.log(0.95))))
    z = space.depth * rng.uniform(0.2, 0.85)
    tall = length_at(share * z, float(lens.size[1]), lens.focal)
    reach = view_angle(0.5 * lens.size[0], lens.focal) * z
    x = rng.uniform(-reach, reach)
    foot = space.floor
    if not space.has_floor or rng.random() < 0.4:  # not on the ground
        foot = view_angle(rng.uniform(-0.5, 0.5) * lens.size[1], lens.focal) * z + tall / 2
    where = np.array([x, foot, z])
    if rng.random() < SOLID:
        parts = random_body(rng, material, where, tall)
        return Thing(tuple(parts), where - [0, tall / 2, 0], is_solid=True)
    return Thing.flat(_picture(rng, material, where, tall))


def standing(thing: Thing, space: Space, light: Light) -> list[Patch]:
    """A thing that never moves, with its shadow."""
    return with_shade(thing.parts, (space, light))


def moving(
    rng: np.random.Generator,
    thing: Thing,
    track: tuple[Track, int],
    index: int,
    world: tuple[Space, Light],
) -> list[Patch]:
    """A thing in motion, with its shadow and sometimes its reflection.

    Args:
        rng: Decides how it sways and turns.
        thing: What moves.
        track: Where its middle is, and for how many frames.
        index: Which mover it is.
        world: Where.
    """
    moved = (_driven if thing.is_solid else _swung)(rng, thing, track)
    bend = None if thing.is_solid or rng.random() > SWAYING else _random_bend(rng)
    parts = [replace(p, moved=moved, mover=index, bend=bend) for p in thing.parts]
    is_mirrored = not thing.is_solid and rng.random() < MIRRORED
    return with_shade(parts, world, is_mirrored)


def with_shade(
    parts: Sequence[Patch], world: tuple[Space, Light], is_mirrored: bool = False
) -> list[Patch]:
    """What stands or moves, with its shadow and, of a single picture, its reflection."""
    space, light = world
    seen = [*_shadows(parts, space, light), *parts]
    if is_mirrored:
        seen.append(_reflection(parts[0], Ground.under(parts, space)))
    return seen


def _picture(
    rng: np.random.Generator, material: Material, foot: Float64[np.ndarray, "3"], tall: float
) -> Patch:
    if not material.cutouts or rng.random() < DRAWN:
        picture = material.picture(rng, OBJECT_PX)
        if rng.random() < 0.3:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 25))  # next to no texture
        cut = random_outline(rng, picture)
    else:
        cut = material.cutouts[int(rng.integers(len(material.cutouts)))]
    colours = recoloured(cut.picture, rng) if rng.random() < 0.7 else cut.picture
    alpha: Float32[np.ndarray, "rows cols"] = cut.alpha
    if rng.random() < 0.5:
        colours, alpha = colours[:, ::-1].copy(), alpha[:, ::-1].copy()
    wide = tall * alpha.shape[1] / alpha.shape[0]
    corner = foot - [wide / 2, tall, 0]
    return Patch(corner, np.array([wide, 0, 0]), np.array([0, tall, 0]), colours, alpha)


def _swung(rng: np.random.Generator, thing: Thing, track: tuple[Track, int]) -> Motion:
    """Along a track, swinging a little, and sometimes turning away from the camera."""
    swing, pace = rng.normal(0, 0.12), rng.uniform(0.1, 0.9)
    yaw = rng.normal(0, 0.3) if rng.random() < 0.3 else 0.0

    def moved(time: float) -> Affine:
        angles = (swing * np.sin(pace * time), yaw * np.sin(0.5 * pace * time))
        turn = Rotation.from_euler("zy", angles).as_matrix()
        return about(turn, thing.middle, track[0](time))

    return moved


def _driven(rng: np.random.Generator, thing: Thing, track: tuple[Track, int]) -> Motion:
    """Along a track, heading where it goes or turning slowly."""
    way, frames = track
    along = way(frames - 1.0) - way(0.0)
    x_axis = thing.parts[4].across  # of the faces across z
    ahead = np.arctan2(-along[2], along[0]) - np.arctan2(-x_axis[2], x_axis[0])
    rate = rng.normal(0, 0.03)
    start = ahead if rng.random() < 0.7 else 0.0

    def moved(time: float) -> Affine:
        turn = Rotation.from_euler("y", start + rate * (time - frames / 2)).as_matrix()
        return about(turn, thing.middle, way(time))

    return moved


def about(
    turn: Float64[np.ndarray, "3 3"],
    middle: Float64[np.ndarray, "3"],
    there: Float64[np.ndarray, "3"],
) -> Affine:
    """The rigid motion that turns about a point and takes it to another."""
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = there - turn @ middle
    return pose


def _random_bend(rng: np.random.Generator) -> Bend:
    return Bend(
        float(rng.uniform(0.02, 0.12)),
        float(rng.uniform(0.2, 1.3)),
        float(rng.uniform(0, 6)),
        float(rng.uniform(0, 1.0)),
        float(rng.uniform(0, 1)),
    )


def _shadows(parts: Sequence[Patch], space: Space, light: Light) -> list[Patch]:
    """Every part once more, black and flattened along the light onto the floor.

    A point in the shadow of a closed body lies behind two of its faces: each lets the root of the light through.
    """
    if not light.strength:
        return []
    flatten = light.onto(Ground.under(parts, space))
    found = []
    for part in parts:
        alpha = np.full((2, 2), 1 - np.sqrt(1 - light.strength), np.float32)
        if part.alpha is not None:
            alpha = _soft(part.alpha) * np.float32(light.strength)
        black = np.zeros((*alpha.shape, 3), np.uint8)
        moved = _then(flatten, part.moved)
        found.append(
            replace(part, picture=black, alpha=alpha, moved=moved, mover=NOTHING, is_shade=True)
        )
    return found


def _reflection(part: Patch, ground: Ground) -> Patch:
    assert part.alpha is not None
    return replace(
        part,
        alpha=np.float32(0.25) * part.alpha,
        moved=_then(ground.mirror(), part.moved),
        mover=NOTHING,
        is_shade=True,
        is_through=True,
    )


def _then(after: Affine, moved: Motion | None) -> Motion:
    if moved is None:
        return lambda time: after
    return lambda time: after @ moved(time)


def _soft(alpha: Float32[np.ndarray, "rows cols"]) -> Float32[np.ndarray, "_ _"]:
    """A coarse and blurred copy: shadows have soft edges."""
    factor = min(SHADE_PX / max(alpha.shape), 1.0)
    size = tuple(max(round(n * factor), 2) for n in alpha.shape[::-1])
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.5), np.float32)
