"""Loop closures: frames far apart in time that show the same place, verified by flow and depth, and their pose graph.

A verified pair relates the worlds of two pieces by a similarity, as frames that two clips share do. All relations of a
group of pieces are then balanced (pose graph over similarities; Strasdat et al., Scale Drift-Aware Large Scale
Monocular SLAM, RSS 2010), so that what drifted in between is spread over the whole way before the keyframes are
aligned.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from recon4d.core.geometry import invert_rigid
from recon4d.core.pinhole import rays_array
from recon4d.core.sampling import cell_of, sample_px
from recon4d.core.similarity import Similarity
from recon4d.optim.start.one_camera import Sightings, fit_pose
from recon4d.optim.stitch.pieces import Link, Placement

STEP = 6
"""Every how many samples of `Flow` a pair is verified."""
MIN_SEEN, MIN_SUPPORT = 0.25, 0.6
"""A pair shows the same place when its flow is consistent for so much of the picture, and one camera motion explains so
much of that with the known depth."""
TURN, LOG_SCALE, SHIFT = np.radians(0.5), 0.02, 0.02
"""What counts as a small contradiction of a relation: angle, scale, and translation as part of the median depth."""


@dataclass(frozen=True)
class View:
    """One frame of a pair, in the world of its own piece."""

    piece: int
    world_from_cam: Float64[np.ndarray, "4 4"]
    intrinsics: Float64[np.ndarray, "4"]
    inverse_depth: Float32[np.ndarray, "rows cols"]
    """At the sampling of `Flow`."""
    static: Float32[np.ndarray, "rows cols"]
    """Weight of the samples, in [0, 1]."""


def close(
    here: View,
    there: View,
    flow_px: Float32[np.ndarray, "rows cols 2"],
    confidence: Float32[np.ndarray, "rows cols"],
    is_metric: bool,
) -> Link | None:
    """The similarity between the worlds of two frames' pieces; None where they do not show the same place.

    Args:
        here: The frame whose depth and flow say where the other's camera is.
        there: The other, whose depth tells the scale.
        flow_px: From here to there.
        confidence: Of it, in [0, 1].
        is_metric: Both worlds are in metres.
    """
    rows, cols = here.inverse_depth.shape
    part = (slice(STEP // 2, None, STEP), slice(STEP // 2, None, STEP))
    uv = sample_px(rows, cols)[part]
    target = uv + flow_px[part]
    weight = confidence[part] * here.static[part]
    if weight.mean() < MIN_SEEN:
        return None
    sightings = _sightings(here, uv, target, weight, here.inverse_depth[part])
    start = torch.from_numpy(np.linalg.inv(here.world_from_cam))[None]
    fit = fit_pose(sightings, start, torch.from_numpy(np.array(there.intrinsics)))
    if fit.support < MIN_SUPPORT:
        return None
    pose = np.asarray(invert_rigid(fit.cam_from_world))
    scale = 1.0
    if not is_metric:
        scale = _scale(here, there, pose, (uv, target), here.inverse_depth[part], weight)
    rotation = pose[:3, :3] @ there.world_from_cam[:3, :3].T
    shift = pose[:3, 3] - scale * rotation @ there.world_from_cam[:3, 3]
    return Link(here.piece, there.piece, Similarity(scale, rotation, shift), True)


def _sightings(
    here: View,
    uv: Float32[np.ndarray, "rows cols 2"],
    target: Float32[np.ndarray, "rows cols 2"],
    weight: Float32[np.ndarray, "rows cols"],
    inverse_depth: Float32[np.ndarray, "rows cols"],
) -> Sightings:
    def row(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32).reshape(1, -1))

    return Sightings(
        samples_px=torch.stack((row(uv[..., 0]), row(uv[..., 1])), dim=1),
        targets_px=torch.stack((row(target[..., 0]), row(target[..., 1])), dim=1),
        inverse_depth=row(inverse_depth),
        weight=row(weight),
        cam_from_world=torch.from_numpy(np.linalg.inv(here.world_from_cam))[None],
        intrinsics=torch.from_numpy(np.array(here.intrinsics))[None],
    )


def _scale(
    here: View,
    there: View,
    pose: Float64[np.ndarray, "4 4"],
    ends: tuple[Float32[np.ndarray, "rows cols 2"], Float32[np.ndarray, "rows cols 2"]],
    inverse_depth: Float32[np.ndarray, "rows cols"],
    weight: Float32[np.ndarray, "rows cols"],
) -> float:
    """Depth of the same points here over that there: weighted median."""
    uv, target = ends
    rows, cols = there.inverse_depth.shape
    ray = rays_array(uv, here.intrinsics)
    relative = np.linalg.inv(pose) @ here.world_from_cam
    depth = ray @ relative[2, :3] / inverse_depth + relative[2, 3]
    at = cell_of(target)
    row, col = at[..., 0].clip(0, rows - 1), at[..., 1].clip(0, cols - 1)
    with np.errstate(invalid="ignore"):
        ratio = np.log(depth * there.inverse_depth[row, col])
    good = np.isfinite(ratio) & (weight > 0)
    order = np.argsort(ratio[good])
    total = np.cumsum(weight[good][order])
    return float(np.exp(ratio[good][order][np.searchsorted(total, total[-1] / 2)]))


def balance(
    placement: Placement,
    links: list[Link],
    depth: Float64[np.ndarray, " pieces"],
    is_metric: bool,
) -> Placement:
    """Move the pieces so that all relations between them fit as well as possible; the first of each group stays.

    Args:
        placement: Where they are, chained.
        links: Relations, more of them than the chain needs.
        depth: Median depth of every piece in its own unit.
        is_metric: Scales are known.
    """
    here = np.array([edge.here for edge in links])
    there = np.array([edge.there for edge in links])
    wanted = _Many.of([edge.here_from_there for edge in links])
    start = _Many.of(list(placement.world_from_piece))
    first = np.unique(placement.group, return_index=True)[1]
    free = np.setdiff1d(np.arange(len(depth)), first)

    def moved(values: Float64[np.ndarray, " unknowns"]) -> _Many:
        steps = np.zeros((len(depth), 7))
        steps[free] = values.reshape(-1, 7)
        if is_metric:
            steps[:, 3] = 0
        return start.moved(steps, start.scale * depth)

    def contradictions(values: Float64[np.ndarray, " unknowns"]) -> Float64[np.ndarray, " parts"]:
        found = moved(values)
        return found.take(here).inverse_times(found.take(there)).minus(wanted, depth[here])

    solved = least_squares(contradictions, np.zeros(7 * len(free)), loss="soft_l1", x_scale="jac")
    return replace(placement, world_from_piece=moved(solved.x).singles())


@dataclass(frozen=True)
class _Many:
    """Similarities."""

    scale: Float64[np.ndarray, " many"]
    rotation: Float64[np.ndarray, "many 3 3"]
    translation: Float64[np.ndarray, "many 3"]

    @classmethod
    def of(cls, singles: list[Similarity]) -> "_Many":
        return cls(
            np.array([s.scale for s in singles]),
            np.stack([s.rotation for s in singles]),
            np.stack([s.translation for s in singles]),
        )

    def singles(self) -> tuple[Similarity, ...]:
        parts = zip(self.scale.tolist(), self.rotation, self.translation, strict=True)
        return tuple(Similarity(*part) for part in parts)

    def take(self, index: Int64[np.ndarray, " some"]) -> "_Many":
        return _Many(self.scale[index], self.rotation[index], self.translation[index])

    def moved(
        self, steps: Float64[np.ndarray, "many 7"], unit: Float64[np.ndarray, " many"]
    ) -> "_Many":
        """Turned by rotation vectors, scaled by logarithms, and shifted in the given units."""
        turn = Rotation.from_rotvec(steps[:, :3]).as_matrix()
        shift = self.translation + steps[:, 4:] * unit[:, None]
        return _Many(self.scale * np.exp(steps[:, 3]), self.rotation @ turn, shift)

    def inverse_times(self, other: "_Many") -> "_Many":
        """`self^-1 @ other`, one by one."""
        back = self.rotation.transpose(0, 2, 1)
        shift = (back @ (other.translation - self.translation)[..., None])[..., 0]
        return _Many(other.scale / self.scale, back @ other.rotation, shift / self.scale[:, None])

    def minus(
        self, wanted: "_Many", depth: Float64[np.ndarray, " many"]
    ) -> Float64[np.ndarray, " parts"]:
        """How far these are from others, in small contradictions."""
        turn = Rotation.from_matrix(wanted.rotation.transpose(0, 2, 1) @ self.rotation).as_rotvec()
        scale = np.log(self.scale / wanted.scale)[:, None]
        shift = (self.translation - wanted.translation) / depth[:, None]
        return np.concatenate((turn / TURN, scale / LOG_SCALE, shift / SHIFT), axis=1).ravel()
