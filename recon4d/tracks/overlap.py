"""Things that no points tell of, too fast or too blurred to be followed: pieces of the mask that overlap are one thing.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Int64, UInt8

MOST_LOST = 5
"""Frames in which the mask may have lost a thing."""
REACH = 0.5
"""Part of its size by which a thing may move from frame to frame beyond where it was."""
LEAST_AREA = 0.0005
"""Part of the picture below which a piece is no thing."""
LEAST_FRAMES = 4
"""In which a thing is seen."""


def name_by_overlap(
    ids: UInt8[np.ndarray, "frames rows cols"],
    moving: Bool[np.ndarray, "frames rows cols"],
    piece: Int64[np.ndarray, "frames rows cols"],
) -> UInt8[np.ndarray, "frames rows cols"]:
    """The objects, with those added that have no name yet.

    Args:
        ids: Number of the object of every sample; 0: none.
        moving: What moves.
        piece: Connected pieces of the mask.
    """
    chains: list[list[tuple[int, int]]] = []
    for frame in range(len(ids)):
        taken: set[int] = set()
        for number in _nameless(ids[frame], moving[frame], piece[frame]):
            own = moving[frame] & (piece[frame] == number)
            near = [at for at, c in enumerate(chains) if 0 < frame - c[-1][0] <= MOST_LOST + 1]
            shared = {
                at: _shared(own, moving, piece, chains[at][-1]) for at in near if at not in taken
            }
            best = max(shared, key=lambda at: shared[at], default=-1)
            if best >= 0 and shared[best] > 0:
                chains[best].append((frame, number))
                taken.add(best)
            else:
                chains.append([(frame, number)])
                taken.add(len(chains) - 1)
    out, name = ids.copy(), int(ids.max(initial=0))
    for chain in (c for c in chains if len(c) >= min(LEAST_FRAMES, len(ids))):
        name += 1
        for frame, number in chain if name < 256 else ():
            own = moving[frame] & (piece[frame] == number) & (ids[frame] == 0)
            out[frame][own] = name
    return out


def _nameless(
    ids: UInt8[np.ndarray, "rows cols"],
    moving: Bool[np.ndarray, "rows cols"],
    piece: Int64[np.ndarray, "rows cols"],
) -> list[int]:
    """Pieces of some size in which nothing has a name."""
    area = np.bincount(piece[moving], minlength=1)
    named = np.bincount(piece[moving & (ids > 0)], minlength=len(area))
    return np.flatnonzero((named == 0) & (area >= LEAST_AREA * ids.size)).tolist()


def _shared(
    own: Bool[np.ndarray, "rows cols"],
    moving: Bool[np.ndarray, "frames rows cols"],
    piece: Int64[np.ndarray, "frames rows cols"],
    last: tuple[int, int],
) -> int:
    """Samples of a piece that a thing may have reached since it was seen last."""
    frame, number = last
    before = (moving[frame] & (piece[frame] == number)).astype(np.uint8)
    reach = max(1, round(REACH * float(before.sum()) ** 0.5))
    grown = cv2.dilate(before, np.ones((2 * reach + 1,) * 2, np.uint8))
    return int((grown[own] > 0).sum())
