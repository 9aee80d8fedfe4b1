"""A rendered clip with its truth.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, UInt8

from recon4d.masks.train.worlds import make_scenery
from recon4d.masks.train.worlds.material import Material
from recon4d.masks.train.worlds.paths import Path, camera_path
from recon4d.masks.train.worlds.planes import NOTHING, Patch, Picture, View, draw, follow
from recon4d.masks.train.worlds.sensor import record
from recon4d.masks.train.worlds.spaces import Lens

FOCAL = (0.6, 2.2)
"""Shortest and longest focal length, parts of the image's width."""
STRIPS = 6
"""Groups of rows that a rolling shutter reads at the same time."""
EXPOSURES = 4
"""Instants that motion blur averages."""
VISIBLE_PX = 2.0
"""A mover that never gets farther than this from where it would be if it stood still is called static ..."""
WITHIN = 8
"""... within so many frames, the longest offset of the pair graph."""
OVERLAP = 0.98
"""A point is hidden where something lies nearer by more than this factor."""


@dataclass(frozen=True)
class Shot:
    """How the camera films the world."""

    patches: tuple[Patch, ...]
    path: Path
    intrinsics: Float64[np.ndarray, "4"]
    size: tuple[int, int]
    readout: float
    """Part of a frame that passes between the first row and the last."""
    exposure: float
    """Part of a frame that the shutter is open; 0 is sharp."""
    zoom: Callable[[float], float] | None = None
    """Focal lengths at a time in frames, as parts of those of `intrinsics`; None: they stay."""

    def view(self, frame: float | int, row: float | int) -> View:
        """The camera when a row is exposed."""
        time = frame + self.readout * (row / self.size[1] - 0.5)
        factor = 1.0 if self.zoom is None else self.zoom(time)
        return View(self.path(time), self.intrinsics * (factor, factor, 1, 1), time)

    @property
    def strips(self) -> tuple[slice, ...]:
        """Rows that are exposed together."""
        count = STRIPS if self.readout else 1
        borders = np.linspace(0, self.size[1], count + 1).round().astype(int).tolist()
        return tuple(slice(a, b) for a, b in pairwise(borders))


@dataclass(frozen=True)
class RenderedClip:
    """Frames and what they show, exactly."""

    images: UInt8[np.ndarray, "frames height width 3"]
    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    """Of the middle of the exposure of the middle row."""
    intrinsics: Float64[np.ndarray, "4"]
    """(fx, fy, cx, cy) in pixels without the shot's zoom; the centre of the first pixel is (0.5, 0.5)."""
    depth: Float32[np.ndarray, "frames height width"]
    """z-depth of what pixel centres show, world units."""
    is_dynamic: Bool[np.ndarray, "frames height width"]
    """Movers; their shadows and reflections are static, a mover that pauses is not."""
    surface: Int16[np.ndarray, "frames height width"]
    """Which patch pixels show."""
    shot: Shot

    def flow(
        self, source: int, target: int
    ) -> tuple[Float32[np.ndarray, "height width 2"], Bool[np.ndarray, "height width"]]:
        """Exact flow in pixels, and whether the point is seen in the target, too."""
        height, width = self.depth.shape[1:]
        flow = np.zeros((height, width, 2), np.float32)
        z = np.zeros((height, width), np.float32)
        for strip in self.shot.strips:
            for rows, there in _landing(self.shot, strip, source, target, self.surface[source]):
                v, u = np.mgrid[0:height, 0:width][:, rows[0], rows[1]] + 0.5
                flow[rows] = np.stack((there[:, 0] - u, there[:, 1] - v), axis=-1)
                z[rows] = there[:, 2]
        at_u, at_v = (
            np.floor(np.arange(n).reshape(s) + 0.5 + flow[..., k]).astype(int)
            for k, (n, s) in enumerate(((width, (1, -1)), (height, (-1, 1))))
        )
        inside = (at_u >= 0) & (at_u < width) & (at_v >= 0) & (at_v < height) & (z > 0)
        seen = self.depth[target][np.clip(at_v, 0, height - 1), np.clip(at_u, 0, width - 1)]
        return flow, inside & (seen > OVERLAP * z)


def render_clip(
    seed: int, material: Material, size: tuple[int, int] = (512, 288), num_frames: int = 12
) -> RenderedClip:
    """Render a random clip.

    Args:
        seed: Decides everything.
        material: What worlds are covered with.
        size: (width, height).
        num_frames: How many.
    """
    rng = np.random.default_rng(seed)
    focal = float(np.exp(rng.uniform(*np.log(FOCAL)))) * size[0]
    lens = Lens(focal, size)
    scenery = make_scenery(rng, material, num_frames, lens)
    followed = scenery.tracks[0] if scenery.tracks else None
    path = camera_path(rng, num_frames, 0.6 * scenery.depth, followed)
    shot = Shot(
        scenery.patches,
        path,
        np.array([focal, focal * rng.uniform(0.99, 1.01), size[0] / 2, size[1] / 2]),
        size,
        readout=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.25 else 0.0,
        exposure=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.33 else 0.0,
    )
    return film(shot, num_frames, rng)


def film(shot: Shot, num_frames: int, rng: np.random.Generator | None) -> RenderedClip:
    """Render all frames of a shot; without `rng` the camera is perfect."""
    sharp = [_expose(shot, frame) for frame in range(num_frames)]
    colours = [s.colour for s in sharp]
    if shot.exposure:
        colours = [_blurred(shot, frame, c) for frame, c in enumerate(colours)]
    images = (
        np.stack([np.clip(c, 0, 255).round().astype(np.uint8) for c in colours])
        if rng is None
        else record(colours, rng)
    )
    surface = np.stack([s.surface for s in sharp])
    near = np.stack([s.inverse_depth for s in sharp])
    moving = np.append(_moving_patches(shot, num_frames), False)
    return RenderedClip(
        images,
        np.stack([shot.path(float(frame)) for frame in range(num_frames)]),
        shot.intrinsics,
        1 / np.maximum(near, np.float32(1e-6)),
        moving[surface],
        surface,
        shot,
    )


def _expose(shot: Shot, time: float | int) -> Picture:
    parts = [
        draw(shot.patches, shot.view(time, (s.start + s.stop) / 2), shot.size, s)
        for s in shot.strips
    ]
    return Picture(
        np.concatenate([p.colour for p in parts]),
        np.concatenate([p.inverse_depth for p in parts]),
        np.concatenate([p.surface for p in parts]),
    )


def _blurred(
    shot: Shot, frame: int, middle: Float32[np.ndarray, "rows cols 3"]
) -> Float32[np.ndarray, "rows cols 3"]:
    offsets = np.linspace(-0.5, 0.5, EXPOSURES) * shot.exposure
    return np.asarray(
        (middle + sum(_expose(shot, frame + float(o)).colour for o in offsets)) / (EXPOSURES + 1),
        np.float32,
    )


def _moving_patches(shot: Shot, num_frames: int) -> Bool[np.ndarray, " patches"]:
    """Which patches belong to movers that visibly move."""
    moving = {
        patch.mover
        for patch in shot.patches
        if patch.mover != NOTHING and _moves_visibly(patch, shot, num_frames)
    }
    return np.array([patch.mover in moving for patch in shot.patches], bool)


def _moves_visibly(patch: Patch, shot: Shot, num_frames: int) -> bool:
    s, t = (x.ravel() for x in np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 5)))
    middle = shot.size[1] / 2
    for frame in range(num_frames):
        for later in range(frame + 1, min(frame + WITHIN + 1, num_frames)):
            view = shot.view(later, middle)
            frozen = View(view.world_from_cam, view.intrinsics, shot.view(frame, middle).time)
            at = patch.patch_point(*patch.picture_point(s, t, frozen.time), view.time)
            there, stayed = (
                v.matrix(patch) @ np.stack((*p, np.ones_like(s)))
                for v, p in ((view, at), (frozen, (s, t)))
            )
            if (there[2] > 0).all() and (stayed[2] > 0).all():
                apart = there[:2] / there[2] - stayed[:2] / stayed[2]
                if np.hypot(*apart).max() > VISIBLE_PX:
                    return True
    return False


def _landing(
    shot: Shot, strip: slice, source: int, target: int, surface: Int16[np.ndarray, "rows cols"]
) -> list[tuple[tuple[np.ndarray, ...], Float64[np.ndarray, "points 3"]]]:
    """(rows, cols) of the pixels of a strip and where they land: (u, v, z) when the target's row there is exposed."""
    only = np.full_like(surface, NOTHING)
    only[strip] = surface[strip]
    view = shot.view(source, (strip.start + strip.stop) / 2)
    where = np.nonzero(only != NOTHING)
    if len(shot.strips) == 1:
        return [(where, follow(shot.patches, view, shot.view(target, 0), only)[where])]
    every = np.stack(
        [
            follow(shot.patches, view, shot.view(target, (s.start + s.stop) / 2), only)[where]
            for s in shot.strips
        ]
    )
    stops = np.array([s.stop for s in shot.strips[:-1]])
    middle = every[len(shot.strips) // 2, :, 1]
    for _ in range(3):
        chosen = np.searchsorted(stops, middle, side="right")
        middle = every[chosen, np.arange(len(middle)), 1]
    return [(where, every[chosen, np.arange(len(middle))])]
