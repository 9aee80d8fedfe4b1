"""Comparing a result with ground truth: poses, depth and masks; how steady it is without (`recon4d eval`).

Numbers here that name no source were set by hand.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from recon4d.core.errors import ConfigError, InputError
from recon4d.core.files import writing
from recon4d.evaluate.depth import ALIGNMENTS, error_sums, mean_errors, resize_nearest
from recon4d.evaluate.masks import contour_f, jaccard, statistics
from recon4d.evaluate.poses import PoseErrors, pose_errors
from recon4d.evaluate.report import (
    DepthReport,
    Evaluation,
    MaskReport,
    format_table,
    to_json,
)
from recon4d.evaluate.stated import StatedPoses, stated_poses
from recon4d.evaluate.steady import SteadyDepth, depth_steadiness, steadiness
from recon4d.evaluate.truth import Truth, read_true_depth, read_true_mask, read_truth
from recon4d.flow import flow_method
from recon4d.io.poses.trajectory import Trajectory, read_trajectory
from recon4d.results.folder import read_result
from recon4d.results.result import Result

__all__ = [
    "EvalOptions",
    "Evaluation",
    "compare",
    "evaluate",
    "format_table",
    "steadiness_alone",
    "to_json",
]

NEAREST_TRUTH_M, FARTHEST_TRUTH_M = 0.05, 80.0
"""Depth of the truth that counts: sensors and LiDAR measure nothing outside."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """How a result is compared with the truth."""

    align: Literal["auto", "sim3", "se3", "none"] = "auto"
    """Alignment of the trajectories; auto: se3 for metric results, sim3 for others."""
    max_diff_s: float = 0.02
    """Largest difference of the time stamps of matched poses and depth images."""
    depth_scale: Literal["sequence", "scale_shift", "none"] = "sequence"
    """Alignment of the depth: one scale, one scale and shift, or none for the whole sequence."""
    depth_factor: float = 5000.0
    """Value of a true depth PNG for one metre."""

    def __post_init__(self) -> None:
        for name in ("max_diff_s", "depth_factor"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")


def evaluate(
    result: Path, gt: Path | None, options: EvalOptions, *, json_file: Path | None = None
) -> str:
    """Compare and return the table for the screen.

    Args:
        result: A result folder or a TUM trajectory.
        gt: A sequence in TUM layout, a folder of masks, or a TUM trajectory; None: only what needs no truth.
        options: How they are compared.
        json_file: Where the figures are written, too.
    """
    evaluation = steadiness_alone(result) if gt is None else compare(result, gt, options)
    if json_file is not None:
        with writing(json_file):
            json_file.write_text(to_json(evaluation), encoding="utf-8")
    return format_table(evaluation)


def compare(result: Path, gt: Path, options: EvalOptions) -> Evaluation:
    """Compare a result folder or a TUM trajectory with the truth, in all that both have."""
    truth = read_truth(gt)
    if not result.exists():
        raise InputError(f"{result} does not exist; a result folder or a TUM trajectory was needed")
    if not result.is_dir():
        reconstruction, trajectory, is_metric = None, read_trajectory(result), False
    else:
        reconstruction = read_result(result)
        trajectory = Trajectory(reconstruction.timestamps_s, reconstruction.world_from_cam)
        is_metric = reconstruction.is_metric
    poses = depth = masks = None
    if truth.trajectory is not None:
        poses = _compare_poses(trajectory, truth.trajectory, is_metric, options)
    if reconstruction is not None:
        depth = _compare_depth(reconstruction, truth, options)
        masks = _compare_masks(reconstruction, truth, options)
    if poses is None and depth is None and masks is None:
        raise InputError(_nothing_in_common(result, truth, reconstruction))
    stated = None
    if reconstruction is not None and truth.trajectory is not None and poses is not None:
        stated = _compare_stated(reconstruction, trajectory, truth.trajectory, poses, options)
    steady = None if reconstruction is None else _steady_depth(reconstruction)
    return Evaluation(str(result), str(gt), is_metric, poses, depth, masks, stated, steady)


def steadiness_alone(result: Path) -> Evaluation:
    """What can be said of a result folder without any truth."""
    if not result.is_dir():
        raise InputError(
            f"{result} is no result folder, of which alone something can be said without the truth; add --gt"
        )
    found = read_result(result)
    steady = _steady_depth(found)
    if steady is None:
        raise InputError(f"no two frames of {result} in a row have depth; add --gt")
    return Evaluation(str(result), None, found.is_metric, None, None, None, steady_depth=steady)


def _steady_depth(reconstruction: Result) -> SteadyDepth | None:
    return depth_steadiness(reconstruction, flow_method("dis"), len(os.sched_getaffinity(0)))


def _compare_stated(
    reconstruction: Result,
    trajectory: Trajectory,
    truth: Trajectory,
    poses: PoseErrors,
    options: EvalOptions,
) -> StatedPoses | None:
    covariance = reconstruction.pose_covariance
    if covariance is None or poses.scale is None:
        return None
    return stated_poses(trajectory, truth, covariance, poses.scale, options.max_diff_s)


def _compare_poses(
    trajectory: Trajectory, truth: Trajectory, is_metric: bool, options: EvalOptions
) -> PoseErrors:
    align = options.align
    if align == "auto":
        align = "se3" if is_metric else "sim3"
    return pose_errors(trajectory, truth, align, options.max_diff_s)


@dataclass(frozen=True)
class _DepthFrame:
    """The pixels of a frame that have true depth."""

    prediction: Float32[np.ndarray, " pixels"]
    truth: Float32[np.ndarray, " pixels"]
    is_moving: Bool[np.ndarray, " pixels"]
    std: Float32[np.ndarray, " pixels"] | None
    """As stated, of the prediction; None: nothing is stated."""


def _compare_depth(
    reconstruction: Result, truth: Truth, options: EvalOptions
) -> DepthReport | None:
    frames = _depth_frames(reconstruction, truth, options)
    if not frames:
        return None
    scale, shift = _align_depth(frames, truth, options)
    static, moving = np.zeros(9), np.zeros(9)
    for frame in frames:
        aligned, is_known = scale * frame.prediction + shift, frame.prediction > 0
        for sums, chosen in ((static, ~frame.is_moving), (moving, frame.is_moving)):
            sums += error_sums(aligned[chosen], frame.truth[chosen], is_known[chosen])
    *_, static_pixels = static
    *_, moving_pixels = moving
    has_masks = bool(truth.mask_by_stem)
    return DepthReport(
        depth_scale=options.depth_scale,
        scale=scale,
        shift=shift,
        frames=len(frames),
        all=mean_errors(static + moving),
        static=mean_errors(static) if has_masks and static_pixels else None,
        moving=mean_errors(moving) if has_masks and moving_pixels else None,
        within_std=_share_within(frames, scale, shift),
    )


def _depth_frames(reconstruction: Result, truth: Truth, options: EvalOptions) -> list[_DepthFrame]:
    frames = []
    for i, (time_s, source) in enumerate(_frames(reconstruction)):
        depth_file = truth.depth_file(time_s, source, options.max_diff_s)
        if depth_file is None:
            continue
        true = read_true_depth(depth_file, options.depth_factor)
        valid = (true > NEAREST_TRUTH_M) & (true < FARTHEST_TRUTH_M)
        is_moving = np.zeros(true.shape, bool)
        mask_file = truth.mask_file(source, depth_file)
        if mask_file is not None:
            is_moving = resize_nearest(read_true_mask(mask_file).astype(np.uint8), true.shape) > 0
        predicted = resize_nearest(reconstruction.depth[i], true.shape)
        stated = None
        if reconstruction.depth_std is not None:
            stated = resize_nearest(reconstruction.depth_std[i].astype(np.float32), true.shape)[
                valid
            ]
        frames.append(_DepthFrame(predicted[valid], true[valid], is_moving[valid], stated))
    return frames if any(frame.truth.size for frame in frames) else []


def _share_within(frames: list[_DepthFrame], scale: float, shift: float) -> float | None:
    """Share of the aligned depth's errors within one stated standard deviation."""
    within, pixels = 0, 0
    for frame in frames:
        if frame.std is None:
            return None
        use = (frame.prediction > 0) & np.isfinite(frame.std)
        off = np.abs(scale * frame.prediction + shift - frame.truth)
        within += int((off < scale * frame.std)[use].sum())
        pixels += int(use.sum())
    return within / pixels if pixels else None


def _align_depth(
    frames: list[_DepthFrame], truth: Truth, options: EvalOptions
) -> tuple[float, float]:
    """Scale and shift of the whole sequence, from the known pixels."""
    known = [frame.prediction > 0 for frame in frames]
    prediction = np.concatenate([f.prediction[k] for f, k in zip(frames, known, strict=True)])
    if not prediction.size:
        raise InputError(
            f"the result has no depth at any of the pixels that have true depth in {truth.path}; is --depth-factor "
            f"{options.depth_factor:g} right?"
        )
    true = np.concatenate([f.truth[k] for f, k in zip(frames, known, strict=True)])
    return ALIGNMENTS[options.depth_scale](prediction, true)


def _compare_masks(reconstruction: Result, truth: Truth, options: EvalOptions) -> MaskReport | None:
    regions, contours = [], []
    for i, (time_s, source) in enumerate(_frames(reconstruction)):
        depth_file = truth.depth_file(time_s, source, options.max_diff_s)
        mask_file = truth.mask_file(source, depth_file)
        if mask_file is not None:
            true_mask = read_true_mask(mask_file)
            found = (
                resize_nearest(reconstruction.is_dynamic[i].astype(np.uint8), true_mask.shape) > 0
            )
            regions.append(jaccard(found, true_mask))
            contours.append(contour_f(found, true_mask))
    if not regions:
        return None
    region, contour = statistics(np.array(regions)), statistics(np.array(contours))
    return MaskReport(
        frames=len(regions),
        jaccard=region.mean,
        jaccard_recall=region.recall,
        contour=contour.mean,
        contour_recall=contour.recall,
        steady=steadiness(reconstruction, flow_method("dis"), len(os.sched_getaffinity(0))),
    )


def _frames(reconstruction: Result) -> list[tuple[float, str]]:
    times_s = reconstruction.timestamps_s.tolist()
    return list(zip(times_s, reconstruction.sources, strict=True))


def _nothing_in_common(result: Path, truth: Truth, reconstruction: Result | None) -> str:
    if reconstruction is None:
        return f"{result} is a trajectory, and --gt {truth.path} has none; give a truth with poses, or a result folder"
    return (
        f"no depth or mask of --gt {truth.path} belongs to a frame of {result} (its first is "
        f"{reconstruction.sources[0]} at {reconstruction.timestamps_s[0]:g} s); their names or times must match"
    )
