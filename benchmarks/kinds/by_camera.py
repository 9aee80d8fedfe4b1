"""Kinds of clips that are named after their camera: pan, pan and zoom, orbit, walk, drive, drone.

Numbers here that name no source were set by hand while looking at the clips.
"""

from dataclasses import replace

import numpy as np

from benchmarks.kinds.cameras import (
    driving_camera,
    flying,
    orbiting,
    panning,
    walking_camera,
)
from benchmarks.kinds.places import country
from benchmarks.kinds.stage import (
    Actor,
    Stage,
    animal,
    car,
    driving,
    person,
    set_stage,
    shoot,
    walking,
)
from recon4d.core.pinhole import length_at
from recon4d.masks.train.worlds.clip import Shot
from recon4d.masks.train.worlds.material import Material
from recon4d.masks.train.worlds.solids import box

Size = tuple[int, int]
PAN = (0.005, 0.015)
"""Least and most that a camera on a tripod turns from frame to frame, parts of the picture's width."""
ZOOM = (1.3, 1.9)
"""Longest focal length over the shortest of a zoom."""


def pan(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera on a tripod turns; somebody walks by."""
    stage = set_stage(rng, material, size, _outside(rng))
    step_px = stage.between(*PAN) * size[0]
    return shoot(stage, _passers_by(stage), panning(stage, stage.sign() * step_px))


def pan_zoom(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera on a tripod turns and zooms in or out."""
    stage = set_stage(rng, material, size, _outside(rng))
    ratio = float(np.log(stage.between(*ZOOM))) * stage.sign()

    def zoom(time: float) -> float:
        return float(np.exp(ratio * (time / (stage.frames - 1) - 0.5)))

    path = panning(stage, stage.sign() * stage.between(*PAN) / 2 * size[0])
    return shoot(stage, _passers_by(stage), path, zoom)


def orbit(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera goes around something that stands; somebody passes by it."""
    stage = set_stage(rng, material, size, "square")
    distance, block = stage.between(4.5, 6.5), stage.between(0.7, 1.4)
    sides = [material.picture(rng, 192) for _ in range(3)]
    middle = stage.on_ground(0.0, distance) - [0, block / 2, 0]
    space = stage.space
    walls = (*space.walls, *box(middle, np.eye(3), np.array([block, block, block]), sides))
    stage = replace(stage, space=replace(space, walls=walls))
    path = orbiting(stage, distance, stage.sign() * stage.between(0.4, 0.9))
    thing = person(stage, stage.on_ground(stage.between(-0.25, 0.25), 0.8 * distance))
    way = stage.sign() * stage.step(stage.between(2, 5), distance)
    return shoot(stage, [walking(stage, thing, (way, 0, stage.between(-0.4, 0.4) * way))], path)


def walk(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera is carried ahead; people cross or come towards it."""
    stage = set_stage(rng, material, size, str(rng.choice(("room", "square"))))
    path = walking_camera(
        stage,
        (stage.between(-0.01, 0.01), min(0.05, stage.space.depth / 100) * stage.between(0.6, 1.2)),
    )
    actors = _passers_by(stage)
    coming = person(
        stage, stage.on_ground(stage.between(-0.3, 0.3), 0.6 * min(stage.space.depth, 9))
    )
    return shoot(stage, [*actors, walking(stage, coming, (0, 0, -stage.between(0.02, 0.06)))], path)


def drive(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera drives along a street: cars come, one is ahead, others are parked."""
    stage = set_stage(rng, material, size, "square", (0.8, 1.4))
    speed = stage.between(0.15, 0.4)
    path = driving_camera(stage, speed, stage.between(-0.08, 0.08))
    z = stage.between(7, 11)
    coming = car(stage, stage.on_ground(stage.between(-0.3, -0.15), z + 3), -np.pi / 2)
    ahead = car(stage, stage.on_ground(stage.between(0.02, 0.12), z), np.pi / 2)
    parked = [
        Actor(car(stage, np.array([x, stage.floor, stage.between(6, 16)]), np.pi / 2))
        for x in (stage.between(2.2, 3.0), -stage.between(3.6, 4.4))
    ]
    moving = [
        driving(stage, coming, (0, 0, -stage.between(0.1, 0.4))),
        driving(stage, ahead, (0, 0, speed * stage.between(0.8, 1.3))),
    ]
    return shoot(stage, [*parked, *moving], path)


def drone(rng: np.random.Generator, material: Material, size: Size) -> Shot:
    """A camera flies over houses, cars and people and looks down at them."""
    stage = set_stage(rng, material, size, "square")
    height, pitch = stage.between(9, 16), stage.between(0.5, 0.9)
    stage = replace(stage, space=country(rng, material, height))
    far = height / np.tan(pitch)
    actors = [_car_below(stage, far) for _ in range(int(rng.integers(1, 3)))]
    for _ in range(int(rng.integers(1, 3))):
        foot = np.array([stage.between(-0.3, 0.3) * far, height, far * stage.between(0.8, 1.5)])
        thing = person(stage, foot, 2.2)
        way = rng.uniform(-1, 1, 2) * 0.09
        actors.append(walking(stage, thing, (way[0], 0, way[1])))
    distance = height / np.sin(pitch)
    speed = length_at(distance, stage.between(1, 4), stage.lens.focal)
    velocity = speed * np.array(
        [stage.between(-1, 1), stage.between(-0.15, 0.15), stage.between(0, 1)]
    )
    return shoot(stage, actors, flying(stage, velocity, pitch, stage.between(-0.2, 0.2)))


def _car_below(stage: Stage, far: float) -> Actor:
    heading = float(stage.rng.choice((0, np.pi / 2, np.pi, -np.pi / 2)))
    foot = np.array([stage.between(-0.35, 0.35) * far, stage.floor, far * stage.between(0.8, 1.4)])
    speed = stage.between(0.08, 0.3)
    velocity = speed * np.array([np.cos(heading), 0, np.sin(heading)])
    return driving(stage, car(stage, foot, heading), velocity)


def _outside(rng: np.random.Generator) -> str:
    return str(rng.choice(("square", "room"), p=(0.6, 0.4)))


def _passers_by(stage: Stage) -> list[Actor]:
    """One or two people, or an animal, that go across."""
    found = []
    for _ in range(int(stage.rng.integers(1, 3))):
        z = stage.between(0.4, 0.75) * min(stage.space.depth, 8)
        foot = stage.on_ground(stage.between(-0.3, 0.3), z)
        is_low = stage.rng.random() < 0.3
        thing = animal(stage, foot, stage.between(0.7, 1.1)) if is_low else person(stage, foot)
        way = stage.sign() * stage.step(stage.between(1.5, 5), z)
        found.append(walking(stage, thing, (way, 0, stage.between(-0.3, 0.3) * way)))
    return found
