"""Trajectory errors through evo, the field's reference: ATE and RPE."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64

from recon4d.core.errors import InputError, MissingDependencyError
from recon4d.io.poses.trajectory import Trajectory

if TYPE_CHECKING:
    from evo.core.trajectory import PoseTrajectory3D

Align = Literal["sim3", "se3", "none"]
"""With scale (monocular), rigid (metric), or not at all."""


@dataclass(frozen=True)
class PoseErrors:
    """Errors of a trajectory; lengths in the unit of the truth. None: not to be had, `failures` says why."""

    matched: int
    """Poses with a partner in the truth."""
    align: Align
    ate: float | None
    """Absolute trajectory error after the alignment, RMSE."""
    rpe_translation: float | None
    """Relative pose error from frame to frame after the alignment, RMSE."""
    rpe_rotation_deg: float | None
    """The same for rotation, RMSE in degrees."""
    rotation_best_deg: float
    """Mean angle between the rotations after the best single rotation; needs no path, unlike the others."""
    scale: float | None
    """Scale of the alignment: truth / estimate."""
    path: float
    """Length of the matched part of the true path."""
    failures: tuple[str, ...] = ()


def pose_errors(
    estimate: Trajectory, truth: Trajectory, align: Align, max_diff_s: float
) -> PoseErrors:
    """Compare two trajectories.

    Args:
        estimate: What is judged.
        truth: What it should be.
        align: How the estimate is moved onto the truth first.
        max_diff_s: Largest difference of the time stamps of matched poses.
    """
    found, wanted = _matched(estimate, truth, max_diff_s)
    failures: list[str] = []
    scale = _attempt("alignment", lambda: _align(found, wanted, align), failures)
    ate = rpe_translation = None
    if scale is not None:
        ate = _attempt("ATE", lambda: _ate(found, wanted), failures)
    if scale is not None or align == "se3":  # a rigid alignment does not change relative poses
        rpe_translation = _attempt(
            "RPE-t", lambda: _rpe(found, wanted, "translation_part"), failures
        )
    return PoseErrors(
        matched=int(found.num_poses),
        align=align,
        ate=ate,
        rpe_translation=rpe_translation,
        rpe_rotation_deg=_attempt(
            "RPE-r", lambda: _rpe(found, wanted, "rotation_angle_deg"), failures
        ),
        rotation_best_deg=best_rotation_error_deg(_rotations(found), _rotations(wanted)),
        scale=scale,
        path=float(wanted.path_length),
        failures=tuple(failures),
    )


def best_rotation_error_deg(
    estimate: Float64[np.ndarray, "poses 3 3"], truth: Float64[np.ndarray, "poses 3 3"]
) -> float:
    """Mean angle between rotations after the one rotation of the world that fits best (Wahba's problem)."""
    from scipy.spatial.transform import Rotation

    left, _, right = np.linalg.svd(np.einsum("nij,nkj->ik", truth, estimate))
    mirror = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    best = left @ mirror @ right
    apart = best @ estimate @ truth.transpose(0, 2, 1)
    return float(np.degrees(Rotation.from_matrix(apart).magnitude().mean()))


def _matched(
    estimate: Trajectory, truth: Trajectory, max_diff_s: float
) -> "tuple[PoseTrajectory3D, PoseTrajectory3D]":
    """Poses of estimate and truth that belong together; copies, because evo changes them in place."""
    try:
        from evo.core.sync import SyncException, associate_trajectories
        from evo.core.trajectory import PoseTrajectory3D
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'evo is not installed, and pose errors are computed by it; pip install "recon4d[eval]"'
        ) from error
    both = [
        PoseTrajectory3D(poses_se3=list(one.world_from_cam), timestamps=one.timestamps_s)
        for one in (estimate, truth)
    ]
    try:
        found, wanted = associate_trajectories(*both, max_diff=max_diff_s)
    except SyncException:
        raise InputError(_nothing_matches(estimate, truth, max_diff_s)) from None
    return found, wanted


def _attempt(what: str, compute: Callable[[], float], failures: list[str]) -> float | None:
    """Compute a number, or note what evo finds degenerate about it."""
    from evo import EvoException

    try:
        return compute()
    except EvoException as error:
        failures.append(f"{what}: {error}")
        return None


def _rotations(trajectory: "PoseTrajectory3D") -> Float64[np.ndarray, "poses 3 3"]:
    return np.stack(trajectory.poses_se3)[:, :3, :3]


def _align(found: "PoseTrajectory3D", wanted: "PoseTrajectory3D", align: Align) -> float:
    """Align in place and return the scale."""
    if align == "none":
        return 1.0
    return float(found.align(wanted, correct_scale=align == "sim3")[2])


def _ate(found: "PoseTrajectory3D", wanted: "PoseTrajectory3D") -> float:
    from evo.core import metrics

    measure = metrics.APE(metrics.PoseRelation.translation_part)
    measure.process_data((wanted, found))
    return float(measure.get_statistic(metrics.StatisticsType.rmse))


def _rpe(
    found: "PoseTrajectory3D",
    wanted: "PoseTrajectory3D",
    relation: Literal["translation_part", "rotation_angle_deg"],
) -> float:
    """From every frame to the next."""
    from evo.core import metrics

    measure = metrics.RPE(
        metrics.PoseRelation[relation], delta=1, delta_unit=metrics.Unit.frames, all_pairs=True
    )
    measure.process_data((wanted, found))
    return float(measure.get_statistic(metrics.StatisticsType.rmse))


def _nothing_matches(estimate: Trajectory, truth: Trajectory, max_diff_s: float) -> str:
    found, wanted = (
        f"{times.min():.6f} to {times.max():.6f} s"
        for times in (estimate.timestamps_s, truth.timestamps_s)
    )
    return (
        f"no pose of the result ({found}) is within {max_diff_s:g} s of one of the truth ({wanted}); both need one "
        "clock: was a video given, whose times begin at 0? A larger --max-diff also helps where frames are sparse"
    )
