"""Bundle adjustment of a clip between keyframes whose pose, depth and focal length are held exactly."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool

from recon4d.core.geometry import invert_rigid
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.optim.align import static_problem
from recon4d.optim.assemble import interpolate_lost, inverse_depth_std
from recon4d.optim.objective.problem import Term
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions, Setting
from recon4d.optim.solve.jackknife import HeldMoves, Moves


def setting_between(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    held: Bool[np.ndarray, " frames"],
    options: AlignOptions,
    terms: tuple[Term, ...] = (),
) -> Setting:
    """The optimization of a clip in which some frames are held.

    A focal length that all frames share is the keyframes': it is held throughout. Where every frame has its own, those
    of the frames that are not held are free.

    A clip without any measured depth (the camera stands or only turns) turns its free frames, nothing else.

    Args:
        video: The clip.
        flow: Of the clip.
        scene: Where to start, in the world of the held frames.
        motion: Of the clip.
        held: Keyframes.
        options: Of the optimizer.
        terms: More terms of the objective, in the frame and scale of the scene.
    """
    problem = static_problem(video, flow, scene, motion, options)
    own = options.following(scene)
    setting = Setting(problem, scene.component, video, own, held=held, terms=terms)
    return replace(setting, turns_only=scene.turns_only)


def optimise_between(setting: Setting, scene: Scene, progress: Progress = no_progress) -> Scene:
    """Optimise the frames that are not held; poses, depth and focal length of the others come back bit by bit.

    Args:
        setting: Made by `setting_between`.
        scene: Where to start, as there.
        progress: Told about both runs.
    """
    state = start = State.of(scene)
    task, held = setting.task(start), _held(setting)
    free = torch.from_numpy((scene.component >= 0) & ~held)
    with progress("align clip", total=2) as counter:
        # not narrowed to the noise: keyframes, held where they may be off by more, have to pull at what lies between
        for kernel_px in (3 * setting.options.kernel_px, setting.options.kernel_px):
            if bool(free.any()):
                starts = _starts(setting, state, scene) if state is start else [state]
                ends = [_restored(task.solve(s, kernel_px), start, ~free) for s in starts]
                costs = [task.cost(end, kernel_px) for end in ends]
                state = ends[int(np.argmin(costs))]
            counter.advance()
    return _finish(setting, state, scene, ~free.numpy())


def moves_between(setting: Setting, scene: Scene, of_held: Moves) -> Moves:
    """Jackknife replicates of the cameras when held ones are off as they are said to be.

    Args:
        setting: That of `optimise_between`.
        scene: What it found.
        of_held: Replicates of the held frames.
    """
    state = State.of(scene)
    task = replace(setting, turns_only=scene.turns_only).task(state)
    held = HeldMoves(_held(setting), of_held)
    return task.moves(state, setting.options.kernel_px, keeps_scale=False, held=held)


def _held(setting: Setting) -> Bool[np.ndarray, " frames"]:
    assert setting.held is not None, "frames are held"
    return setting.held


def _starts(setting: Setting, state: State, scene: Scene) -> list[State]:
    """Where frames may be that are not held: as they came, or on the way from keyframe to keyframe.

    The second is right where the clip alone went wrong and the keyframes, which see farther, did not.
    """
    held = _held(setting)
    if held.sum() < 2 or not (scene.component == scene.component[0]).all():
        return [state]
    poses = interpolate_lost(np.array(scene.world_from_cam), held, setting.video.timestamps_s)
    between = invert_rigid(torch.from_numpy(poses))
    keep = torch.from_numpy(held)[:, None, None]
    return [state, replace(state, cam_from_world=torch.where(keep, state.cam_from_world, between))]


def _restored(state: State, start: State, held: Bool[torch.Tensor, " frames"]) -> State:
    """Undo what rounding did to held frames (poses are made orthonormal after every step)."""
    return replace(
        state,
        cam_from_world=torch.where(held[:, None, None], start.cam_from_world, state.cam_from_world),
        inverse_depth=torch.where(held[:, None], start.inverse_depth, state.inverse_depth),
        intrinsics=torch.where(held[:, None], start.intrinsics, state.intrinsics),
    )


def _finish(
    setting: Setting, state: State, scene: Scene, held: Bool[np.ndarray, " frames"]
) -> Scene:
    """The scene with held frames as they were; nothing is known of depth where the camera only turns."""
    poses = np.linalg.inv(np.asarray(state.cam_from_world.cpu()))
    poses[held] = scene.world_from_cam[held]
    rho = np.asarray(state.inverse_depth.cpu(), np.float32).copy()
    rho[held] = scene.inverse_depth[held]
    std = inverse_depth_std(setting.problem, state).astype(np.float32)
    if setting.turns_only:
        std[:] = np.inf
    std[scene.component < 0] = np.inf
    return replace(
        scene,
        world_from_cam=poses,
        intrinsics=np.asarray(state.intrinsics.cpu()),
        inverse_depth=rho,
        inverse_depth_std=std,
        notices=(),
    )
