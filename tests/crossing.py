"""Rendered worlds of several movers that cross, with their exact identities, tracks and results."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from recon4d.demo.render import Camera, Solid, World, cast, picture, pixel_grid
from recon4d.demo.world import pose_at
from recon4d.results.reconstruction import Reconstruction
from tests import synthetic

FPS = 30
"""Frames per second of every world here."""
HIDDEN = 0.01
"""Relative depth by which a point may lie behind what is seen in its place and still count as visible."""


@dataclass(frozen=True)
class Crossing(World):
    """A world whose moving solids each go their own way: to and fro across the view, once over the whole video."""

    duration_s: float = 1.0

    def world_from_solid(self, index: int, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Pose of one solid at a time."""
        rest = self.solids[index].world_from_solid
        if not self.solids[index].is_moving:
            return rest
        number = int(np.flatnonzero(self.is_moving).tolist().index(index))
        way = -1.0 if number % 2 else 1.0
        done = time_s / self.duration_s
        bob = 0.04 * np.sin(9 * done + number)
        turn = 25 * way * done
        speed = 2.0 - 0.5 * (number // 2)
        there = pose_at(speed * way * done, bob, 0.15 * np.sin(3 * done))
        return np.asarray(there @ rest @ pose_at(0, 0, 0, turn))


@dataclass(frozen=True)
class Truth:
    """Everything about one rendered clip. Lengths are metres."""

    world: Crossing
    cameras: list[Camera]
    result: Reconstruction
    """What a run without any error would find."""
    ids: UInt8[np.ndarray, "frames height width"]
    """0 = static, else the number of the mover from 1 on."""

    def follow(
        self, frame: Int64[np.ndarray, " points"], uv: Float64[np.ndarray, "points 2"]
    ) -> tuple[
        Float64[np.ndarray, "frames points 2"],
        Bool[np.ndarray, "frames points"],
        Float64[np.ndarray, "frames points 3"],
    ]:
        """Pixels, visibility, and places in the world of the surface points that are seen at some pixels."""
        own, solid = np.zeros((len(frame), 3)), np.zeros(len(frame), np.int64)
        for t in np.unique(frame):
            rows = np.flatnonzero(frame == t)
            hits = cast(self.world, self.cameras[t], uv[rows][None])
            there = (
                self.cameras[t].world_from_cam[:3, 3]
                + hits.depth[0][:, None] * (self.cameras[t].directions(uv[rows][None])[0])
            )
            solid[rows] = hits.solid[0]
            for row, point in zip(rows, there, strict=True):
                pose = self.world.world_from_solid(int(solid[row]), self.cameras[t].time_s)
                own[row] = (point - pose[:3, 3]) @ pose[:3, :3]
        seen, visible, world = [], [], []
        for camera in self.cameras:
            poses = np.stack(
                [
                    self.world.world_from_solid(i, camera.time_s)
                    for i in range(len(self.world.solids))
                ]
            )[solid]
            points = np.einsum("nij,nj->ni", poses[:, :3, :3], own) + poses[:, :3, 3]
            place = camera.project(points)
            inside = (place[:, 2] > 0) & (place[:, :2] >= 0).all(1)
            inside &= (place[:, :2] < self.result.images.shape[2:0:-1]).all(1)
            hits = cast(self.world, camera, np.where(inside[:, None], place[:, :2], 0)[None])
            free = place[:, 2] < hits.depth[0] * (1 + HIDDEN)
            seen.append(place[:, :2])
            visible.append(inside & free & (hits.solid[0] == solid))
            world.append(points)
        return np.stack(seen), np.stack(visible), np.stack(world)


def make_crossing(
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    movers: int = 2,
    path: synthetic.Path = "carried",
) -> Truth:
    """Film a furnished room in which boxes and balls at different distances cross in front of each other."""
    rng = np.random.default_rng(seed)
    room = synthetic._world(rng, False, num_frames)
    solids = list(room.solids)
    for number in range(movers):
        way = -1.0 if number % 2 else 1.0
        x, z = -way * (0.75 + 0.55 * (number // 2)), 0.15 + 0.34 * number
        half = np.array([0.2, 0.42, 0.18]) * rng.uniform(0.8, 1.1)
        texture = synthetic._texture(rng, 96, 576)
        texture = np.clip(texture * rng.uniform(0.5, 1.2, 3), 0, 255).astype(np.uint8)
        solids.append(Solid("box", pose_at(x, 0.55, z, 20), half, texture, is_moving=True))
    world = Crossing(tuple(solids), room.moved_from_rest, num_frames / FPS)
    focal = 0.86 * size[0]
    intrinsics = np.array([focal, focal, size[0] / 2, size[1] / 2])
    cameras = synthetic._cameras(rng, num_frames, intrinsics, path)
    fine = pixel_grid(size, synthetic.RAYS_PER_PIXEL, np.float32)
    images = [picture(cast(world, c, fine, True), synthetic.RAYS_PER_PIXEL) for c in cameras]
    truth = [cast(world, c, pixel_grid(size)) for c in cameras]
    number_of = np.cumsum(world.is_moving) * world.is_moving
    ids = number_of[np.stack([hits.solid for hits in truth])].astype(np.uint8)
    depth = np.stack([hits.depth for hits in truth]).astype(np.float32)
    result = Reconstruction(
        world_from_cam=np.stack([c.world_from_cam for c in cameras]),
        intrinsics=np.stack([c.intrinsics for c in cameras]),
        timestamps_s=np.array([c.time_s for c in cameras]),
        sources=tuple(f"{i:06d}.png" for i in range(num_frames)),
        images=np.stack(images),
        depth=depth,
        confidence=np.where(ids > 0, 5, 255).astype(np.uint8),
        is_dynamic=ids > 0,
        is_metric=True,
        depth_std=(0.01 * depth).astype(np.float16),
        run={"frames": num_frames, "posed": num_frames, "size": list(size)},
    )
    return Truth(world, cameras, result, ids)
