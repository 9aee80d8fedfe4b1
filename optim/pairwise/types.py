"""What the alignment of pairwise predictions takes, returns, and hands from step to step."""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import KnownPoses, Notice
from recon4d.optim.objective.unknowns import State
from recon4d.optim.pairwise.grid import PairGrid
from recon4d.optim.pairwise.pairs import check_connected, pair_notice
from recon4d.optim.pairwise.problem import enlarge_map, enlarge_state

MASKS = ("residual", "none")
"""Where motion masks come from."""


@dataclass(frozen=True)
class PairOptions:
    """Settings of `align_pairs`."""

    masks: str = "residual"
    """Where motion masks come from: `residual`, the pairs themselves; `none`, nothing moves."""
    device: str = "cpu"
    intrinsics: tuple[float, float, float, float] | None = None
    """(fx, fy, cx, cy) in pixels where they are known (pixel centres at integers + 0.5); None: one focal length of all
    frames is found, and the principal point is that of networks, the middle of the integer pixel grid."""
    own_focals: bool = False
    """Every frame has a focal length of its own (zoom)."""
    poses: KnownPoses | None = None
    """Of some frames; the result is in their frame and scale. Those that contradict the others are named, not used."""

    def __post_init__(self) -> None:
        if self.intrinsics is not None and not (
            all(isfinite(value) for value in self.intrinsics) and min(self.intrinsics[:2]) > 0
        ):
            raise ConfigError(
                f"intrinsics are {self.intrinsics}; (fx, fy, cx, cy) in pixels with positive focal lengths are needed"
            )
        if self.own_focals and self.intrinsics is not None:
            raise ConfigError("own_focals finds what intrinsics give; set one of them")
        if self.masks not in MASKS:
            raise ConfigError(f"masks must be one of {MASKS}, got {self.masks!r}")


@dataclass(frozen=True)
class AlignedPairs:
    """Cameras, depth and masks of all frames, in the first camera's frame and one scale."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    depth: Float32[np.ndarray, "frames height width"]
    """z-depth in the scale of the poses."""
    depth_std: Float32[np.ndarray, "frames height width"]
    """Standard deviation of the depth, in the same unit; infinite where nothing was measured."""
    pose_covariance: Float64[np.ndarray, "frames 6 6"]
    """Of every frame's pose relative to the one before (`recon4d.results.result.Result.pose_covariance`)."""
    focal_px: Float64[np.ndarray, " frames"]
    moving: Bool[np.ndarray, "frames height width"]
    notices: tuple[Notice, ...]
    """Pairs that were dropped, and what the user should know."""


@dataclass(frozen=True)
class PairsInUse:
    """The pairs that are used, on both grids."""

    coarse: PairGrid
    fine: PairGrid
    keep: Bool[np.ndarray, " edges"]
    """Which of the given pairs these are."""
    width: int
    notices: tuple[Notice, ...]

    def without(self, bad: Bool[Tensor, " edges"], code: str, what: str) -> "PairsInUse":
        """Drop and name pairs.

        Raises:
            DegenerateError: The others do not connect the frames.
        """
        if not bool(bad.any()):
            return self
        edges = self.coarse.edges.cpu().numpy()
        drop = bad.cpu().numpy()
        notice = pair_notice(code, [(int(n), int(m)) for n, m in edges[drop]], what)
        notices = (*self.notices, notice)
        check_connected(edges[~drop], self.coarse.num_frames, notices)
        keep = self.keep.copy()
        keep[np.flatnonzero(keep)[drop]] = False
        return PairsInUse(self.coarse.only(~bad), self.fine.only(~bad), keep, self.width, notices)


@dataclass(frozen=True)
class SceneView:
    """What is known of the scene between two stages, on one grid."""

    state: State
    log_odds: Float[Tensor, "frames samples"]
    """Of motion."""
    variance: Float[Tensor, "2 2"]
    """Of pointmaps' log-depth, by (static, moving) and (first, second view)."""

    def static(self, grid: PairGrid) -> Float[Tensor, "frames samples"]:
        """Weight 1 - M; a sample beside a moving one may lie in the halo of its flow."""
        moving = grid.maps((self.log_odds > 0).to(self.log_odds))
        return 1 - F.max_pool2d(moving[:, None], 3, 1, 1)[:, 0].flatten(1)

    def relative(self, grid: PairGrid) -> Float[Tensor, "edges 4 4"]:
        """`target_from_source` of every pair."""
        poses, (source, target) = self.state.cam_from_world, grid.edges.T
        return poses[target] @ invert_rigid(poses)[source]

    def on(self, coarse: PairGrid, fine: PairGrid) -> "SceneView":
        """The same on a finer grid."""
        odds = coarse.maps(self.log_odds)
        odds = enlarge_map(odds, (fine.rows, fine.cols)).flatten(1)
        return replace(self, state=enlarge_state(self.state, coarse, fine), log_odds=odds)
