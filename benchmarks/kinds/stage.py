"""What every kind of clip is staged with: a place, actors on it, and cameras. y is down, z ahead.

In the middle of a clip the camera is at the origin and looks along +z (from above: tilted down), so that what stands in
view then is placed by the column of the picture and its distance. Lengths are metres, speeds are per frame.

Numbers here that name no source were set by hand while looking at the clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from benchmarks.kinds.painted import car_faces
from benchmarks.kinds.places import square
from recon4d.core.pinhole import length_at, view_angle
from recon4d.masks.train.worlds.clip import Shot
from recon4d.masks.train.worlds.cutouts import Cutout, random_outline
from recon4d.masks.train.worlds.light import Light
from recon4d.masks.train.worlds.material import Material, recoloured
from recon4d.masks.train.worlds.paths import Path, Track
from recon4d.masks.train.worlds.planes import Bend, Patch
from recon4d.masks.train.worlds.solids import vehicle
from recon4d.masks.train.worlds.spaces import Lens, Space, make_space
from recon4d.masks.train.worlds.things import Thing, about, with_shade

UPRIGHT = 1.5
"""Height over width from which an object walks like a person."""
PERSON_M = (1.55, 1.9)
"""Least and largest height of a person ..."""
CAR_M = (1.35, 1.7)
"""... and of a car."""
TREMBLE_RAD = 0.0008
"""Standard deviation of the hand's trembling from frame to frame."""
OUTLINE_PX = 320
"""Side of the picture of a drawn outline, where there are no objects."""

Point = Float64[np.ndarray, "3"]


@dataclass(frozen=True)
class Stage:
    """Where a clip is shot, and with what."""

    rng: np.random.Generator
    material: Material
    lens: Lens
    frames: int
    space: Space
    light: Light

    @property
    def middle(self) -> int:
        """The frame in which the camera is at the origin."""
        return self.frames // 2

    def between(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))

    def sign(self) -> float:
        """To the left or to the right."""
        return float(self.rng.choice((-1.0, 1.0)))

    def on_ground(self, column: float, z: float) -> Point:
        """The point of the ground at a distance, seen at a column: -0.5 is the left edge, 0.5 the right."""
        return np.array(
            [view_angle(float(column) * self.lens.size[0], self.lens.focal) * z, self.floor, z]
        )

    @property
    def floor(self) -> float:
        """Height of the ground below the camera."""
        return self.space.floor

    def step(self, px: float, z: float) -> float:
        """The length of a step that is seen so long at a distance."""
        return length_at(z, px, self.lens.focal)

    def tall(self, share: float, z: float) -> float:
        """The height of what fills so much of the picture's height at a distance."""
        return length_at(z, share * self.lens.size[1], self.lens.focal)


def set_stage(
    rng: np.random.Generator,
    material: Material,
    size: tuple[int, int],
    place: str,
    focal: tuple[float, float] = (0.75, 1.2),
) -> Stage:
    """A stage for 16 to 24 frames.

    Args:
        rng: Decides everything.
        material: Photographs and objects.
        size: (width, height) of the picture.
        place: "square", or one of `recon4d.masks.train.worlds.spaces.KINDS`.
        focal: Shortest and longest focal length, parts of the width.
    """
    lens = Lens(float(rng.uniform(*focal)) * size[0], size)
    outside = place == "square"
    space = square(rng, material) if outside else make_space(rng, material, lens, place)
    slope = rng.uniform(-0.6, 0.6, 2)
    light = Light((float(slope[0]), float(slope[1])), float(rng.uniform(0.25, 0.6)))
    return Stage(rng, material, lens, int(rng.integers(16, 25)), space, light)


@dataclass(frozen=True)
class Actor:
    """What moves or stands on a stage."""

    thing: Thing
    track: Track | None = None
    """None: it stands."""
    bend: Bend | None = None
    sway: float = 0.0
    """Radians by which it swings about its middle."""


def person(stage: Stage, foot: Point, tall: float | None = None) -> Thing:
    """A whole upright object, or any where the material has none."""
    objects = stage.material.cutouts
    upright = [c for c in objects if c.alpha.shape[0] > UPRIGHT * c.alpha.shape[1]]
    return _object(stage, upright or list(objects), foot, tall or stage.between(*PERSON_M))


def animal(stage: Stage, foot: Point, tall: float) -> Thing:
    """An object that is no person."""
    objects = stage.material.cutouts
    low = [c for c in objects if c.alpha.shape[0] <= UPRIGHT * c.alpha.shape[1]]
    return _object(stage, low or list(objects), foot, tall)


def car(stage: Stage, foot: Point, heading: float, tall: float | None = None) -> Thing:
    """A car that looks to where it goes: 0 is right, pi / 2 away from the camera."""
    body, cabin = car_faces(stage.rng)
    faces = iter((body, cabin))
    turn = Rotation.from_euler("y", -heading).as_matrix()
    height = tall or stage.between(*CAR_M)
    parts = vehicle(stage.rng, foot, height, turn, lambda: next(faces))
    return Thing(tuple(parts), foot - [0, height / 2, 0], is_solid=True)


def flat(stage: Stage, cut: Cutout, foot: Point, tall: float) -> Thing:
    """A picture that stands on its foot, as it is or mirrored."""
    colours, alpha = recoloured(cut.picture, stage.rng), cut.alpha
    if stage.rng.random() < 0.5:
        colours, alpha = colours[:, ::-1].copy(), alpha[:, ::-1].copy()
    wide = tall * alpha.shape[1] / alpha.shape[0]
    corner = foot - [wide / 2, tall, 0]
    return Thing.flat(Patch(corner, np.array([wide, 0, 0]), np.array([0, tall, 0]), colours, alpha))


def _object(stage: Stage, objects: Sequence[Cutout], foot: Point, tall: float) -> Thing:
    whole = [c for c in objects if not _is_cut_off(c, stage.material)]
    choice = whole or list(objects)
    if not choice:
        picture = stage.material.picture(stage.rng, OUTLINE_PX)
        choice = [random_outline(stage.rng, picture)]
    return flat(stage, choice[int(stage.rng.integers(len(choice)))], foot, tall)


def _is_cut_off(cut: Cutout, material: Material) -> bool:
    """Whether its photograph shows a part of it alone."""
    rows, cols = cut.alpha.shape
    height, width = material.photographs[cut.photograph].shape[:2]
    left, top = cut.corner
    return left == 0 or top == 0 or left + cols == width or top + rows == height


def going(
    stage: Stage,
    thing: Thing,
    velocity: Sequence[float] | Point,
    pace: Float64[np.ndarray, " frames"] | None = None,
    bob: float = 0.0,
) -> Track:
    """A way on which a thing is at its own place in the middle of the clip.

    Args:
        stage: Where.
        thing: What goes.
        velocity: Metres per frame in x, y and z.
        pace: By which the velocity is multiplied in every frame.
        bob: Metres by which steps lift it.
    """
    times = np.arange(stage.frames)
    steps = np.ones(stage.frames) if pace is None else pace
    way = np.cumsum(steps)[:, None] * np.asarray(velocity, np.float64)
    way -= way[stage.middle]
    way[:, 1] -= bob * np.abs(np.sin(0.5 * times)) * steps
    return CubicSpline(times, thing.middle + way)


def walking(stage: Stage, thing: Thing, velocity: Sequence[float] | Point, **how: Any) -> Actor:
    """A person or an animal that goes on its legs."""
    bob = 0.02 * float(np.linalg.norm(thing.parts[0].down))
    legs = Bend(stage.between(0.03, 0.09), stage.between(0.5, 1.0), stage.between(0, 6), 0.0, 1.0)
    return Actor(thing, going(stage, thing, velocity, bob=bob, **how), legs, sway=0.02)


def driving(stage: Stage, thing: Thing, velocity: Sequence[float] | Point, **how: Any) -> Actor:
    """A car that goes on."""
    return Actor(thing, going(stage, thing, velocity, **how))


def shoot(
    stage: Stage,
    actors: Sequence[Actor],
    path: Path,
    zoom: Callable[[float], float] | None = None,
    is_mirrored: bool = False,
) -> Shot:
    """The clip that a camera takes of a stage with its actors."""
    patches = list(stage.space.walls)
    if stage.space.subject is not None:
        patches += with_shade((stage.space.subject,), (stage.space, stage.light))
    for index, actor in enumerate(actors):
        parts = _parts(actor, index)
        is_flat = not actor.thing.is_solid
        patches += with_shade(parts, (stage.space, stage.light), is_mirrored and is_flat)
    width, height = stage.lens.size
    lens = np.array([stage.lens.focal, stage.lens.focal, width / 2, height / 2])
    rolls, blurs = stage.rng.random() < 0.2, stage.rng.random() < 0.25
    readout = stage.between(0.2, 0.6) if rolls else 0.0
    exposure = stage.between(0.1, 0.5) if blurs else 0.0
    return Shot(tuple(patches), path, lens, stage.lens.size, readout, exposure, zoom)


def _parts(actor: Actor, index: int) -> list[Patch]:
    if actor.track is None:
        return list(actor.thing.parts)
    track, middle = actor.track, actor.thing.middle

    def moved(time: float) -> Float64[np.ndarray, "4 4"]:
        swing = actor.sway * np.sin(0.5 * time + index)
        turn = Rotation.from_euler("z", swing).as_matrix()
        return about(turn, middle, track(time))

    return [replace(p, moved=moved, mover=index, bend=actor.bend) for p in actor.thing.parts]
