"""Pairwise predictions as a pointmap network returns them, checked, and thinned to a grid of pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int64, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from recon4d.core.errors import DegenerateError, InputError
from recon4d.core.scene import KnownPoses, Notice


@dataclass(frozen=True)
class Pairs:
    """Predictions for directed pairs of frames (n, m): both views as points in the camera of n, and the flow n to m."""

    images: UInt8[np.ndarray, "frames height width 3"]
    edges: Int64[np.ndarray, "edges 2"]
    """(n, m) of each pair."""
    source_points: Float32[np.ndarray, "edges height width 3"]
    """Pixels of n in the camera of n, in a scale of the pair's own. May be a memory map, like all below."""
    target_points: Float32[np.ndarray, "edges height width 3"]
    """Pixels of m, at the time of m, in the camera of n and the same scale."""
    source_confidence: Float32[np.ndarray, "edges height width"]
    """DUSt3R's confidence, above 1; its logarithm is the weight of a point (DUSt3R Eq. 4; CVPR 2024)."""
    target_confidence: Float32[np.ndarray, "edges height width"]
    flow_px: Float16[np.ndarray, "edges 2 height width"]
    """(du, dv) from n to m."""

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return int(self.images.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[1])

    def reverse(self) -> Int64[np.ndarray, " edges"]:
        """Index of the pair (m, n) of each pair (n, m); -1 where there is none."""
        index: dict[tuple[int, int], int] = {}
        for e, (n, m) in enumerate(self.edges.tolist()):
            index.setdefault((n, m), e)
        return np.array([index.get((int(m), int(n)), -1) for n, m in self.edges], np.int64)


def check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse arrays whose shapes contradict each other.

    Args:
        shapes: Of every array, by its field in `Pairs`.

    Raises:
        InputError: A shape is wrong, or there is nothing to align; the message has the array and both shapes.
    """
    images, edges = shapes["images"], shapes["edges"]
    if len(images) != 4 or images[3] != 3 or len(edges) != 2 or edges[1] != 2:
        raise InputError(
            f"images have shape {images} and edges {edges}; (frames, height, width, 3) and (pairs, 2) are needed"
        )
    (frames, height, width, _), count = images, edges[0]
    plane = (count, height, width)
    wanted = {
        "source_points": (*plane, 3),
        "target_points": (*plane, 3),
        "source_confidence": plane,
        "target_confidence": plane,
        "flow_px": (count, 2, height, width),
    }
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise InputError(
                f"{name} has shape {shapes[name]}; {count} pairs of {width}x{height} images need {shape}"
            )
    if frames < 2 or count == 0:
        raise InputError(
            f"{frames} frames and {count} pairs; an alignment needs 2 frames and a pair"
        )


def check_frames(edges: Int64[np.ndarray, "edges 2"], num_frames: int) -> None:
    """Refuse pairs of frames that do not exist.

    Raises:
        InputError: Names them.
    """
    if edges.min() < 0 or edges.max() >= num_frames:
        raise InputError(
            f"edges name frames {edges.min()} to {edges.max()}; there are 0 to {num_frames - 1}"
        )


def check_poses(poses: KnownPoses | None, num_frames: int) -> None:
    """Refuse poses that do not belong to the frames.

    Raises:
        InputError: They are not one per frame, or not finite.
    """
    if poses is None:
        return
    if poses.world_from_cam.shape != (num_frames, 4, 4) or poses.is_given.shape != (num_frames,):
        raise InputError(
            f"poses have shape {poses.world_from_cam.shape} and is_given {poses.is_given.shape}; {num_frames} frames "
            f"need ({num_frames}, 4, 4) and ({num_frames},)"
        )
    if not np.isfinite(poses.world_from_cam[poses.is_given]).all():
        raise InputError("given poses are not finite; leave out (is_given) what is not known")


def usable_edges(
    edges: Int64[np.ndarray, "edges 2"],
) -> tuple[Bool[np.ndarray, " edges"], list[Notice]]:
    """Which pairs are two frames, and the first of their kind; what was dropped is named."""
    seen: set[tuple[int, int]] = set()
    keep = np.ones(len(edges), bool)
    twice, alone = [], []
    for e, (n, m) in enumerate(edges.tolist()):
        if n == m:
            alone.append((n, m))
        elif (n, m) in seen:
            twice.append((n, m))
        else:
            seen.add((n, m))
            continue
        keep[e] = False
    notices = []
    if twice:
        notices.append(
            pair_notice("duplicated_pair", twice, "given more than once; the first is used")
        )
    if alone:
        notices.append(pair_notice("self_pair", alone, "a frame with itself: dropped"))
    return keep, notices


def pair_notice(code: str, pairs: list[tuple[int, int]], what: str) -> Notice:
    """A notice that names every pair."""
    names = ", ".join(f"({n}, {m})" for n, m in pairs)
    frames = tuple(sorted({int(f) for pair in pairs for f in pair}))
    return Notice(code, f"{len(pairs)} pairs {what}: {names}", frames)


def check_connected(
    edges: Int64[np.ndarray, "edges 2"], num_frames: int, dropped: tuple[Notice, ...] = ()
) -> None:
    """Refuse a graph that leaves frames without a link to the others.

    Args:
        edges: (n, m) of the pairs that are left.
        num_frames: N.
        dropped: Why others are not.

    Raises:
        DegenerateError: Names the pieces.
    """
    why = "".join(f" ({notice.message})" for notice in dropped)
    links = coo_array(
        (np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(num_frames, num_frames)
    )
    count, piece = connected_components(links, directed=False)
    if count > 1:
        pieces = [np.flatnonzero(piece == k).tolist() for k in range(count)]
        raise DegenerateError(
            f"the usable pairs link the frames into {count} separate pieces {pieces}{why}; poses between them "
            "are unknown: add pairs that connect them, or align the pieces one by one"
        )
    sources = np.bincount(edges[:, 0], minlength=num_frames)
    if (sources == 0).any():
        raise DegenerateError(
            f"frames {np.flatnonzero(sources == 0).tolist()} are the first view of no usable pair{why}, so their "
            "own depth is unknown; give every pair in both directions"
        )
