"""Gauge, uncertainty, lost frames and notices: from the optimizer's state to a `Scene`.

Numbers here that name no source were set by hand.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.transform import Rotation, Slerp

from recon4d.core.geometry import invert_rigid
from recon4d.core.pinhole import view_angle
from recon4d.core.scene import KnownPoses, Notice, Scene, Video
from recon4d.core.similarity import Similarity
from recon4d.core.text import spans
from recon4d.optim.given_poses import pose_notices, turned_to_given
from recon4d.optim.objective.noise import FLOW_SIGMA_PX
from recon4d.optim.objective.normal_equations import SolveOptions, depth_information
from recon4d.optim.objective.problem import GUESS_PX, Problem
from recon4d.optim.objective.unknowns import State
from recon4d.optim.start.parallax import parallax_px

FAR_FROM_ONE = 5.0
"""A median depth beyond this, or below its inverse, is brought to 1, scene units."""
LOW_PARALLAX_DEG = 1.0
"""Median parallax angle between the farthest compared frames below which depth is said to be weak."""


def assemble(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    turns_only: bool,
    known: KnownPoses | None = None,
) -> Scene:
    """Express the state in the first camera's frame, or that of given poses, with standard deviations and notices.

    Args:
        problem: The measurements.
        state: The optimised unknowns.
        component: Connected piece of each frame, -1 = lost.
        video: Its times place lost frames between others.
        turns_only: The cameras share one centre, so nothing is known of depth.
        known: Given poses that the state is optimised with, and whose frame it has.
    """
    posed, main, is_metric = component >= 0, main_piece(component), video.is_metric
    world_from_cam = np.asarray(invert_rigid(state.cam_from_world).cpu())
    rho = np.asarray(state.inverse_depth.cpu(), np.float64)
    std = inverse_depth_std(problem, state)
    if turns_only:
        std = np.full_like(std, np.inf)
    rho[~posed] = np.median(rho[main])
    std[~main] = np.inf
    if not is_metric:
        _place_pieces(world_from_cam, rho, component)
    world_from_cam = interpolate_lost(world_from_cam, posed, video.timestamps_s)
    intrinsics = np.asarray(state.intrinsics.cpu())
    focal_px = float(np.median(intrinsics[:, 0]))
    angle_deg = float(np.degrees(view_angle(parallax_px(problem, state, main), focal_px)))
    if known is None:
        world_from_cam = np.linalg.inv(world_from_cam[0]) @ world_from_cam
    if turns_only and video.poses is not None:
        world_from_cam = turned_to_given(world_from_cam, video.poses)
    return Scene(
        world_from_cam=world_from_cam,
        intrinsics=_interpolate_focal(intrinsics, posed, video.timestamps_s),
        samples_px=np.ascontiguousarray(problem.samples_px.transpose(1, 2).cpu()),
        inverse_depth=rho.astype(np.float32),
        inverse_depth_std=std.astype(np.float32),
        is_posed=main,
        is_metric=is_metric,
        component=component,
        is_pose_trusted=None if known is None else known.is_given,
        notices=_parallax_notice(turns_only, angle_deg)
        + lost_notices(component)
        + pose_notices(video.poses, known, turns_only),
    )


def sanely_scaled(scene: Scene) -> Scene:
    """The same with the median of the depth that is measured at 1, where it is far from that and the scale is free."""
    measured = np.isfinite(scene.inverse_depth_std)
    if scene.is_metric or scene.is_pose_trusted is not None or not measured.any():
        return scene
    depth = float(1 / np.median(scene.inverse_depth[measured]))
    if 1 / FAR_FROM_ONE < depth < FAR_FROM_ONE:
        return scene
    return Similarity(1 / depth, np.eye(3), np.zeros(3)).scene(scene)


def main_piece(component: Int64[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """The frames of the largest piece: those whose poses are measured in one common frame."""
    names, counts = np.unique(component[component >= 0], return_counts=True)
    return np.asarray(component == names[counts.argmax()])


def inverse_depth_std(problem: Problem, state: State) -> Float64[np.ndarray, "frames samples"]:
    """Standard deviation with the cameras fixed; infinite where it exceeds the value itself."""
    rho = state.inverse_depth
    information = depth_information(problem, state, SolveOptions(kernel_px=1.0))
    measured = problem.prior_weight > GUESS_PX
    prior = torch.where(measured, problem.prior_weight / problem.prior_inverse_depth, 0.0)
    std = FLOW_SIGMA_PX / (information + prior**2).clamp_min(1e-20).sqrt()
    return np.asarray(torch.where(std > rho, torch.inf, std).cpu(), np.float64)


def _place_pieces(
    world_from_cam: Float64[np.ndarray, "frames 4 4"],
    rho: Float64[np.ndarray, "frames samples"],
    component: Int64[np.ndarray, " frames"],
) -> None:
    """Give every other piece the main piece's median depth, and let it go on where its neighbour in time stands."""
    main = main_piece(component)
    for piece in np.unique(component[(component >= 0) & ~main]):
        own = component == piece
        scale = np.median(rho[main]) / np.median(rho[own])
        rho[own] *= scale
        world_from_cam[own, :3, 3] /= scale
        frames, anchors = np.nonzero(own)[0], np.nonzero(main)[0]
        gaps = np.abs(frames[:, None] - anchors)
        here, there = np.unravel_index(gaps.argmin(), gaps.shape)
        move = world_from_cam[anchors[there]] @ np.linalg.inv(world_from_cam[frames[here]])
        world_from_cam[own] = move @ world_from_cam[own]


def interpolate_lost(
    world_from_cam: Float64[np.ndarray, "frames 4 4"],
    posed: Bool[np.ndarray, " frames"],
    timestamps_s: Float64[np.ndarray, " frames"],
) -> Float64[np.ndarray, "frames 4 4"]:
    """Lost frames between posed ones move evenly; before the first and after the last the camera stands still."""
    if posed.all():
        return world_from_cam
    out = world_from_cam.copy()
    known, when = timestamps_s[posed], np.clip(timestamps_s, *timestamps_s[posed][[0, -1]])
    for axis in range(3):
        out[~posed, axis, 3] = np.interp(when[~posed], known, world_from_cam[posed, axis, 3])
    if posed.sum() > 1:
        turn = Slerp(known, Rotation.from_matrix(world_from_cam[posed, :3, :3]))
        out[~posed, :3, :3] = turn(when[~posed]).as_matrix()
    return out


def _interpolate_focal(
    intrinsics: Float64[np.ndarray, "frames 4"],
    posed: Bool[np.ndarray, " frames"],
    timestamps_s: Float64[np.ndarray, " frames"],
) -> Float64[np.ndarray, "frames 4"]:
    """Lost frames have the focal length between those of their posed neighbours in time."""
    out = intrinsics.copy()
    for axis in range(2):
        out[~posed, axis] = np.interp(
            timestamps_s[~posed], timestamps_s[posed], intrinsics[posed, axis]
        )
    return out


def _parallax_notice(turns_only: bool, angle_deg: float) -> tuple[Notice, ...]:
    if turns_only:
        message = (
            "The camera does not translate (no parallax): rotations are measured, but depth is unknown "
            "and is set to a constant with confidence 0."
        )
        return (Notice("no_parallax", message),)
    if angle_deg < LOW_PARALLAX_DEG:
        message = (
            f"The parallax is low ({angle_deg:.2f} degrees between compared frames): "
            "rotations are good, depth and translation are weak."
        )
        return (Notice("low_parallax", message),)
    return ()


def lost_notices(component: Int64[np.ndarray, " frames"]) -> tuple[Notice, ...]:
    """What the user should know of frames without a pose, and of pieces beside the largest."""
    lost = tuple(int(i) for i in np.nonzero(component < 0)[0])
    main = main_piece(component)
    pieces = np.unique(component[(component >= 0) & ~main])
    apart = (tuple(int(i) for i in np.nonzero(component == piece)[0]) for piece in pieces)
    return (*((lost_notice(lost),) if lost else ()), *(piece_notice(frames) for frames in apart))


def lost_notice(frames: tuple[int, ...]) -> Notice:
    """Of frames without a pose."""
    rest = (
        "its pose is interpolated, its"
        if len(frames) == 1
        else "their poses are interpolated, their"
    )
    message = f"{spans(frames).capitalize()} could not be tracked: {rest} confidence is 0."
    return Notice("lost_frames", message, frames)


def piece_notice(frames: tuple[int, ...]) -> Notice:
    """Of a piece beside the largest."""
    message = (
        f"{spans(frames).capitalize()} share no view with the rest (a cut?): they are reconstructed on their own and "
        "placed by guess, at confidence 0."
    )
    return Notice("disconnected", message, frames)
