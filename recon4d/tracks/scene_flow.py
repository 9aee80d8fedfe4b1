"""How what every pixel shows moves in the world until the next frame: 0 where it is static, else by flow and depth."""

from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float64

from recon4d.core.arrays import create_array
from recon4d.core.pinhole import lift_array
from recon4d.results.result import Result
from recon4d.tracks.chain import SEEN, at
from recon4d.tracks.ladder import Ladder
from recon4d.tracks.still import pixel_of


def scene_flow(
    result: Result, ladder: Ladder, folder: Path
) -> Float16[np.ndarray, "frames height width 3"]:
    """Scene flow of all frames, in a file that is mapped: scene units, axes of the world; nan = not known.

    Args:
        result: Depth, cameras and masks.
        ladder: Flow.
        folder: Where the file is made.
    """
    out = create_array(folder / "scene_flow.npy", np.float16, (*result.depth.shape, 3))
    for frame in range(len(result)):
        out[frame] = np.where(result.depth[frame][..., None] > 0, 0, np.nan)
        moving = result.is_dynamic[frame]
        out[frame][moving] = np.nan
        step = ladder.between(frame, frame + 1)
        if step is None:
            out[frame] = np.nan
            continue
        row, col = np.nonzero(moving)
        uv = np.stack((col, row), axis=1) + 0.5
        if len(uv):
            sure = at(step[1], uv) >= 255 * SEEN
            then = _lifted(result, frame + 1, uv + at(step[0], uv))
            out[frame][row, col] = np.where(
                sure[:, None], then - _lifted(result, frame, uv), np.nan
            )
    return out


def _lifted(
    result: Result, frame: int, uv: Float64[np.ndarray, "points 2"]
) -> Float64[np.ndarray, "points 3"]:
    """Where moving pixels are in the world; nan where none is known to move there."""
    height, width = result.depth.shape[1:]
    row, col, inside = pixel_of(uv, (width, height))
    depth = result.depth[frame][row, col].astype(np.float64)
    known = inside & (depth > 0) & result.is_dynamic[frame][row, col]
    found = lift_array(uv, depth, result.intrinsics[frame], result.world_from_cam[frame])
    return np.where(known[:, None], found, np.nan)
