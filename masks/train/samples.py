"""What D2MIF is trained on: clips as the front end of a real run sees them.

The flow is that of the real estimator and the geometry that of the real optimizer, with their errors; only the labels
are exact. A sample is one frame with its image, its maps for two partners, and its truth.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from recon4d.flow.dis import compute_flow
from recon4d.flow.pairs import window_pairs
from recon4d.masks import outlines
from recon4d.masks.evidence import Surroundings, look_around, probability
from recon4d.masks.filters import shrink
from recon4d.masks.maps import (
    LIMIT,
    PARTNER_OFFSETS,
    geometry_maps,
    motion_maps,
    partner_edges,
)
from recon4d.masks.train.clip import RenderedClip
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.calibrate import AlignOptions
from recon4d.progress import no_progress
from recon4d.scene import Flow, MotionMasks, Scene, Video

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
"""How often each is used."""
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
    evidence: Int8[np.ndarray, "frames rows cols"]
    """Log-odds of motion without a network, for comparison."""


def quantise(maps: Float32[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Maps within `LIMIT` as bytes."""
    return np.asarray(np.clip(maps * (LEVELS / LIMIT), -LEVELS, LEVELS).round(), np.int8)


def make_samples(clip: RenderedClip, seed: int, folder: Path, threads: int = 1) -> Samples:
    """Run the front end on a clip.

    Args:
        clip: With its truth.
        seed: Decides which geometry and which partners are used.
        folder: For the flow's memory maps.
        threads: Frames and pairs that are looked at at the same time.

    Raises:
        Recon4DError: The front end refuses the clip, as it would refuse such a video.
    """
    rng = np.random.default_rng(seed)
    frames, height, width = clip.images.shape[:3]
    known = clip.intrinsics if rng.random() < KNOWN_LENS else None
    times = np.arange(frames) / FPS
    video = Video(clip.images, times, tuple(map(str, range(frames))), (width, height), known)
    flow = compute_flow(video.images, window_pairs(frames), folder, threads)
    small = np.stack([shrink(image) for image in video.images])
    kind = str(rng.choice(GEOMETRY_KINDS, p=GEOMETRY_SHARES))
    scene = _scene(clip, video, flow, kind, AlignOptions(threads=threads))
    with no_progress("", 0) as counter:
        around = look_around(small, flow, scene, threads, counter)
    maps = np.stack([_maps_of(frame, flow, scene, around, small, rng) for frame in range(frames)])
    truth = outlines(clip.is_dynamic).probability
    evidence = np.stack([a.log_odds for a in around])
    return Samples(
        np.asarray(clip.images), np.asarray(truth * 255, np.uint8), maps, quantise(evidence / 2)
    )


def _scene(clip: RenderedClip, video: Video, flow: Flow, kind: str, options: AlignOptions) -> Scene:
    """Geometry of one of the kinds."""
    scene = initial_scene(video, flow, options, no_progress)
    if kind == "initial":
        return scene
    if kind == "exact":
        return _exact(clip, scene)
    if kind == "masked":
        motion = outlines(clip.is_dynamic)
    else:
        small = np.stack([shrink(image) for image in video.images])
        with no_progress("", 0) as counter:
            around = look_around(small, flow, scene, options.threads, counter)
        motion = MotionMasks(probability(np.stack([a.log_odds for a in around])))
    return optimise(video, flow, scene, motion, options, no_progress)


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
