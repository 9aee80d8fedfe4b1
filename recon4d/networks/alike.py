"""Which frames of a video show the same place again, judged by their looks alone; geometry decides later.

A frame is described by the features of EfficientNet-Lite0 (the weights that ship with D2MIF), averaged over a coarse
grid, without what all frames have in common. The grid keeps the layout of the picture: what is found is seen from
nearly the same place, as optical flow needs it.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from recon4d.networks.lite0 import Lite0, shipped_lite0

SIDE_PX = 256
"""Long side of the pictures that are described."""
GRID = (3, 4)
"""Rows and columns over which features are averaged."""
MIN_ALIKE = 0.4
"""Cosine of two descriptions below which the frames show different things: two unrelated ones have 0 on average. Set
with the weights of `SHIPPED_SHA256`."""
MOST = 3
"""Most frames that one is compared with."""
NEAR = 2
"""Frames so far apart in the list are nearly the same: a match of one is as good as one of the other."""


@torch.inference_mode()
def describe(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> Float32[np.ndarray, "frames values"]:
    """Descriptions of length 1."""
    encoder = shipped_lite0()
    found = np.stack([_pooled(encoder, image) for image in images])
    found -= found.mean(0)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9))


def _pooled(
    encoder: Lite0, image: UInt8[np.ndarray, "height width 3"]
) -> Float32[np.ndarray, " values"]:
    height, width = image.shape[:2]
    factor = min(SIDE_PX / max(height, width), 1.0)
    size = (max(round(width * factor), 32), max(round(height * factor), 32))
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    values = torch.from_numpy(small)[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    sixteenth = encoder(values)[3]
    return np.asarray(torch.nn.functional.adaptive_avg_pool2d(sixteenth, GRID).flatten().numpy())


def seen_again(
    descriptions: Float32[np.ndarray, "frames values"], apart: int
) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs that are each among the other's best matches, at least `apart` places from each other, ascending."""
    alike = descriptions @ descriptions.T
    places = np.arange(len(alike))
    alike[np.abs(places[:, None] - places) < apart] = -1.0
    best = [_best(row, apart) for row in alike]
    found = [
        (frame, other)
        for frame, others in enumerate(best)
        for other in others
        if frame < other and any(abs(back - frame) <= NEAR for back in best[other])
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _best(alike: Float32[np.ndarray, " frames"], apart: int) -> list[int]:
    """The best matches of one frame; of matches near each other, only the best."""
    left, found = alike.copy(), []
    for _ in range(MOST):
        at = int(left.argmax())
        if left[at] < MIN_ALIKE:
            break
        found.append(at)
        left[max(at - apart + 1, 0) : at + apart] = -1.0
    return found
