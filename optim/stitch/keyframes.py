"""Which frames of a clip are keyframes: by parallax and overlap, from the geometry that is known by then.

Numbers here that name no source were set by hand.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int64

from recon4d.core.geometry import transfer
from recon4d.core.scene import Scene

MIN_SHARED = 0.8
"""A new keyframe comes when less than this part of the last one's samples is still in the picture."""
MAX_PARALLAX = 0.06
"""... or when the median sample has moved this far by the camera's translation, parts of the picture's long side."""
MAX_GAP = 12
"""... or after so many frames: flow compares frames up to 32 apart, so the frames between still see both."""


def choose_keyframes(
    scene: Scene,
    first: int,
    last: int,
    size: tuple[int, int],
    wanted: Bool[np.ndarray, " frames"],
) -> Int64[np.ndarray, " keyframes"]:
    """Keyframes among the posed frames first..last-1; the first and the last of every piece are among them.

    Args:
        scene: Cameras and sparse depth.
        first: First frame.
        last: One beyond the last frame.
        size: (width, height) of the picture in pixels.
        wanted: Frames that become keyframes if they are posed.
    """
    chosen: list[int] = []
    previous = -1
    for frame in range(first, last):
        if scene.component[frame] < 0:
            continue
        begins = not chosen or scene.component[frame] != scene.component[chosen[-1]]
        if begins and previous >= 0:
            chosen.append(previous)
        if begins or wanted[frame] or _is_far(scene, chosen[-1], frame, size):
            chosen.append(frame)
        previous = frame
    if previous >= 0:
        chosen.append(previous)
    return np.unique(np.array(chosen, np.int64))


def _is_far(scene: Scene, key: int, frame: int, size: tuple[int, int]) -> bool:
    if frame - key >= MAX_GAP:
        return True
    uv = torch.from_numpy(scene.samples_px[key].astype(np.float64))
    rho = torch.from_numpy(scene.inverse_depth[key].astype(np.float64))
    relative = torch.from_numpy(
        np.linalg.inv(scene.world_from_cam[frame]) @ scene.world_from_cam[key]
    )
    k = torch.from_numpy(np.array(scene.intrinsics))
    there, ratio = transfer(uv, rho, relative, k[key], k[frame])
    turned, _ = transfer(uv, torch.zeros_like(rho), relative, k[key], k[frame])
    inside = (ratio > 0) & ((there >= 0) & (there < torch.tensor(size))).all(-1)
    parallax = (there - turned).norm(dim=-1)[inside]
    if float(inside.double().mean()) < MIN_SHARED or not len(parallax):
        return True
    return float(parallax.median()) > MAX_PARALLAX * max(size)
