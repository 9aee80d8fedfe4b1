"""A small world of planes and spheres, and what a pairwise pointmap network would say about it."""

import numpy as np
from jaxtyping import Bool, Float, Float64

from recon4d.optim.pairwise.pairs import Pairs

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0
OFFSETS = (1, 2, 3, 5)


class PairsWorld:
    """Eight frames of a slanted wall, a floor, a sphere at rest and one that moves."""

    def __init__(
        self,
        seed: int = 0,
        frames: int = 8,
        mover: bool = True,
        noise: float = 1.0,
        zoom: float = 1.0,
    ):
        self.focal_px = FOCAL * zoom ** (np.arange(frames) / (frames - 1))
        self.rng = np.random.default_rng(seed)
        self.frames, self.mover, self.noise = frames, mover, noise
        self.world_from_cam = np.stack([self._camera(t) for t in range(frames)])
        views = [self._look(t) for t in range(frames)]
        self.depth = np.stack([depth for depth, _ in views])
        self.moving: Bool[np.ndarray, "frames height width"] = np.stack([m for _, m in views])
        self.pairs = self._pairs()

    def _camera(self, t: int) -> Float64[np.ndarray, "4 4"]:
        angle = 0.02 * t
        pose = np.eye(4)
        pose[:3, :3] = [
            [np.cos(angle), 0, np.sin(angle)],
            [0, 1, 0],
            [-np.sin(angle), 0, np.cos(angle)],
        ]
        pose[:3, 3] = [-0.12 * t, 0.03 * np.sin(t), 0.04 * t]
        return pose

    def _ball(self, t: int) -> Float64[np.ndarray, "3"]:
        return np.array([-0.9 + 0.15 * t, 0.2, 3.0])

    def _rays(self, t: int) -> Float64[np.ndarray, "height width 3"]:
        u, v = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
        f = self.focal_px[t]
        return np.stack(((u - WIDTH / 2) / f, (v - HEIGHT / 2) / f, np.ones_like(u)), -1)

    def _look(
        self, t: int
    ) -> tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
        pose = self.world_from_cam[t]
        ray, eye = self._rays(t) @ pose[:3, :3].T, pose[:3, 3]
        depth = np.full(ray.shape[:2], np.inf)
        for normal, height in (((0.2, 0.0, 1.0), 5.0), ((0.0, 1.0, 0.1), 1.3)):
            along = ray @ np.array(normal)
            hit = (height - eye @ np.array(normal)) / np.where(np.abs(along) < 1e-9, 1e-9, along)
            depth = np.where((hit > 0) & (hit < depth), hit, depth)
        still = self._sphere(ray, eye, np.array([0.8, 0.3, 3.5]), 0.5)
        depth = np.minimum(depth, still)
        if not self.mover:
            return depth, np.zeros(depth.shape, bool)
        ball = self._sphere(ray, eye, self._ball(t), 0.45)
        return np.minimum(depth, ball), ball < depth

    @staticmethod
    def _sphere(
        ray: Float[np.ndarray, "height width 3"],
        eye: Float[np.ndarray, "3"],
        centre: Float[np.ndarray, "3"],
        radius: float,
    ) -> Float[np.ndarray, "height width"]:
        a, b = (ray**2).sum(-1), ray @ (eye - centre)
        root = b**2 - a * (((eye - centre) ** 2).sum() - radius**2)
        return np.asarray(np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf))

    def _pairs(self) -> Pairs:
        ahead = [(n, n + k) for n in range(self.frames) for k in OFFSETS if n + k < self.frames]
        edges = np.array(ahead + [(m, n) for n, m in ahead], np.int64)
        shape = (len(edges), HEIGHT, WIDTH)
        first, second = (np.empty((*shape, 3), np.float32) for _ in range(2))
        flow = np.empty((len(edges), 2, HEIGHT, WIDTH), np.float16)
        for e, (n, m) in enumerate(edges):
            cam_from_world = np.linalg.inv(self.world_from_cam[n])
            scale = np.exp(self.rng.normal(0, 0.2))
            for out, frame in ((first, n), (second, m)):
                world = self._points(frame)
                local = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
                error = 1 + self.noise * self.rng.normal(0, 0.004, local.shape[:2])
                out[e] = scale * local * error[..., None]
            flow[e] = self._flow(n, m)
        conf = np.full(shape, 4.0, np.float32)
        images = np.zeros((self.frames, HEIGHT, WIDTH, 3), np.uint8)
        return Pairs(images, edges, first, second, conf, conf.copy(), flow)

    def _points(self, t: int) -> Float64[np.ndarray, "height width 3"]:
        pose = self.world_from_cam[t]
        local = self._rays(t) * self.depth[t][..., None]
        return np.asarray(local @ pose[:3, :3].T + pose[:3, 3])

    def _flow(self, n: int, m: int) -> Float64[np.ndarray, "2 height width"]:
        world = self._points(n)
        world[self.moving[n]] += self._ball(m) - self._ball(n)
        cam_from_world = np.linalg.inv(self.world_from_cam[m])
        there = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        moved = np.stack(
            (
                self.focal_px[m] * there[..., 0] / there[..., 2] + WIDTH / 2 - u,
                self.focal_px[m] * there[..., 1] / there[..., 2] + HEIGHT / 2 - v,
            )
        )
        return moved + self.noise * self.rng.normal(0, 0.04, moved.shape)
