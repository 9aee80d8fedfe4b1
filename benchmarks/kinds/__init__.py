"""Rendered clips of kinds, with exact truth, that no training has seen.

Each kind is a function that directs a clip; the renderer, the walls and the objects that are cut out of photographs are
those of the training's worlds (`recon4d.masks.train.worlds`), places, ways and cameras are not.
"""

from collections.abc import Callable, Mapping
from itertools import count

import numpy as np

from benchmarks.kinds import by_camera, by_mover
from recon4d.core.errors import InputError
from recon4d.masks.train.worlds.clip import RenderedClip, Shot, film
from recon4d.masks.train.worlds.material import Material

Kind = Callable[[np.random.Generator, Material, tuple[int, int]], Shot]
KINDS: Mapping[str, Kind] = {
    "pan": by_camera.pan,
    "pan-zoom": by_camera.pan_zoom,
    "orbit": by_camera.orbit,
    "walk": by_camera.walk,
    "drive": by_camera.drive,
    "drone": by_camera.drone,
    "follow-shot": by_mover.follow_shot,
    "crowd": by_mover.crowd,
    "foliage": by_mover.foliage,
    "water": by_mover.waves,
    "twins": by_mover.twins,
    "far": by_mover.far,
    "huge": by_mover.huge,
    "thin": by_mover.thin,
    "stop-and-go": by_mover.stop_and_go,
    "shadow": by_mover.shadow,
}
"""What directs the clips of a kind."""
HELD_OUT = 20261130
"""In every seed of these clips. A training's clips begin from one number of 32 bits, these from several words, so that
no number that a training is given leads to one of them."""
SIZE = (448, 256)
"""(width, height) of a clip, pixels: a run takes seconds."""
SEEN = 0.01
"""Part of a frame that must move at least ..."""
SMALL: Mapping[str, float] = {"far": 0.001, "thin": 0.008, "drone": 0.002, "huge": 0.3}
"""... and in kinds that are small or huge by name ..."""
MOSTLY = 0.7
"""... in this part of the frames; else what moves is hidden, or has missed the picture: the clip is drawn again."""
MOST = 0.5
"""Part of a frame that moves at most, on the average, but in the kind that is huge."""
TRIES = 40
"""Draws of a clip."""


def make_clip(
    kind: str, index: int, material: Material, size: tuple[int, int] = SIZE
) -> RenderedClip:
    """The clip of a kind and a number; the same for everybody who has the same material.

    Args:
        kind: Of `KINDS`.
        index: Which of the kind's clips.
        material: As `benchmarks.kinds.places.scenery` leaves it.
        size: (width, height) in pixels.

    Raises:
        InputError: Nothing moves in view in any draw.
    """
    words = np.frombuffer(kind.encode(), np.uint8).tolist()
    for attempt in count():
        rng = np.random.default_rng([HELD_OUT, index, attempt, *words])
        shot = KINDS[kind](rng, material, size)
        clip = film(shot, frames_of(shot), rng)
        share = clip.is_dynamic.mean((1, 2))
        is_seen = (share > SMALL.get(kind, SEEN)).mean() >= MOSTLY
        if is_seen and (kind == "huge" or share.mean() < MOST):
            return clip
        if attempt == TRIES:
            raise InputError(f"nothing moves in clip {index} of the kind {kind} in {TRIES} draws")
    raise AssertionError


def frames_of(shot: Shot) -> int:
    """How many frames its camera knows."""
    return len(shot.path.positions.x)
