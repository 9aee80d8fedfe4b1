"""From groups of followed points to an object of every moving pixel.

Numbers here that name no source were set by hand.
"""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy.spatial import cKDTree

from recon4d.core.sampling import cell_of, sample_index, sample_px
from recon4d.tracks.chain import Followed
from recon4d.tracks.ladder import Ladder

GAP = 10 / 512
"""Parts of the mask that are no further apart are one piece; of the long side of the picture."""
VOTERS = 3
"""Points next to a pixel that say what object it is of."""
MOST = 255
"""Objects that a picture of a byte per pixel can name; there are never more."""
LEAST_SHARE = 0.12
"""Part of the points of a piece below which a group in it is no object of its own: points that slipped; but for ..."""
SURE_POINTS = 15
"""... one that has so many at a time."""
FEWEST_POINTS = 3
"""Points at a time that an object has at least."""


def pieces(
    moving: Bool[np.ndarray, "frames rows cols"],
) -> Int64[np.ndarray, "frames rows cols"]:
    """Number of the connected piece of the mask of every sample, from 1 on; 0 where nothing moves or near it."""
    width = max(1, round(GAP * max(moving.shape[1:]) / 2))
    kernel = np.ones((2 * width + 1,) * 2, np.uint8)
    found = [
        cv2.connectedComponents(cv2.dilate(mask.astype(np.uint8), kernel))[1] for mask in moving
    ]
    return np.stack(found).astype(np.int64)


def pieces_of(
    piece: Int64[np.ndarray, "frames rows cols"], followed: Followed
) -> Int64[np.ndarray, "frames points"]:
    """The piece in which every point is seen, in every frame."""
    rows, cols = piece.shape[1:]
    place = np.nan_to_num(sample_index(followed.uv)).round().astype(np.int64)
    col, row = place[..., 0].clip(0, cols - 1), place[..., 1].clip(0, rows - 1)
    return np.asarray(piece[np.arange(len(piece))[:, None], row, col])


def kept_groups(
    label: Int64[np.ndarray, " points"],
    of: Int64[np.ndarray, "frames points"],
    followed: Followed,
) -> Int64[np.ndarray, " points"]:
    """The labels, -1 for points of groups that are no objects of their own.

    Args:
        label: Group of each point.
        of: The piece of the mask in which each is seen.
        followed: Where they are seen.
    """
    count = int(label.max(initial=-1)) + 1
    shares, frames, most = np.zeros(count), np.zeros(count), np.zeros(count)
    for frame in range(len(of)):
        seen = np.flatnonzero(followed.is_visible[frame] & (label >= 0))
        in_piece = np.bincount(of[frame, seen])
        for k in np.unique(label[seen]):
            own = of[frame, seen[label[seen] == k]]
            shares[k] += len(own) / in_piece[np.unique(own)].sum()
            frames[k] += 1
            most[k] = max(most[k], len(own))
    large = (most >= SURE_POINTS) | (shares / np.maximum(frames, 1) >= LEAST_SHARE)
    kept = np.flatnonzero(large & (most >= FEWEST_POINTS))[:MOST]
    return np.where(np.isin(label, kept), label, -1)


def dense(
    label: Int64[np.ndarray, " points"],
    followed: Followed,
    moving: Bool[np.ndarray, "frames rows cols"],
    piece: Int64[np.ndarray, "frames rows cols"],
    ladder: Ladder,
) -> UInt8[np.ndarray, "frames rows cols"]:
    """Number of the object of every moving sample, from 1 on; 0 = static, or none.

    Args:
        label: Object of each point from 0 on; -1: none.
        followed: Where points are seen.
        moving: What moves.
        piece: Of the mask (`pieces`).
        ladder: Flow, along which objects are carried where no point is seen.
    """
    out = np.zeros(moving.shape, np.uint8)
    for frame in range(len(moving)):
        seen = np.flatnonzero(followed.is_visible[frame] & (label >= 0))
        own = pieces_of(piece[frame : frame + 1], _some(followed, frame, seen))[0]
        for number in np.unique(piece[frame][moving[frame]]):
            area, voters = moving[frame] & (piece[frame] == number), seen[own == number]
            if len(voters):
                out[frame][area] = 1 + _voted(area, followed.uv[frame, voters], label[voters])
    for way in (1, -1):
        _carry(out, moving, piece, ladder, way)
    return out


def _some(followed: Followed, frame: int, points: Int64[np.ndarray, " some"]) -> Followed:
    part = np.s_[frame : frame + 1, points]
    return Followed(followed.uv[part], followed.is_visible[part], followed.sigma_px[part])


def _voted(
    area: Bool[np.ndarray, "rows cols"],
    uv: Float32[np.ndarray, "points 2"],
    label: Int64[np.ndarray, " points"],
) -> Int64[np.ndarray, " samples"]:
    """The label of the samples of an area, by the points next to each."""
    places = sample_px(*area.shape)[area]
    apart, near = cKDTree(uv).query(places, k=min(VOTERS, len(uv)))
    apart, near = (np.reshape(each, (len(places), -1)) for each in (apart, near))
    votes = 1 / (1 + apart)
    support = (votes[:, None] * (label[near][:, :, None] == label[near][:, None])).sum(2)
    return np.asarray(label[near][np.arange(len(near)), support.argmax(1)])


def _carry(
    out: UInt8[np.ndarray, "frames rows cols"],
    moving: Bool[np.ndarray, "frames rows cols"],
    piece: Int64[np.ndarray, "frames rows cols"],
    ladder: Ladder,
    way: int,
) -> None:
    """Name pieces without a name after what the flow says they were in the frame before (way 1) or after (-1)."""
    frames = range(len(out))[::way]
    for before, frame in pairwise(frames):
        nameless = moving[frame] & (out[frame] == 0)
        step = ladder.between(frame, before)
        if not nameless.any() or step is None:
            continue
        places = sample_px(*nameless.shape)
        came = (places + step[0].astype(np.float32)).reshape(-1, 2)
        rows, cols = nameless.shape
        row, col = cell_of(came).T
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        name = np.where(inside, out[before][row.clip(0, rows - 1), col.clip(0, cols - 1)], 0)
        name = name.reshape(rows, cols)
        for number in np.unique(piece[frame][nameless]):
            area = nameless & (piece[frame] == number)
            votes = np.bincount(name[area], minlength=1)
            votes[0] = 0
            if votes.sum() > 0.5 * area.sum():
                out[frame][area] = votes.argmax()
