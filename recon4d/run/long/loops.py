"""Where a long video comes back to a place: pairs of keyframes that look alike, verified, and what they say."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from recon4d.core.scene import MotionMasks, Scene, Video
from recon4d.flow import FlowMethod
from recon4d.flow.guided import guided_pairs, overlapping
from recon4d.networks.alike import describe, seen_again
from recon4d.optim.align import static_weight
from recon4d.optim.stitch.loops import View, balance, close
from recon4d.optim.stitch.pieces import Link, Piece, Placement, place

Measured = tuple[Int64[np.ndarray, "2"], tuple[np.ndarray, np.ndarray]]
"""A pair of keyframes, and its flow and confidence in both directions."""


@dataclass(frozen=True)
class KeyMaps:
    """What the first pass knows of every pixel of the keyframes."""

    inverse_depth: Float32[np.ndarray, "keyframes rows cols"]
    """At the sampling of `Flow`, in the unit of each keyframe's own piece."""
    motion: MotionMasks

    def common(
        self, placement: Placement, piece_of: Int64[np.ndarray, " keyframes"]
    ) -> Float32[np.ndarray, "keyframes rows cols"]:
        """Inverse depth in the unit of the common world."""
        scale = np.array([placement.world_from_piece[at].scale for at in piece_of.tolist()])
        return np.asarray(self.inverse_depth / scale[:, None, None].astype(np.float32))


def find_loops(
    video: Video,
    own: Scene,
    chained: Scene,
    piece_of: Int64[np.ndarray, " keyframes"],
    maps: KeyMaps,
    apart: int,
    method: FlowMethod,
) -> tuple[Int64[np.ndarray, "pairs 2"], list[Link]]:
    """Pairs of keyframes that show the same place again, and the relations between pieces that follow from them.

    Args:
        video: The keyframes.
        own: Their cameras, each in the world of its own piece.
        chained: The same in the common world, as far as it is known yet.
        piece_of: The piece of every keyframe.
        maps: Depth and motion.
        apart: Pairs less far apart in the list are neighbours anyway.
        method: Measures their flow.
    """
    found: dict[tuple[int, int], Link] = {}

    def verify(measured: Iterator[Measured]) -> None:
        for (a, b), (flows, sure) in measured:
            here, there = (_view(own, piece_of, maps, int(k)) for k in (a, b))
            flow_px, confidence = flows[0].astype(np.float32), (sure[0] / 255).astype(np.float32)
            same = close(here, there, flow_px, confidence, own.is_metric)
            if same is not None:
                found[int(a), int(b)] = same

    pairs = seen_again(describe(video.images), apart)
    verify((pairs[at], flow) for at, flow in method.pairs(video.images, pairs, 1))
    left = np.array([pair for pair in pairs.tolist() if tuple(pair) not in found], np.int64)
    common = np.asarray(maps.inverse_depth * _unit(own, chained)[:, None, None], np.float32)
    left = overlapping(chained, common, left.reshape(-1, 2))
    verify(zip(left, guided_pairs(video.images, left, chained, common, method), strict=True))
    kept = np.array(sorted(found), np.int64).reshape(-1, 2)
    measured = np.isfinite(own.inverse_depth_std).any(1)
    links = [found[a, b] for a, b in sorted(found) if measured[a] and measured[b]]
    return kept, [edge for edge in links if edge.here != edge.there]


def _unit(own: Scene, chained: Scene) -> Float32[np.ndarray, " keyframes"]:
    """Factor of the inverse depths from each piece's unit to the common one."""
    return np.asarray(chained.inverse_depth[:, 0] / own.inverse_depth[:, 0])


def _view(own: Scene, piece_of: Int64[np.ndarray, " keyframes"], maps: KeyMaps, key: int) -> View:
    return View(
        piece=int(piece_of[key]),
        world_from_cam=own.world_from_cam[key],
        intrinsics=own.intrinsics[key],
        inverse_depth=maps.inverse_depth[key],
        static=static_weight(maps.motion.probability[key]),
    )


def place_with_loops(pieces: list[Piece], links: list[Link], loops: list[Link]) -> Placement:
    """Where the pieces lie when those that loops relate fit to each other, too."""
    placement = place(pieces, [*links, *loops])
    if not loops:
        return placement
    depth = np.array([_median_depth(piece.scene) for piece in pieces])
    return balance(placement, [*links, *loops], depth, pieces[0].scene.is_metric)


def _median_depth(scene: Scene) -> float:
    return float(1 / np.median(scene.inverse_depth))
