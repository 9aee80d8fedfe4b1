"""Kinds of clips that are named after what moves in them, and what moves without being an object.

Numbers here that name no source were set by hand while looking at the clips.
"""

from dataclasses import replace

import numpy as np

from benchmarks.kinds.cameras import camera, following, panning, walking_camera
from benchmarks.kinds.painted import leaves, thin_figure, water
from benchmarks.kinds.stage import (
    Actor,
    Stage,
    animal,
    car,
    driving,
    flat,
    going,
    person,
    set_stage,
    shoot,
    walking,
)
from recon4d.masks.train.worlds.clip import Shot
from recon4d.masks.train.worlds.cutouts import Cutout
from recon4d.masks.train.worlds.light import Light
from recon4d.masks.train.worlds.material import Material
from recon4d.masks.train.worlds.paths import Path
from recon4d.masks.train.worlds.planes import Bend, Patch
from recon4d.masks.train.worlds.spaces import wall
from recon4d.masks.train.worlds.things import Thing

Size = tuple[int, int]
Rng = np.random.Generator


def follow_shot(rng: Rng, material: Material, size: Size) -> Shot:
    """The camera goes along with a car, an animal or a person, or turns after it."""
    stage = set_stage(rng, material, size, "square", (0.8, 1.3))
    z = stage.between(4.5, 6)
    foot, side = stage.on_ground(stage.between(-0.1, 0.1), z), stage.sign()
    speed = side * stage.step(stage.between(4, 9), z)
    if rng.random() < 0.5:
        actor = driving(stage, car(stage, foot, 0 if side > 0 else np.pi), (speed, 0, 0))
    elif rng.random() < 0.5:
        actor = walking(stage, animal(stage, foot, stage.between(0.9, 1.2)), (speed, 0, 0))
    else:
        actor = walking(stage, person(stage, foot), (speed, 0, 0))
    assert actor.track is not None
    return shoot(stage, [actor], following(stage, actor.track, stage.between(0.5, 1)))


def crowd(rng: Rng, material: Material, size: Size) -> Shot:
    """Many people go to and fro at all distances."""
    stage = set_stage(rng, material, size, "square")
    actors = []
    for z in np.linspace(9, 3, int(rng.integers(7, 12))):
        thing = person(stage, stage.on_ground(stage.between(-0.45, 0.45), float(z)))
        way = stage.sign() * stage.step(stage.between(1, 4.5), float(z))
        actors.append(walking(stage, thing, (way, 0, stage.between(-0.3, 0.3) * way)))
    return shoot(stage, actors, _carried(stage))


def foliage(rng: Rng, material: Material, size: Size) -> Shot:
    """Bushes and trees sway in the wind, and are no objects; somebody walks among them."""
    stage = set_stage(rng, material, size, "square")
    bushes = []
    for column in np.linspace(-0.5, 0.5, 7):
        z, tall = stage.between(3, 7), stage.between(1.2, 2.8)
        bushes.append(_bush(stage, float(column) + stage.between(-0.06, 0.06), z, tall))
    z = stage.between(3.5, 5)
    thing = person(stage, stage.on_ground(stage.between(-0.25, 0.25), z))
    actor = walking(stage, thing, (stage.sign() * stage.step(stage.between(1.5, 4), z), 0, 0))
    space = replace(stage.space, walls=(*stage.space.walls, *bushes))
    return shoot(replace(stage, space=space), [actor], _carried(stage))


def waves(rng: Rng, material: Material, size: Size) -> Shot:
    """Water ripples and flows, and is no object; something swims or goes by at its edge."""
    stage = set_stage(rng, material, size, "square")
    wide = 40.0
    ripple = Bend(
        stage.between(0.002, 0.004), stage.between(0.5, 1.1), stage.between(0, 6), 30.0, 0.0
    )
    surface = wall(
        (-wide / 2, stage.floor - 0.02, wide), (wide, 0, 0), (0, 0, -wide - 4), water(rng), ripple
    )
    stage = replace(stage, space=replace(stage.space, walls=(*stage.space.walls, surface)))
    z = stage.between(3, 5)
    thing = animal(stage, stage.on_ground(stage.between(-0.2, 0.2), z), stage.between(0.7, 1.2))
    way = stage.sign() * stage.step(stage.between(1.5, 4), z)
    actor = Actor(thing, going(stage, thing, (way, 0, 0), bob=0.02), sway=0.04)
    stage = replace(stage, light=replace(stage.light, strength=0.0))
    return shoot(stage, [actor], _carried(stage), is_mirrored=True)


def twins(rng: Rng, material: Material, size: Size) -> Shot:
    """One of several that look the same moves; the others are parked."""
    stage = set_stage(rng, material, size, "square")
    z = stage.between(5, 6.5)
    columns = rng.permutation(np.array([-0.32, 0.0, 0.32])) + rng.uniform(-0.04, 0.04, 3)
    first = _thing(stage, stage.on_ground(float(columns[0]), z))
    way = stage.sign() * stage.step(stage.between(1.5, 4.5), z)
    copies = [
        Actor(_beside(first, stage.on_ground(float(c), z) - stage.on_ground(float(columns[0]), z)))
        for c in columns[1:]
    ]
    nearer = _beside(first, np.array([0, 0, -stage.between(0.8, 1.3)]))
    goes = (driving if first.is_solid else walking)(stage, nearer, (way, 0, 0))
    return shoot(stage, [*copies, goes], _carried(stage))


def far(rng: Rng, material: Material, size: Size) -> Shot:
    """Two to four small ones at a distance: a sixteenth to an eighth of the picture's height."""
    stage = set_stage(rng, material, size, "square")
    actors = []
    for _ in range(int(rng.integers(2, 5))):
        z = stage.between(0.55, 0.9) * stage.space.depth
        tall = stage.tall(stage.between(1 / 16, 1 / 8), z)
        foot = stage.on_ground(stage.between(-0.35, 0.35), z)
        is_car = rng.random() < 0.3
        thing = car(stage, foot, 0, 0.8 * tall) if is_car else person(stage, foot, tall)
        way = stage.sign() * stage.step(stage.between(0.8, 2.5), z)
        actors.append((driving if is_car else walking)(stage, thing, (way, 0, 0)))
    return shoot(stage, actors, _carried(stage))


def huge(rng: Rng, material: Material, size: Size) -> Shot:
    """Something near fills a third of the picture and more."""
    stage = set_stage(rng, material, size, str(rng.choice(("room", "square"))))
    z, column = stage.between(1.4, 2.0), stage.between(-0.15, 0.15)
    tall = stage.tall(stage.between(0.8, 1.05), z)
    foot = stage.on_ground(column, z)
    foot[1] = stage.tall(stage.between(0.45, 0.6), z)
    is_car = rng.random() < 0.4
    thing = car(stage, foot, 0, 0.8 * tall) if is_car else animal(stage, foot, tall)
    way = stage.sign() * stage.step(stage.between(2, 7), z)
    velocity = (way, 0, stage.between(-0.2, 0.2) * way)
    actor = (driving if thing.is_solid else walking)(stage, thing, velocity)
    stage = replace(stage, light=replace(stage.light, strength=0.0))
    return shoot(stage, [actor], _carried(stage))


def thin(rng: Rng, material: Material, size: Size) -> Shot:
    """A bicycle, a lanky figure or a parasol goes by."""
    stage = set_stage(rng, material, size, str(rng.choice(("room", "square"))))
    actors = []
    for _ in range(int(rng.integers(1, 3))):
        z = stage.between(2.4, 4)
        picture, alpha = thin_figure(rng)
        cut = Cutout(picture, alpha, -1, (0, 0))
        foot = stage.on_ground(stage.between(-0.3, 0.3), z)
        thing = flat(stage, cut, foot, stage.between(1.3, 1.8))
        way = stage.sign() * stage.step(stage.between(1.5, 5), z)
        actors.append(walking(stage, thing, (way, 0, 0)))
    return shoot(stage, actors, _carried(stage))


def stop_and_go(rng: Rng, material: Material, size: Size) -> Shot:
    """What moves rests for about half of the clip."""
    stage = set_stage(rng, material, size, str(rng.choice(("room", "square"))))
    z = stage.between(3.5, 5.5)
    actors = []
    for column in (stage.between(-0.3, -0.1), stage.between(0.1, 0.3)):
        thing = _thing(stage, stage.on_ground(column, z))
        way = stage.sign() * stage.step(stage.between(2.5, 5), z)
        how = driving if thing.is_solid else walking
        actors.append(how(stage, thing, (way, 0, 0), pace=_resting(stage)))
    return shoot(stage, actors, _carried(stage))


def shadow(rng: Rng, material: Material, size: Size) -> Shot:
    """A low sun throws long shadows, or a wet floor mirrors what goes on it."""
    stage = set_stage(rng, material, size, "square", (0.5, 0.65))
    is_wet = bool(rng.random() < 0.5)
    slope = stage.sign() * stage.between(0.7, 1.6), -stage.between(0.2, 0.8)
    light = Light(slope, 0.0 if is_wet else stage.between(0.6, 0.85))
    stage = replace(stage, light=light)
    z = stage.between(3.6, 5)
    thing = person(stage, stage.on_ground(stage.between(-0.2, 0.2), z), stage.between(1.2, 1.6))
    way = stage.sign() * stage.step(stage.between(2, 5), z)
    actor = walking(stage, thing, (way, 0, stage.between(-0.2, 0.2) * way))
    return shoot(stage, [actor], _carried(stage), is_mirrored=is_wet)


def _carried(stage: Stage) -> Path:
    """A camera in a hand: it stands, walks sideways or ahead, or pans."""
    kind = int(stage.rng.integers(4))
    if kind == 0:
        still = np.zeros((stage.frames, 3))
        return camera(stage, still, still, 2.0)
    if kind == 1:
        return panning(stage, stage.sign() * stage.between(1, 4))
    if kind == 2:
        return walking_camera(stage, (stage.sign() * stage.between(0.01, 0.05), 0.0))
    return walking_camera(stage, (stage.between(-0.01, 0.01), stage.between(0.02, 0.05)))


def _thing(stage: Stage, foot: np.ndarray) -> Thing:
    """A car, as often as an animal and a person together."""
    kind = int(stage.rng.choice((0, 0, 1, 2)))
    if kind == 0:
        return car(stage, foot, float(stage.rng.choice((0, np.pi))))
    return animal(stage, foot, stage.between(0.9, 1.3)) if kind == 1 else person(stage, foot)


def _beside(thing: Thing, offset: np.ndarray) -> Thing:
    parts = tuple(replace(part, origin=part.origin + offset) for part in thing.parts)
    return replace(thing, parts=parts, middle=thing.middle + offset)


def _resting(stage: Stage) -> np.ndarray:
    """Goes, rests, and goes on; or rests and starts, or goes and stops."""
    times, half = np.arange(stage.frames), stage.frames / 2
    begin = stage.between(-0.25, 0.75) * stage.frames
    inside = 1 / (1 + np.exp(-2 * (times - begin))) - 1 / (1 + np.exp(-2 * (times - begin - half)))
    return np.asarray(1 - inside)


def _bush(stage: Stage, column: float, z: float, tall: float) -> Patch:
    picture, alpha = leaves(stage.rng)
    wide = tall * stage.between(0.8, 1.2)
    corner = stage.on_ground(column, z) - [wide / 2, tall, 0]
    sway = Bend(
        stage.between(0.01, 0.03),
        stage.between(0.4, 1.0),
        stage.between(0, 6),
        stage.between(0.5, 2),
        0.0,
    )
    return Patch(corner, np.array([wide, 0, 0]), np.array([0, tall, 0]), picture, alpha, bend=sway)
