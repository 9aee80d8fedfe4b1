"""What D2MIF is trained on: clips as the front end of a real run sees them.

The flow is that of the real estimator and the geometry that of the real optimizer, with their errors; only the labels
are exact. A sample is one frame with its image, its maps for two partners, and its truth.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int8, UInt8

from recon4d.core.progress import no_progress
from recon4d.core.sampling import shrink
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.flow import window_pairs
from recon4d.flow.dis import Dis
from recon4d.flow.guided import guided_flow
from recon4d.flow.store import measured_flow
from recon4d.io.resize import resize_nearest, working_size
from recon4d.masks.d2mif.maps import (
    LIMIT,
    PARTNER_OFFSETS,
    geometry_maps,
    motion_maps,
    partner_edges,
)
from recon4d.masks.evidence import Surroundings, look_around, probability
from recon4d.masks.given import outlines
from recon4d.masks.train.datasets import Part
from recon4d.masks.train.worlds.clip import RenderedClip
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.setting import AlignOptions

PARTNERS = 2
"""Partners per frame."""
LEVELS = 127
"""Maps are stored as bytes: this many levels on either side of zero, up to `LIMIT`."""
FPS = 30
"""Of rendered clips; nothing depends on it but time stamps."""
KNOWN_LENS = 0.7
"""Part of the clips whose intrinsics are told to the front end; estimated ones have their own errors."""
GEOMETRY_KINDS = ("initial", "optimised", "masked", "exact")
"""Geometry before any masks; after masks from that geometry; after true masks; the truth itself."""
GEOMETRY_SHARES = (0.35, 0.4, 0.15, 0.1)
"""How often each is used in the first round ..."""
LATER_SHARES = (0.0, 0.5, 0.4, 0.1)
"""... and in later ones."""
REAL_SIDE = 512
"""Long side of the frames of real videos, pixels: that of the network."""
OTHER_PARTNERS = 0.5
"""Part of the frames whose partners are not the preferred ones, but any."""


@dataclass(frozen=True)
class Samples:
    """All frames of one clip."""

    images: UInt8[np.ndarray, "frames height width 3"]
    truth: UInt8[np.ndarray, "frames rows cols"]
    """Part of each sample that moves, times 255."""
    maps: Int8[np.ndarray, "frames partners channels rows cols"]
    """Motion maps, then geometry maps, as `quantise` leaves them."""
    tokens: Float16[np.ndarray, "frames token_rows token_cols values"] | None = None
    """For a network that reads them (`recon4d.masks.train.d2mif.tokens`)."""
    known: UInt8[np.ndarray, "frames rows cols"] | None = None
    """1 where the truth is known, 0 where nothing is to be learnt; None: known everywhere."""


def quantise(maps: Float32[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Maps within `LIMIT` as bytes."""
    return np.asarray(np.clip(maps * (LEVELS / LIMIT), -LEVELS, LEVELS).round(), np.int8)


def rendered_samples(
    clip: RenderedClip, seed: int, folder: Path, is_later: bool, threads: int = 1
) -> Samples:
    """Run the front end on a rendered clip.

    Args:
        clip: With its truth.
        seed: Decides which geometry and which partners are used.
        folder: For the flow's memory maps.
        is_later: Whether the samples are those of a later round of the loop: with the flow that the geometry
            guides; else those of the first.
        threads: Frames and pairs that are looked at at the same time.

    Raises:
        Recon4DError: The front end refuses the clip, as it would refuse such a video.
    """
    rng = np.random.default_rng(seed)
    known = clip.intrinsics if rng.random() < KNOWN_LENS else None
    front = look(clip.images, known, folder, threads)
    kind = str(rng.choice(GEOMETRY_KINDS, p=LATER_SHARES if is_later else GEOMETRY_SHARES))
    scene = _exact(clip, front.scene) if kind == "exact" else front.improved(kind, clip.is_dynamic)
    if is_later:
        front = front.guided(scene, folder)
    return samples_of(front, scene, range(len(clip.images)), clip.is_dynamic, rng)


def real_samples(part: Part, seed: int, folder: Path, threads: int = 1) -> Samples:
    """Run the front end on a part of a labelled video; only the annotated frames become samples.

    Args:
        part: One of its frames is annotated.
        seed: Decides which geometry and which partners are used.
        folder: For the flow's memory maps.
        threads: Frames and pairs that are looked at at the same time.
    """
    rng = np.random.default_rng(seed)
    images = part.video.images(part.start, part.stop)
    size = working_size((images.shape[2], images.shape[1]), REAL_SIDE)
    resized = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
    front = look(resized, None, folder, threads)
    labelled = part.labelled
    truth = np.zeros((len(images), size[1], size[0]), bool)
    for frame, mask in zip(labelled, part.masks(), strict=True):
        truth[frame] = resize_nearest(mask.astype(np.uint8), size) > 0
    whole = len(labelled) == len(images)
    shares = np.array(GEOMETRY_SHARES) * [1, 1, whole, 0]
    kind = str(rng.choice(GEOMETRY_KINDS, p=shares / shares.sum()))
    scene = front.improved(kind, truth)
    if whole and rng.random() < 0.5:
        front = front.guided(scene, folder)
    return samples_of(front, scene, labelled, truth, rng)


@dataclass(frozen=True)
class Front:
    """What the front end of a run knows before any masks."""

    video: Video
    small: UInt8[np.ndarray, "frames rows cols 3"]
    flow: Flow
    scene: Scene
    options: AlignOptions

    def around(self, scene: Scene) -> tuple[Surroundings, ...]:
        """The evidence from some cameras."""
        with no_progress("", 0) as counter:
            return look_around(self.small, self.flow, scene, self.options.threads, counter)

    def improved(self, kind: str, is_dynamic: Bool[np.ndarray, "frames height width"]) -> Scene:
        """Geometry of one of the first three kinds."""
        if kind == "initial":
            return self.scene
        if kind == "masked":
            motion = outlines(is_dynamic)
        else:
            odds = np.stack([a.log_odds for a in self.around(self.scene)])
            motion = MotionMasks(probability(odds))
        return optimise(self.video, self.flow, self.scene, motion, self.options, no_progress)

    def guided(self, scene: Scene, folder: Path) -> "Front":
        """The same with the flow that a scene guides."""
        inside = folder / "guided"
        inside.mkdir(exist_ok=True)
        images = self.video.images
        flow = guided_flow(images, self.flow, scene, inside, Dis(), self.options.threads)
        return replace(self, flow=flow)


def look(
    images: UInt8[np.ndarray, "frames height width 3"],
    intrinsics: Float64[np.ndarray, "4"] | None,
    folder: Path,
    threads: int,
) -> Front:
    """The front end of a run on some frames.

    Args:
        images: Of the working size.
        intrinsics: (fx, fy, cx, cy) in pixels where they are known.
        folder: For the flow's memory maps.
        threads: Frames and pairs that are looked at at the same time.
    """
    frames, height, width = images.shape[:3]
    times = np.arange(frames) / FPS
    names = tuple(str(frame) for frame in range(frames))
    video = Video(images, times, names, (width, height), intrinsics)
    flow = measured_flow(Dis(), images, window_pairs(frames), folder, threads)
    options = AlignOptions(threads=threads)
    scene = initial_scene(video, flow, options, no_progress)
    return Front(video, np.stack([shrink(i) for i in images]), flow, scene, options)


def samples_of(
    front: Front,
    scene: Scene,
    frames: Sequence[int],
    is_dynamic: Bool[np.ndarray, "frames height width"],
    rng: np.random.Generator,
) -> Samples:
    """Samples of some of the frames; whether all of the truth is known is the caller's affair."""
    around = front.around(scene)
    maps = [_maps_of(frame, front.flow, scene, around, front.small, rng) for frame in frames]
    chosen = list(frames)
    truth = outlines(is_dynamic[chosen]).probability
    return Samples(
        np.asarray(front.video.images)[chosen],
        np.asarray(truth * 255, np.uint8),
        np.stack(maps),
    )


def _exact(clip: RenderedClip, scene: Scene) -> Scene:
    """The true cameras; depth follows from them and the flow, as always."""
    return replace(
        scene,
        world_from_cam=np.linalg.inv(clip.world_from_cam[0]) @ clip.world_from_cam,
        intrinsics=np.tile(clip.intrinsics, (len(clip.images), 1)),
        is_posed=np.ones(len(clip.images), bool),
        component=np.zeros(len(clip.images), np.int64),
    )


def _maps_of(
    frame: int,
    flow: Flow,
    scene: Scene,
    around: tuple[Surroundings, ...],
    small: UInt8[np.ndarray, "frames rows cols 3"],
    rng: np.random.Generator,
) -> Int8[np.ndarray, "partners channels rows cols"]:
    offsets: tuple[int, ...] = PARTNER_OFFSETS
    if rng.random() < OTHER_PARTNERS:
        offsets = tuple(int(k) for k in rng.permutation(PARTNER_OFFSETS))
    edges = partner_edges(flow, frame, offsets)
    found = []
    for edge in np.resize(edges, PARTNERS):
        motion, _ = motion_maps(flow, int(edge))
        there = around[int(flow.edges[edge, 1])].inverse_depth
        geometry = geometry_maps(flow, int(edge), scene, around[frame], there, small[frame])
        found.append(quantise(np.concatenate((motion.numpy(), geometry.numpy()))))
    return np.stack(found)
