"""Cameras that are at the origin in the middle of a clip and look along +z then. Lengths are metres, angles radians.

Numbers here that name no source were set by hand while looking at the clips.
"""

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from benchmarks.kinds.stage import TREMBLE_RAD, Point, Stage
from recon4d.core.pinhole import view_angle
from recon4d.masks.train.worlds.paths import Path, Track, wander

STEP_FRAMES = 12
"""Of a walking camera's step."""

Way = Float64[np.ndarray, "frames 3"]


def camera(stage: Stage, positions: Way, turns: Way, trembling: float = 1.0) -> Path:
    """A camera on a way with rotation vectors; its hand trembles."""
    frames = stage.frames
    shake = stage.rng.normal(0, trembling * TREMBLE_RAD, (frames, 3))
    times = np.arange(frames)
    return Path(CubicSpline(times, positions), CubicSpline(times, turns + shake))


def clock(stage: Stage) -> Float64[np.ndarray, " frames"]:
    """Frames from the middle."""
    return np.arange(stage.frames) - float(stage.middle)


def panning(stage: Stage, px: float) -> Path:
    """Turns on a tripod; the picture moves so far per frame."""
    yaw = clock(stage) * np.arctan(view_angle(px, stage.lens.focal))
    tilt = stage.between(-0.1, 0.1) * yaw
    return camera(stage, np.zeros((stage.frames, 3)), np.stack((tilt, yaw, 0 * yaw), axis=1), 0.5)


def orbiting(stage: Stage, distance: float, angle: float) -> Path:
    """Goes around a point ahead by an angle in all."""
    turn = clock(stage) / stage.frames * angle
    ahead = np.array([0, 0, distance])
    from_point = distance * np.stack((np.sin(turn), 0 * turn, -np.cos(turn)), axis=1)
    return camera(stage, ahead + from_point, np.stack((0 * turn, -turn, 0 * turn), axis=1))


def walking_camera(stage: Stage, velocity: tuple[float, float], hand: float = 0.004) -> Path:
    """Goes on by (x, z) per frame with the up and down of steps, and looks around a little."""
    times = clock(stage)
    steps = 0.025 * np.sin(2 * np.pi * times / STEP_FRAMES)
    way = np.stack((velocity[0] * times, steps, velocity[1] * times), axis=1)
    turns = wander(stage.rng, stage.frames, hand) * (0.6, 1, 0.3)
    return camera(stage, way - way[stage.middle], turns - turns[stage.middle], 2.0)


def driving_camera(stage: Stage, speed: float, bend: float) -> Path:
    """Goes ahead, and turns by an angle in all."""
    times = clock(stage)
    yaw = bend * times / stage.frames
    way = np.cumsum(speed * np.stack((np.sin(yaw), 0 * yaw, np.cos(yaw)), axis=1), axis=0)
    bounce = 0.002 * np.sin(1.1 * times)
    return camera(stage, way - way[stage.middle], np.stack((bounce, yaw, 0 * yaw), axis=1))


def flying(stage: Stage, velocity: Point, pitch: float, yaw: float) -> Path:
    """Flies over the ground, looking down by `pitch`, and turns by `yaw` in all."""
    times = clock(stage)
    spin = Rotation.from_euler("y", (yaw * times / stage.frames)[:, None])
    turns = (spin * Rotation.from_euler("x", -pitch)).as_rotvec()
    return camera(stage, times[:, None] * velocity, turns, 0.3)


def following(stage: Stage, track: Track, along: float) -> Path:
    """Keeps what goes on a track where it is in the middle frame: goes along with it, turns by what is left."""
    there = np.stack([track(float(t)) for t in range(stage.frames)])
    way = along * (there - there[stage.middle]) * (1, 0.2, 1)
    way += 0.3 * _hand(stage, 0.01)
    sight = there - way
    bearing = np.arctan2(sight[:, 0], sight[:, 2])
    yaw = bearing - bearing[stage.middle]
    turns = np.stack((0 * yaw, yaw, 0 * yaw), axis=1) + _hand(stage, 0.0015)
    return camera(stage, way, turns)


def _hand(stage: Stage, step: float) -> Way:
    found = wander(stage.rng, stage.frames, step)
    return np.asarray(found - found[stage.middle])
