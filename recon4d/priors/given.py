"""Depth of the user's own as a prior, aligned to the finished scene; what is in metres tells its unit.

Numbers here that name no source were set by hand.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int64

from recon4d.core.arrays import create_array
from recon4d.core.errors import DegenerateError, InputError
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import DepthPrior, Notice, Scene, Video
from recon4d.io.depth_maps import LOOKED_AT, DepthMaps
from recon4d.priors.aligned import Line, Samples, turning_lines
from recon4d.priors.mono import RELATIVE_SIGMA
from recon4d.priors.steady import Finished, steady

LEAST_SIGMA = 0.01
"""Relative standard deviation that no map is better than."""
SURE_SPAN = 3.0
"""A pixel's confidence makes its deviation up to this factor larger or smaller."""
RANGE = 50.0
"""Largest over smallest depth where an offset is not known and nothing tells it: rooms have 10, streets 100."""
BEYOND = 4.0
"""Depth ends at this many times the largest that is measured, where a map goes on to infinity."""


def metric_scale(
    maps: DepthMaps, video: Video, scene: Scene, frames: Int64[np.ndarray, " frames"]
) -> float:
    """Metres for one unit of a scene, in the median over some of its frames; 1 where nothing measures its depth.

    Args:
        maps: In metres.
        video: The whole of it.
        scene: Of some frames of it.
        frames: Which these are.
    """
    chosen = spread_evenly(len(frames), LOOKED_AT)
    found = []
    for at, (values, _) in zip(chosen, maps.at(video, frames[chosen].tolist()), strict=True):
        depth = _inverted(values) if maps.kind == "disparity" else values
        samples = Samples.of(scene, int(at), depth)
        if scene.is_posed[at] and len(samples.values):
            found.append(float(np.median(np.log(samples.values * samples.inverse_depth))))
    return float(np.exp(np.median(found))) if found else 1.0


def guide(maps: DepthMaps, to: Finished, folder: Path) -> DepthPrior:
    """The user's depth in the unit of a scene, for what the scene does not measure.

    Args:
        maps: What the user gives.
        to: The finished scene.
        folder: Where its arrays are put.

    Raises:
        DegenerateError: It fits in no frame.
        InputError: Near and far are exchanged.
    """
    depth = _empty(folder / "depth.npy", to.video)  # values, until they are aligned
    shape = (to.video.num_frames, *to.video.images.shape[1:3])
    sigma = create_array(folder / "relative_sigma.npy", np.float16, shape)
    for frame, (values, sure) in enumerate(maps.at(to.video, list(range(len(depth))))):
        depth[frame] = values
        sigma[frame] = 1 if sure is None else _by_confidence(sure)
        if sure is not None:
            depth[frame][sure == 0] = 0
    lines = _lines(maps, to, depth)
    missed = [frame for frame, line in enumerate(lines) if line is None]
    if len(missed) == len(depth):
        raise DegenerateError(
            f"the depth of {maps.place} fits to the geometry of no frame: what is near and far there is not near and "
            "far in the video; check which frames it is of, or leave --depth out"
        )
    for frame, line in enumerate(lines):
        depth[frame] = 0 if line is None else _applied(depth[frame], line, maps.kind)
    floor = _largest_depth(to.scene, depth)
    np.minimum(depth, floor, out=depth)
    steady(depth, to)
    for frame in range(len(depth)):
        spread = _spread(to.scene, frame, depth[frame], to.static[frame])
        sigma[frame] = np.clip(sigma[frame] * np.float16(spread), LEAST_SIGMA, 1)
    return DepthPrior(
        depth, to.scene.is_metric, sigma, notices=_missed_notices(missed), is_guide=True
    )


def _lines(maps: DepthMaps, to: Finished, values: Float32[np.ndarray, "..."]) -> list[Line | None]:
    scene, kind, scale = to.scene, maps.kind, maps.scale
    if scene.is_metric and scale == "metric":
        return [(1.0, 0.0)] * len(values)
    if scene.turns_only:
        low, middle, high = maps.levels()
        lines = turning_lines(values, scene, to.flow, to.static, kind, scale, middle)
        offset = _sane_offset(low / middle, high / middle) if scale == "affine" else 0.0
        return [(a / (1 + offset), (b + offset) / (1 + offset)) for a, b in lines]
    frames = range(len(values))
    samples = [Samples.of(scene, frame, values[frame], to.static[frame]) for frame in frames]
    if sum(one.contradicts(kind) for one in samples) > len(samples) / 2:
        other = "disparity" if kind == "depth" else "depth"
        raise InputError(
            f"--depth {maps.place} was taken for {kind}, but its large values are "
            f"{'near' if kind == 'depth' else 'far'} in the video; add --depth-kind {other}"
        )
    return [one.line(kind, scale) for one in samples]


def _sane_offset(low: float, high: float) -> float:
    """What to add to values, from a small quantile to a large one, for a range of at most `RANGE`."""
    return max(0.0, (high - RANGE * low) / (RANGE - 1))


def _applied(
    values: Float32[np.ndarray, "height width"], line: Line, kind: str
) -> Float32[np.ndarray, "height width"]:
    """Depth; infinite where a disparity is not above 0, unknown where a depth is not."""
    moved = np.where(values == 0, 0, line[0] * values + line[1]).astype(np.float32)
    if kind == "depth":
        return np.asarray(np.maximum(moved, 0), np.float32)
    is_far = (values != 0) & (moved <= 0)
    return np.asarray(np.where(is_far, np.inf, _inverted(moved)), np.float32)


def _inverted(values: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    inverted = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(inverted, np.float32)


def _largest_depth(scene: Scene, depth: Float32[np.ndarray, "frames height width"]) -> np.float32:
    """Where what is infinitely far is put."""
    measured = np.isfinite(scene.inverse_depth_std)
    if measured.any():
        return np.float32(BEYOND / np.quantile(scene.inverse_depth[measured], 0.01))
    some = depth[:: max(1, len(depth) // 16)]
    return np.float32(RANGE * np.quantile(some[(some > 0) & np.isfinite(some)], 0.5))


def _spread(
    scene: Scene,
    frame: int,
    depth: Float32[np.ndarray, "height width"],
    static: Bool[np.ndarray, "rows cols"],
) -> float:
    """Robust standard deviation of the logarithm against what is measured."""
    samples = Samples.of(scene, frame, depth, static)
    if not len(samples.values):
        return RELATIVE_SIGMA
    off = np.abs(np.log(samples.values * samples.inverse_depth))
    return float(np.clip(1.4826 * np.median(off), LEAST_SIGMA, RELATIVE_SIGMA))


def _by_confidence(
    sure: Float32[np.ndarray, "height width"],
) -> Float16[np.ndarray, "height width"]:
    """Factor of the deviation: less where a map is more confident than usual."""
    usual = np.sqrt(np.maximum(sure, 1e-6))
    return np.asarray(np.clip(1 / usual, 1 / SURE_SPAN, SURE_SPAN), np.float16)


def _empty(path: Path, video: Video) -> Float32[np.ndarray, "frames height width"]:
    return create_array(path, np.float32, (video.num_frames, video.size[1], video.size[0]))


def _missed_notices(missed: list[int]) -> tuple[Notice, ...]:
    what = "The given depth does not fit to the geometry of these frames: not used there"
    return (Notice("prediction_does_not_fit", what, tuple(missed)),) if missed else ()
