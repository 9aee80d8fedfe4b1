"""An analytic scene with exact depth, poses, masks and flow: the ground truth of the tests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from scipy.spatial.transform import Rotation

from recon4d.core.scene import FLOW_STRIDE, Flow, Scene, Video
from recon4d.demo.render import Camera, Hits, Solid, World, cast, follow, picture, pixel_grid
from recon4d.demo.world import pose_at
from recon4d.flow import window_pairs

Path = Literal["carried", "shaken", "turning", "still"]
"""How the camera moves."""
GRID_PX = 16
"""Pixels between the samples of the exact `Scene`."""
SHAKEN_M, SHAKEN_DEG = 0.004, 0.4
"""Standard deviation of a shaken camera's place and of its angles, metres and degrees."""
OCCLUSION = 0.01
"""Relative depth by which a point may lie behind what the target camera sees and still count as visible."""
RAYS_PER_PIXEL = 2
"""In each direction, for the pictures."""


@dataclass(frozen=True)
class SyntheticScene:
    """Everything about one scene. Lengths are metres."""

    video: Video
    """Textured pictures; the intrinsics are known and exact."""
    flow: Flow
    """Flow of `window_pairs` at the sampling of `Flow`; confidence 0 where the point is hidden or outside."""
    scene: Scene
    """Exact poses, intrinsics and inverse depth at one sample per cell of `GRID_PX`."""
    depth: Float32[np.ndarray, "frames height width"]
    """z-depth at pixel centres."""
    is_dynamic: Bool[np.ndarray, "frames height width"]
    world: World
    exact_flow: Callable[[int, Float64[np.ndarray, "samples 2"]], Float64[np.ndarray, "samples 2"]]
    """(edge, pixels (u, v) of its source frame) to (du, dv), in float64 and exact to rounding; hidden or not."""
    is_visible: Callable[[int, Float64[np.ndarray, "samples 2"]], Bool[np.ndarray, " samples"]]
    """(edge, pixels of its source frame) to whether the edge's target frame sees the same surface point."""
    exact_depth: Callable[[int, Float64[np.ndarray, "samples 2"]], Float64[np.ndarray, " samples"]]
    """(frame, pixels) to z-depth in float64."""


def make_scene(
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    mover: bool = False,
    noise_px: float = 0.0,
    *,
    plain_lens: bool = False,
    path: Path = "carried",
    zoom: float = 1.0,
) -> SyntheticScene:
    """Make a room with boxes and a ball, seen by a camera that is carried along a bent path.

    Args:
        num_frames: Number of frames; neighbours are 3 to 4 cm apart.
        size: (width, height) in pixels; multiples of 8.
        seed: Decides textures, places of the solids, path and noise.
        mover: Whether a box crosses the room, 5 to 15 % of the picture.
        noise_px: Standard deviation of the Gaussian noise on `flow`; `exact_flow` has none.
        plain_lens: Square pixels and a centred principal point, as assumed where intrinsics are unknown.
        path: `shaken` is in a hand that trembles; `turning` is about the camera's centre, as on a tripod; `still` does
            not move at all.
        zoom: Focal length of the last frame over that of the first; it starts and ends gently. `video.intrinsics` are
            those of the first.
    """
    rng = np.random.default_rng(seed)
    world = _world(rng, mover, num_frames)
    cameras = _zoomed(_cameras(rng, num_frames, _intrinsics(size, plain_lens), path), zoom)
    pairs = window_pairs(num_frames)
    shot = _Shot(world, cameras, size, np.concatenate((pairs, pairs[:, ::-1])))
    images, depth, is_dynamic = shot.pictures()
    video = Video(
        images=images,
        timestamps_s=np.array([camera.time_s for camera in cameras]),
        sources=tuple(f"{i:06d}.png" for i in range(num_frames)),
        source_size=size,
        intrinsics=cameras[0].intrinsics,
    )
    return SyntheticScene(
        video=video,
        flow=_noisy(shot.flow(), rng, noise_px),
        scene=shot.scene(),
        depth=depth,
        is_dynamic=is_dynamic,
        world=world,
        exact_flow=shot.exact_flow,
        is_visible=shot.is_visible,
        exact_depth=shot.exact_depth,
    )


@dataclass(frozen=True)
class _Shot:
    """A world and the cameras that film it."""

    world: World
    cameras: list[Camera]
    size: tuple[int, int]
    edges: Int64[np.ndarray, "edges 2"]
    """(source frame, target frame)."""

    def exact_flow(
        self, edge: int, uv: Float64[np.ndarray, "samples 2"]
    ) -> Float64[np.ndarray, "samples 2"]:
        there, _ = self._followed(edge, np.asarray(uv, np.float64)[None])
        return np.asarray(there[0, :, :2] - uv)

    def is_visible(
        self, edge: int, uv: Float64[np.ndarray, "samples 2"]
    ) -> Bool[np.ndarray, " samples"]:
        there, hits = self._followed(edge, np.asarray(uv, np.float64)[None])
        return np.asarray(self._visible(edge, there, hits)[0])

    def exact_depth(
        self, frame: int, uv: Float64[np.ndarray, "samples 2"]
    ) -> Float64[np.ndarray, " samples"]:
        uv = np.asarray(uv, np.float64)
        return np.asarray(cast(self.world, self.cameras[frame], uv[None]).depth[0])

    def pictures(
        self,
    ) -> tuple[
        UInt8[np.ndarray, "frames height width 3"],
        Float32[np.ndarray, "frames height width"],
        Bool[np.ndarray, "frames height width"],
    ]:
        """Images, depth and what moves."""
        fine = pixel_grid(self.size, RAYS_PER_PIXEL, np.float32)
        seen = [cast(self.world, camera, fine, True) for camera in self.cameras]
        truth = [cast(self.world, camera, pixel_grid(self.size)) for camera in self.cameras]
        depth = np.stack([hits.depth for hits in truth]).astype(np.float32)
        is_dynamic = self.world.is_moving[np.stack([hits.solid for hits in truth])]
        return np.stack([picture(hits, RAYS_PER_PIXEL) for hits in seen]), depth, is_dynamic

    def flow(self) -> Flow:
        cols, rows = self.size[0] // FLOW_STRIDE, self.size[1] // FLOW_STRIDE
        grid = pixel_grid((cols, rows)) * FLOW_STRIDE
        hits = [cast(self.world, camera, grid) for camera in self.cameras]
        flow_px = np.empty((len(self.edges), rows, cols, 2), np.float16)
        confidence = np.empty((len(self.edges), rows, cols), np.uint8)
        for e, (n, m) in enumerate(self.edges):
            there = follow(self.world, self.cameras[n], self.cameras[m], grid, hits[n])
            flow_px[e] = there[..., :2] - grid
            confidence[e] = 255 * self._visible(e, there, hits[n])
        return Flow(self.edges, flow_px, confidence)

    def scene(self) -> Scene:
        half = GRID_PX // 2 + FLOW_STRIDE / 2  # a sample position of `Flow`
        u, v = (np.arange(length // GRID_PX) * GRID_PX + half for length in self.size)
        grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        frames = len(self.cameras)
        inverse = np.stack([1 / self.exact_depth(i, grid) for i in range(frames)])
        return Scene(
            world_from_cam=np.stack([camera.world_from_cam for camera in self.cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in self.cameras]),
            samples_px=np.broadcast_to(grid, (frames, *grid.shape)).astype(np.float32),
            inverse_depth=inverse.astype(np.float32),
            inverse_depth_std=np.full_like(inverse, 1e-4, np.float32),
            is_posed=np.ones(frames, bool),
            component=np.zeros(frames, np.int64),
            is_metric=True,
        )

    def _followed(
        self, edge: int, uv: Float64[np.ndarray, "rows cols 2"]
    ) -> tuple[Float64[np.ndarray, "rows cols 3"], Hits]:
        source, target = (self.cameras[frame] for frame in self.edges[edge])
        hits = cast(self.world, source, uv)
        return follow(self.world, source, target, uv, hits), hits

    def _visible(
        self, edge: int, there: Float64[np.ndarray, "rows cols 3"], hits: Hits
    ) -> Bool[np.ndarray, "rows cols"]:
        """Inside the target's picture, and nothing nearer there."""
        inside = ((there[..., :2] >= 0) & (there[..., :2] <= np.asarray(self.size))).all(-1)
        inside &= there[..., 2] > 0
        target = self.cameras[self.edges[edge, 1]]
        seen = cast(self.world, target, there[inside][None, :, :2])
        inside[inside] = (seen.solid[0] == hits.solid[inside]) & (
            there[inside][:, 2] < seen.depth[0] * (1 + OCCLUSION)
        )
        return inside


def _texture(rng: np.random.Generator, rows: int, cols: int) -> UInt8[np.ndarray, "rows cols 3"]:
    """Smooth colour noise of several wavelengths, the finest about 6 texels."""
    total = np.full((rows, cols, 3), 128, np.float32)
    for period, strength in ((64, 60), (20, 40), (6, 25)):
        coarse = rng.normal(0, strength, (rows // period + 2, cols // period + 2, 3)).astype(
            np.float32
        )
        total += cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(total, 0, 255).astype(np.uint8))


def _world(rng: np.random.Generator, mover: bool, num_frames: int) -> World:
    """A room of 5 x 2.6 x 5 m around the origin, furniture at z > 0.5; +y is down."""

    def box(
        pose: Float64[np.ndarray, "4 4"], half: tuple[float, float, float], side: int = 128
    ) -> Solid:
        return Solid("box", pose, np.array(half), _texture(rng, side, 6 * side))

    room = Solid(
        "box", pose_at(0, 0, 0), np.array([2.5, 1.3, 2.5]), _texture(rng, 512, 3072), is_inward=True
    )
    solids = [room]
    for x in (-1.4, -0.5, 0.6, 1.5):
        height = rng.uniform(0.25, 0.6)
        place = pose_at(x, 1.3 - height, rng.uniform(0.6, 1.9), rng.uniform(-40, 40))
        solids.append(box(place, (rng.uniform(0.2, 0.35), height, rng.uniform(0.2, 0.35))))
    ball = Solid("ellipsoid", pose_at(0.1, 0.3, 1.6), np.full(3, 0.35), _texture(rng, 128, 256))
    solids.append(ball)
    if mover:
        mover_texture = _texture(rng, 128, 768)
        half = np.array([0.3, 0.5, 0.25])
        solids.append(Solid("box", pose_at(-0.9, 0.4, 0.3), half, mover_texture, is_moving=True))
    duration_s = max(num_frames / 30, 1.0)  # no faster than somebody runs

    def moved_from_rest(time_s: float) -> Float64[np.ndarray, "4 4"]:
        done = time_s / duration_s
        return pose_at(1.8 * done, 0.05 * np.sin(9 * done), 0.25 * np.sin(3 * done), 12 * done)

    return World(tuple(solids), moved_from_rest)


def _intrinsics(size: tuple[int, int], plain_lens: bool) -> Float64[np.ndarray, "4"]:
    width, height = size
    if plain_lens:
        return np.array([0.86 * width, 0.86 * width, width / 2, height / 2])
    return np.array([0.86 * width, 0.87 * width, 0.505 * width, 0.49 * height])


def _cameras(
    rng: np.random.Generator, num_frames: int, intrinsics: Float64[np.ndarray, "4"], path: Path
) -> list[Camera]:
    phase = rng.uniform(0, 2 * np.pi, 5)
    cameras = []
    for i in range(num_frames):
        s = 0.0 if path == "still" else i / 30
        position = (
            -0.45 + 0.9 * s + 0.03 * np.sin(5 * s + phase[0]),
            -0.1 + 0.12 * np.sin(2.5 * s + phase[1]),
            -1.6 + 0.25 * np.sin(1.5 * s + phase[2]) + 0.2 * s,
        )
        angles_deg = (
            3 * np.sin(3 * s + phase[3]) - 5,
            4 * np.sin(2 * s + phase[4]) - 5 * s,
            2 * np.sin(4 * s + phase[0]),
        )
        if path == "shaken":
            shift_m, turn_deg = rng.normal(0, SHAKEN_M, 3), rng.normal(0, SHAKEN_DEG, 3)
            position = (
                position[0] + shift_m[0],
                position[1] + shift_m[1],
                position[2] + shift_m[2],
            )
            angles_deg = (
                angles_deg[0] + turn_deg[0],
                angles_deg[1] + turn_deg[1],
                angles_deg[2] + turn_deg[2],
            )
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
        pose[:3, 3] = (0.0, 0.0, -1.6) if path == "turning" else position
        cameras.append(Camera(pose, intrinsics, i / 30))
    return cameras


def _zoomed(cameras: list[Camera], zoom: float) -> list[Camera]:
    done = (1 - np.cos(np.linspace(0, np.pi, len(cameras)))) / 2
    factors = [np.array([f, f, 1, 1]) for f in zoom**done]
    return [replace(c, intrinsics=c.intrinsics * f) for c, f in zip(cameras, factors, strict=True)]


def _noisy(flow: Flow, rng: np.random.Generator, noise_px: float) -> Flow:
    noise = rng.normal(0, noise_px, flow.flow_px.shape)
    return Flow(flow.edges, (flow.flow_px + noise).astype(np.float16), flow.confidence)
