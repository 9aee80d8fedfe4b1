"""Objects of a whole video: groups of points window by window, linked by the points that two windows share.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from recon4d.core.sampling import ONE_PER_CELL, sample_shape
from recon4d.results.result import Result
from recon4d.tracks.bridge import bridged
from recon4d.tracks.chain import Followed
from recon4d.tracks.group import group
from recon4d.tracks.joint import joined, united
from recon4d.tracks.labels import dense, kept_groups, pieces, pieces_of
from recon4d.tracks.ladder import Ladder
from recon4d.tracks.overlap import name_by_overlap
from recon4d.tracks.seeds import LEAST_FRAMES, Seeds, seed

WINDOW = 96
"""Frames whose points are grouped together; neighbouring windows share half of them."""
SHARED = 0.5
"""Part of the shared points of a group by which it is named after one of the window before."""


@dataclass(frozen=True)
class Grouped:
    """The objects of a video, and the points that they are known by."""

    ids: UInt8[np.ndarray, "frames rows cols"]
    """At the samples of `Flow`: number of the object from 1 on; 0 = static, or none."""
    seeds: Seeds
    of: Int64[np.ndarray, " points"]
    """Object of each point, from 1 on; 0 = none."""
    items: tuple[int, ...]
    """Numbers of the objects."""


def find_objects(ladder: Ladder, result: Result, window: int = WINDOW) -> Grouped:
    """Tell the things apart that move.

    Args:
        ladder: Flow.
        result: Masks, pictures, cameras, depth.
        window: Frames whose points are grouped together.
    """
    height, width = result.depth.shape[1:]
    rows, cols = sample_shape((width, height))
    moving = np.stack([mask[ONE_PER_CELL][:rows, :cols] for mask in result.is_dynamic])
    seeds, piece = seed(ladder, moving, window), pieces(moving)
    followed, of_piece = seeds.followed, pieces_of(piece, seeds.followed)
    label = in_windows(followed, of_piece, seeds.spacing_px, window)
    label = kept_groups(label, of_piece, followed)
    kept = np.flatnonzero(label >= 0)
    label[kept] = bridged(result, followed.of(kept), label[kept])
    label = united(label, followed, of_piece)
    named = _in_order(label, followed.is_visible)
    ids = name_by_overlap(dense(named, followed, moving, piece, ladder), moving, piece)
    return Grouped(ids, seeds, named + 1, tuple(np.unique(ids[ids > 0]).tolist()))


def in_windows(
    followed: Followed, piece: Int64[np.ndarray, "frames points"], spacing_px: float, window: int
) -> Int64[np.ndarray, " points"]:
    """Group of each point (`recon4d.tracks.group`), one name for a group in all windows that it is in.

    Args:
        followed: The points.
        piece: Of the mask in which each is seen.
        spacing_px: Distance of neighbouring points.
        window: Frames that are looked at together.
    """
    frames = len(followed.uv)
    out = np.full(followed.uv.shape[1], -1)
    names = 0
    for first in range(0, max(frames - window // 2, 1), window // 2):
        part = slice(first, min(first + window, frames))
        lasts = followed.is_visible[part].sum(0) >= min(LEAST_FRAMES, frames)
        own = np.flatnonzero(lasts)
        if not len(own):
            continue
        there = followed.of(own)
        there = Followed(there.uv[part], there.is_visible[part], there.sigma_px[part])
        found = group(there.uv, there.is_visible, piece[part, own], spacing_px)
        found = joined(found, there, piece[part, own])
        new = np.arange(found.max(initial=-1) + 1) + names
        names += len(new)
        for k in range(len(new)):
            before = out[own[found == k]]
            known = before[before >= 0]
            if len(known) and np.bincount(known).max() > SHARED * len(known):
                new[k] = np.bincount(known).argmax()
        fresh = (out[own] < 0) & (found >= 0)
        out[own[fresh]] = new[found[fresh]]
    return out


def _in_order(
    label: Int64[np.ndarray, " points"], is_visible: Bool[np.ndarray, "frames points"]
) -> Int64[np.ndarray, " points"]:
    """Names from 0 on in the order in which the things appear, the larger one first; -1 stays."""
    found = np.unique(label[label >= 0])
    first = [int(is_visible[:, label == k].any(1).argmax()) for k in found]
    many = [-int(is_visible[:, label == k].sum()) for k in found]
    rank = {int(found[at]): n for n, at in enumerate(np.lexsort((many, first)))}
    return np.array([rank.get(int(k), -1) for k in label], np.int64)
