"""What the masks of the last round say about a frame: its surface points' motion in other frames, along the flow.

A mover that pauses, or that moves along with the camera's own flow for some frames, looks static in them; a few frames
before and after it did not. Masks that are found again can know that.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from recon4d.masks.evidence import Surroundings
from recon4d.masks.filters import carried
from recon4d.masks.maps import LIMIT
from recon4d.parallel import each
from recon4d.scene import Flow, MotionMasks

FORGETTING = 0.3
"""Sum of the flow's confidence below which the memory fades towards 'unknown', 0."""
SUREST = 0.98
"""Probabilities are kept this far from certainty, lest one frame outvotes many."""


def recalled(
    around: tuple[Surroundings, ...], last: MotionMasks | None, flow: Flow, threads: int = 1
) -> tuple[Surroundings, ...]:
    """The surroundings of all frames with what the last round's masks say; as they are in the first round."""
    if last is None:
        return around
    memory = memory_maps(last, flow, threads)
    return tuple(replace(a, memory=m) for a, m in zip(around, memory, strict=True))


def memory_maps(
    last: MotionMasks, flow: Flow, threads: int = 1
) -> Float32[np.ndarray, "frames rows cols"]:
    """Mean log-odds of motion of every sample's surface point in all frames that its flow leads to, but not in its own.

    Args:
        last: Masks of the last round.
        flow: Current flow.
        threads: Frames that are looked at at the same time.
    """
    probability = np.clip(last.probability, 1 - SUREST, SUREST)
    log_odds = np.asarray(np.log(probability / (1 - probability)), np.float32)

    def one(frame: int) -> Float32[np.ndarray, "rows cols"]:
        total, weight = carried(log_odds, flow, np.flatnonzero(flow.edges[:, 0] == frame))
        return np.clip(total / (weight + np.float32(FORGETTING)), -LIMIT, LIMIT)

    return np.stack(list(each(one, range(len(log_odds)), threads)))
