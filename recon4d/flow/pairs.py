"""Which frames are compared with which."""

import numpy as np
from jaxtyping import Int64

WINDOW_OFFSETS = (1, 2, 3, 5, 8)
"""Frames apart. Short offsets carry the flow's precision, long ones the parallax."""


def window_pairs(
    num_frames: int, offsets: tuple[int, ...] = WINDOW_OFFSETS
) -> Int64[np.ndarray, "pairs 2"]:
    """Unordered pairs (n, n + offset), sorted by n, then by offset."""
    pairs = [(n, n + k) for n in range(num_frames) for k in offsets if n + k < num_frames]
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
