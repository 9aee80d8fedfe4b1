"""Random static worlds, and what moves and stands in them. The camera starts near the origin; y is down, z ahead.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np

from recon4d.core.pinhole import length_at
from recon4d.masks.train.worlds.light import random_light
from recon4d.masks.train.worlds.material import Material
from recon4d.masks.train.worlds.paths import Track, mover_track
from recon4d.masks.train.worlds.planes import Patch
from recon4d.masks.train.worlds.spaces import Lens, make_space
from recon4d.masks.train.worlds.things import Thing, moving, random_thing, standing

WITHOUT_MOVERS = 0.2
"""Part of the worlds in which nothing moves, though there is much to look at."""
SUBJECT_MOVES = 0.7
"""Part of the photographs whose own object is the first mover, where anything moves."""


@dataclass(frozen=True)
class Scenery:
    """A whole world."""

    patches: tuple[Patch, ...]
    tracks: tuple[Track, ...]
    """Of the movers."""
    depth: float


def make_scenery(rng: np.random.Generator, material: Material, frames: int, lens: Lens) -> Scenery:
    """A random world with objects that stand still and objects that move."""
    space = make_space(rng, material, lens)
    light = random_light(rng)
    stand = [random_thing(rng, material, space, lens) for _ in range(int(rng.integers(0, 4)))]
    count = 0 if rng.random() < WITHOUT_MOVERS else int(rng.choice([1, 1, 1, 2, 2, 3, 4]))
    things = [random_thing(rng, material, space, lens) for _ in range(count)]
    if space.subject is not None:
        subject = Thing.flat(space.subject)
        if count and rng.random() < SUBJECT_MOVES:
            things[0] = subject
        else:
            stand.append(subject)
    tracks = [_track(rng, thing, frames, lens) for thing in things]
    patches = list(space.walls)
    for thing in stand:
        patches += standing(thing, space, light)
    for index, (thing, track) in enumerate(zip(things, tracks, strict=True)):
        patches += moving(rng, thing, (track, frames), index, (space, light))
    return Scenery(tuple(patches), tuple(tracks), space.depth)


def _track(rng: np.random.Generator, thing: Thing, frames: int, lens: Lens) -> Track:
    """Movement of a mover; its speed is drawn in pixels per frame, from hardly to fast."""
    speed_px = float(np.exp(rng.uniform(np.log(0.4), np.log(14)))) * lens.size[0] / 512
    return mover_track(rng, frames, thing.middle, length_at(thing.middle[2], speed_px, lens.focal))
