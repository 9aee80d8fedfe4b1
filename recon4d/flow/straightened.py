"""Flow of images behind a lens as a camera without distortion would have measured it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64

from recon4d.core.arrays import create_array
from recon4d.core.distortion import Bending
from recon4d.core.parallel import each
from recon4d.core.sampling import image_size, sample_index, sample_px
from recon4d.core.scene import Flow

FARTHEST = 4.0
"""Flow ends at most so many long sides away: where a lens sees much farther out than a plane shows."""


def straightened_flow(
    flow: Flow,
    lens: Bending,
    lens_intrinsics: Float64[np.ndarray, "4"],
    intrinsics: Float64[np.ndarray, "4"],
    folder: Path,
    threads: int,
) -> Flow:
    """The same flow between images whose distortion is undone.

    Args:
        flow: Between images as the lens shows them.
        lens: Its distortion.
        lens_intrinsics: fx, fy, cx, cy of its images, pixels of the working size.
        intrinsics: The same of the images without it.
        folder: Where the new flow's memory maps are written.
        threads: Edges that are worked on at the same time.

    Returns:
        No confidence in what only one of both images shows.
    """
    _, rows, cols = flow.confidence.shape
    here = sample_px(rows, cols)
    bent, _ = _moved(here, lens, lens_intrinsics, intrinsics, straightens=False)
    shift, sees = _moved(here, lens, lens_intrinsics, intrinsics, straightens=True)
    shift = np.asarray(shift - here, np.float32)
    place = sample_index(bent)
    size = np.array(image_size(rows, cols), np.float32)
    out = create_array(folder / "flow_px.npy", np.float16, flow.flow_px.shape)
    sure = create_array(folder / "confidence.npy", np.uint8, flow.confidence.shape)

    def straighten(edge: int) -> None:
        end = bent + _looked_up(flow.flow_px[edge].astype(np.float32), place, cv2.BORDER_REPLICATE)
        at = sample_index(end)
        found = end + _looked_up(shift, at, cv2.BORDER_REPLICATE)
        is_seen = ((found >= 0) & (found <= size)).all(-1)
        is_seen &= _looked_up(sees, at, cv2.BORDER_REPLICATE) > 0.99
        trusted = _looked_up(np.asarray(flow.confidence[edge]), place, cv2.BORDER_CONSTANT)
        most = FARTHEST * float(size.max())
        out[edge] = np.clip(found - here, -most, most).astype(np.float16)
        sure[edge] = np.where(is_seen, trusted, 0)

    for _ in each(straighten, range(len(flow.edges)), threads):
        pass
    return replace(flow, flow_px=out, confidence=sure)


def _moved(
    px: Float32[np.ndarray, "rows cols 2"],
    lens: Bending,
    lens_intrinsics: Float64[np.ndarray, "4"],
    intrinsics: Float64[np.ndarray, "4"],
    *,
    straightens: bool,
) -> tuple[Float32[np.ndarray, "rows cols 2"], Float32[np.ndarray, "rows cols"]]:
    """Pixels of the lens's images in those without it, or the way back; and 1 where both can show them."""
    before, after = (lens_intrinsics, intrinsics) if straightens else (intrinsics, lens_intrinsics)
    planar = torch.from_numpy((px.reshape(-1, 2) - before[2:]) / before[:2]).T
    if straightens:
        straight = lens.straightened(planar)
        found, is_seen = straight.planar, straight.is_seen
    else:
        bent = lens.bent(planar)
        found, is_seen = bent.seen, bent.is_seen
    there = found.T.numpy() * after[:2] + after[2:]
    shape = px.shape[:2]
    return there.reshape(px.shape).astype(np.float32), is_seen.numpy().reshape(shape).astype(
        np.float32
    )


def _looked_up(
    values: np.ndarray, place: Float32[np.ndarray, "rows cols 2"], border: int
) -> np.ndarray:
    """Values of samples between them, bilinearly."""
    u, v = (np.ascontiguousarray(place[..., axis], np.float32) for axis in (0, 1))
    return cv2.remap(values, u, v, cv2.INTER_LINEAR, borderMode=border)
