"""How far pixels move between neighbouring frames, as GeoMotion wants to know it."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional as F

from recon4d.core.progress import Progress, no_progress
from recon4d.flow.raft import full_flows
from recon4d.networks.raft import Raft


def square_images(
    images: UInt8[np.ndarray, "frames height width 3"], side_px: int
) -> UInt8[np.ndarray, "frames side side 3"]:
    """Resize to squares whatever the shape was, as GeoMotion was trained."""
    out = np.empty((len(images), side_px, side_px, 3), np.uint8)
    for at, image in enumerate(images):
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        small = F.interpolate(
            pixels, (side_px, side_px), mode="bilinear", align_corners=False, antialias=True
        )
        out[at] = small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return out


def flow_magnitude(
    raft: Raft,
    images: UInt8[np.ndarray, "frames height width 3"],
    threads: int,
    progress: Progress = no_progress,
) -> Float32[np.ndarray, "frames height width"]:
    """The larger magnitude of the flow to the next frame and to the one before, pixels.

    Args:
        raft: The network; each frame is encoded once.
        images: Consecutive frames.
        threads: That one pair uses on the CPU.
        progress: Told about every pair.
    """
    first = np.arange(len(images) - 1)
    pairs = np.stack((first, first + 1), axis=1)
    with progress("flow of GeoMotion", total=len(pairs)) as counter:

        def counted() -> Iterable[tuple[int, Tensor]]:
            for found in full_flows(raft, images, pairs, threads, warm=False):
                yield found
                counter.advance()

        return largest_magnitude(counted(), len(images), images.shape[1:3])


def largest_magnitude(
    flows: Iterable[tuple[int, Float[Tensor, "2 height width 2"]]],
    frames: int,
    size: tuple[int, ...],
) -> Float32[np.ndarray, "frames height width"]:
    """Fuse flows of neighbouring frames.

    Args:
        flows: Number of a frame, and the flow from it to the next and back.
        frames: How many there are.
        size: (height, width).
    """
    out = np.zeros((frames, *size), np.float32)
    for index, flow in flows:
        length = flow.float().norm(dim=-1).cpu().numpy()
        np.maximum(out[index], length[0], out=out[index])
        np.maximum(out[index + 1], length[1], out=out[index + 1])
    return out
