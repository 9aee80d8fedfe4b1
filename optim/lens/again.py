"""A second look at a lens, at flow that was measured with the help of the cameras that the first look ended in.

A small lens, which the first look neither finds nor rules out, is judged by such flow: that of `kitchen_static` has a
k1 of -.016 +- .009 at first, then -.025 +- .006, and a focal length 3.5 %, then 1 % long.

The flow that is measured first falls short where a fisheye presses the picture together, which its focal length takes
for another lens: 120 degrees came out 3 to 6 % long; of flow that geometry guides, half a percent.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64

from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, Scene, Video
from recon4d.optim.lens.find import (
    APART_SIGMAS,
    LEAST_GAIN,
    LEAST_SIGMAS,
    MOST_SMALL,
    PINHOLE,
    FoundLens,
    Trial,
)
from recon4d.optim.lens.fisheye import bent
from recon4d.optim.lens.objective import Lensed
from recon4d.optim.lens.search import Search
from recon4d.optim.objective.problem import build_problem
from recon4d.optim.objective.unknowns import State


def look_again(
    found: FoundLens,
    lens_intrinsics: Float64[np.ndarray, "4"],
    straight_intrinsics: Float64[np.ndarray, "4"],
    flow: Flow,
    scene: Scene,
    kernel_px: float,
) -> FoundLens:
    """The fisheye that explains flow between images best that were undistorted as if they came from another.

    Args:
        found: That other one.
        lens_intrinsics: fx, fy, cx, cy of images as it shows them, pixels of the working size.
        straight_intrinsics: The same of the undistorted images.
        flow: Between undistorted images.
        scene: Cameras of these.
        kernel_px: Scale of the robust kernel.
    """
    problem = build_problem(flow, cell_of(scene.samples_px)).connected(scene.component)
    problem = bent(problem, found.bending, lens_intrinsics, straight_intrinsics)
    state, longer = State.of(scene), scene.intrinsics[:, :1] / straight_intrinsics[0]
    intrinsics = np.tile(lens_intrinsics, (len(longer), 1))
    intrinsics[:, :2] *= longer
    start = Lensed(replace(state, intrinsics=torch.from_numpy(intrinsics)), found.bending)
    search = Search.from_start(problem, start, scene, kernel_px)
    at, std = search.whole_fit(search.first, centre=False)
    more, more_std = search.whole_fit(at.with_term(), centre=False)
    if abs(more.lens.terms[-1]) >= LEAST_SIGMAS * more_std[len(more.lens.terms)]:
        at, std = more, more_std
    terms = at.lens.terms
    return replace(
        found,
        focal_px=at.focal_px,
        focal_std=std[0],
        terms=terms,
        terms_std=tuple(std[1 : 1 + len(terms)]),
    )


def look_closer(video: Video, flow: Flow, scene: Scene, kernel_px: float) -> FoundLens:
    """A small radial lens where it is sure, else a pinhole; see `FoundLens.may_bend`.

    Args:
        video: The images as they came.
        flow: Between them, guided by the scene.
        scene: First cameras and depth.
        kernel_px: Scale of the robust kernel.
    """
    trial = Trial(Search.of(flow, scene, kernel_px), scene, max(video.size))
    plain, bent = trial.pinhole(), trial.of(1, centre=False)
    at, std = trial.search.whole_fit(bent.fitted, centre=False)
    gain, k1 = 1 - bent.left / plain.left, at.lens.terms[0]
    is_small = LEAST_SIGMAS * std[1] <= -k1 <= MOST_SMALL
    if gain < LEAST_GAIN or not is_small or not _lasts(trial.search, at):
        return replace(PINHOLE, gain=gain, focal_std=trial.doubt(plain, bent, std[0]))
    return FoundLens("radial", at.focal_px, (k1,), std[0], (std[1],), gain)


def _lasts(search: Search, at: Lensed) -> bool:
    """Whether both halves of a video, each alone, say the same of the coefficient within what they know."""
    frames, said = len(at.state.intrinsics), []
    for first, last in ((0, frames // 2), (frames // 2, frames)):
        part, start = search.over(first, last, at)
        half, std = part.whole_fit(start, centre=False)
        said.append((half.lens.terms[0], std[1]))
    (early, early_std), (late, late_std) = said
    return abs(early - late) <= APART_SIGMAS * math.hypot(early_std, late_std)
