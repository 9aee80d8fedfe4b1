"""How cameras and movers go through a training world.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

KNOT_FRAMES = 5
"""Frames between the knots of a hand's slow wandering."""
KINDS = ("walk", "turn", "still", "forward", "follow")
SHARES = (0.36, 0.18, 0.1, 0.1, 0.26)
"""How often each kind of camera occurs."""
SHAKE_RAD = 0.002
"""Standard deviation of the hand's trembling from frame to frame."""

Pose = Float64[np.ndarray, "4 4"]
Track = Callable[[float], Float64[np.ndarray, "3"]]


@dataclass(frozen=True)
class Path:
    """World-from-camera at a time in frames, interpolated between frames."""

    positions: CubicSpline
    turns: CubicSpline
    """Rotation vectors; small enough that splines of them are rotations' splines."""

    def __call__(self, time: float) -> Pose:
        """The pose."""
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(self.turns(time)).as_matrix()
        pose[:3, 3] = self.positions(time)
        return pose


def wander(
    rng: np.random.Generator, frames: int, step: float, dimensions: int = 3
) -> Float64[np.ndarray, "frames dimensions"]:
    """A smooth random walk that starts at 0 and moves by about `step` per frame."""
    knots = max(frames // KNOT_FRAMES + 3, 4)
    speed = rng.normal(0, step, (knots, dimensions))
    speed += rng.normal(0, step, dimensions)  # it goes somewhere
    at = np.arange(knots) * KNOT_FRAMES
    found = CubicSpline(at, np.cumsum(speed * KNOT_FRAMES, axis=0))(np.arange(frames))
    return np.asarray(found - found[0])


def camera_path(
    rng: np.random.Generator, frames: int, distance: float, followed: Track | None
) -> Path:
    """A hand-held camera that starts near the origin and looks along +z.

    Args:
        rng: Decides everything.
        frames: How many.
        distance: Of what is looked at, world units: speeds are in proportion.
        followed: Position of a mover in the world that `follow` keeps in the picture.
    """
    kind = str(rng.choice(KINDS, p=SHARES))
    if kind == "follow" and followed is None:
        kind = "walk"
    speed = float(np.exp(rng.uniform(np.log(0.001), np.log(0.02)))) * distance
    turn = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.012))))
    if kind in ("turn", "still"):
        speed *= 0.0 if rng.random() < 0.5 else 0.03
    if kind == "still":
        turn *= 0.1
    positions = wander(rng, frames, speed)
    positions[:, 1] *= 0.3
    turns = wander(rng, frames, turn) * (1, 1, 0.3)
    if kind == "forward":
        positions[:, 2] += np.arange(frames) * rng.uniform(0.3, 2) * speed
    if kind == "follow" and followed is not None:
        positions, turns = _following(rng, frames, followed, positions, turns)
    tremble = rng.normal(0, SHAKE_RAD * rng.uniform(0, 1), (frames, 3))
    times = np.arange(frames)
    return Path(CubicSpline(times, positions), CubicSpline(times, turns + tremble))


def _following(
    rng: np.random.Generator,
    frames: int,
    followed: Track,
    positions: Float64[np.ndarray, "frames 3"],
    turns: Float64[np.ndarray, "frames 3"],
) -> tuple[Float64[np.ndarray, "frames 3"], Float64[np.ndarray, "frames 3"]]:
    """Keep a mover in the picture by turning, by going along, or by both."""
    there = np.stack([followed(float(t)) for t in range(frames)])
    along = rng.uniform(0, 1) if rng.random() < 0.7 else 0.0
    positions = 0.3 * positions + along * (there - there[0]) * (1, 0.3, 1)
    sight = there - positions
    bearing = np.arctan2(sight[:, 0], sight[:, 2])
    return positions, 0.3 * turns + np.stack((0 * bearing, bearing - bearing[0], 0 * bearing), 1)


def mover_track(
    rng: np.random.Generator, frames: int, start: Float64[np.ndarray, "3"], speed: float
) -> Track:
    """Position of a mover: straight on with a bob, stop and go, or wandering.

    Args:
        rng: Decides everything.
        frames: How many.
        start: Position in the middle of the clip, world units.
        speed: World units per frame.
    """
    heading = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(heading), 0, 0.6 * np.sin(heading)])
    kind = rng.integers(3)
    if kind == 0:  # straight
        way = np.arange(frames)[:, None] * speed * direction
    elif kind == 1:  # stop and go
        goes = rng.uniform(0, frames), rng.uniform(frames / 6, frames / 2)
        pace = 1 / (1 + np.exp((np.abs(np.arange(frames) - goes[0]) - goes[1]) * 2))
        way = np.cumsum(pace)[:, None] * speed * direction
    else:
        way = wander(rng, frames, speed) * (1, 0.3, 0.7)
    bob = speed * rng.uniform(0, 0.8) * np.sin(np.arange(frames) * rng.uniform(0.3, 1.2))
    way[:, 1] -= np.abs(bob)
    spline = CubicSpline(np.arange(frames), start + way - way[frames // 2])
    return lambda time: np.asarray(spline(time))
