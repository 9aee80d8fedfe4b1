"""Pose priors: bringing an estimate to the frame and scale of given poses, finding the wrong ones, holding the others.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.errors import InputError
from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import KnownPoses, Notice, Scene, Video
from recon4d.core.similarity import Similarity
from recon4d.optim.objective.camera_terms import GivenPoses
from recon4d.optim.objective.noise import FLOW_SIGMA_PX
from recon4d.optim.objective.unknowns import State
from recon4d.optim.register import Registration, Tolerance, register

SOFTNESS = (0.01, 0.001)
"""Standard deviations, as parts of the path's extent, with which given poses draw the estimate to themselves before
they are held: wide first, so that a wrong one that was missed shows against the flow."""
OTHER_UNIT = 1.1
"""A given path longer or shorter than the sensor's by this factor is in another unit."""

Refine = Callable[[State, KnownPoses], State]
"""Optimises a state with given poses."""


def trusted_poses(video: Video, scene: Scene) -> KnownPoses | None:
    """The given poses that are used; None where there are none."""
    if video.poses is None or scene.is_pose_trusted is None:
        return None
    return replace(video.poses, is_given=np.array(scene.is_pose_trusted))


def held_poses(known: KnownPoses) -> Bool[np.ndarray, " frames"]:
    """Poses that do not move: exact ones, and a single one, which is the world's frame."""
    exact = known.sigma == 0 or known.is_given.sum() == 1
    return np.asarray(known.is_given & exact)


def pose_prior(known: KnownPoses | None, state: State) -> tuple[GivenPoses, ...]:
    """The term of poses that are given with an uncertainty, if any; a turn weighs as it shows at the median depth."""
    if known is None:
        return ()
    soft = known.is_given & ~held_poses(known)
    if not soft.any():
        return ()
    inverse_depth = float(state.inverse_depth[torch.from_numpy(known.is_given)].median())
    weight = torch.from_numpy(soft).to(state.cam_from_world) * (FLOW_SIGMA_PX / known.sigma)
    given = torch.from_numpy(np.array(known.world_from_cam)).to(state.cam_from_world)
    return (GivenPoses(given, centre_px=weight, turn_px=weight / inverse_depth),)


def unpulling_scale(ratio: Float[Tensor, "*samples"]) -> float:
    """What a depth prior is multiplied by so as not to pull at poses; the scene's inverse depth over it is given.

    A prior g costs the sum of (rho / g - 1)^2; scaling all rho changes that to first order by
    the sum of rho / g (rho / g - 1).
    """
    return float(ratio.square().sum() / ratio.sum())


def place(
    state: State,
    given: KnownPoses,
    main: Bool[np.ndarray, " frames"],
    refine: Refine,
    *,
    is_metric: bool,
) -> tuple[State, KnownPoses | None]:
    """Bring an estimate to the frame and scale of the given poses and hold those that fit.

    Args:
        state: Cameras that were estimated without the given poses.
        given: Poses of some frames.
        main: Frames whose cameras are measured in one frame; poses of others cannot be judged and are not used.
        refine: Optimises.
        is_metric: The estimate is in metres.

    Returns:
        The state, and the poses that are used from now on; None where no frame of `main` has one.

    Raises:
        InputError: The given poses contradict the video, or are in another unit than the sensor depth.
    """
    usable = replace(given, is_given=given.is_given & main)
    if not usable.is_given.any():
        return state, None
    state, known = _registered(state, usable, main, is_metric)
    for softness in SOFTNESS:
        soft = softness * _extent(state, main)
        state = refine(state, replace(known, sigma=max(soft, usable.sigma)))
        state, known = _registered(state, usable, main, is_metric)
    return refine(snapped(state, known), known), known


def regained(
    state: State, video: Video, known: KnownPoses, main: Bool[np.ndarray, " frames"]
) -> KnownPoses | None:
    """The used poses and those that a worse estimate did not fit to and this one does; None where there are none."""
    assert video.poses is not None
    usable = replace(video.poses, is_given=video.poses.is_given & main)
    _, fitting = _registered(state, usable, main, video.is_metric)
    if not (fitting.is_given & ~known.is_given).any():
        return None
    return replace(known, is_given=known.is_given | fitting.is_given)


def _registered(
    state: State, given: KnownPoses, main: Bool[np.ndarray, " frames"], is_metric: bool
) -> tuple[State, KnownPoses]:
    """The state in the given frame, and the given poses that fit."""
    use = given.is_given
    found = np.asarray(invert_rigid(state.cam_from_world).cpu())[use]
    depth = 1 / float(state.inverse_depth[torch.from_numpy(main)].median())
    tolerance = Tolerance(_extent(state, main), depth, given.sigma)
    registration = register(found, given.world_from_cam[use], tolerance)
    if is_metric:
        _check_unit(registration)
        registration = register(found, given.world_from_cam[use], tolerance, scale=1.0)
    fits = use.copy()
    fits[use] = registration.fits
    return _moved(state, registration.similarity), replace(given, is_given=fits)


def _extent(state: State, main: Bool[np.ndarray, " frames"]) -> float:
    """Diagonal of the box around the path."""
    centres = np.asarray(invert_rigid(state.cam_from_world).cpu())[main, :3, 3]
    return float(np.linalg.norm(np.ptp(centres, axis=0)))


def _check_unit(registration: Registration) -> None:
    scale = registration.similarity.scale
    if registration.has_scale and not 1 / OTHER_UNIT < scale < OTHER_UNIT:
        raise InputError(
            f"the path of the given poses is {scale:.3g} times as long as the path that the sensor depth measures in "
            "metres; give poses in metres, or leave --geometry rgbd out"
        )


def _moved(state: State, similarity: Similarity) -> State:
    world_from_cam = similarity.poses(np.asarray(invert_rigid(state.cam_from_world).cpu()))
    return replace(
        state,
        cam_from_world=invert_rigid(torch.from_numpy(world_from_cam).to(state.cam_from_world)),
        inverse_depth=state.inverse_depth / similarity.scale,
    )


def snapped(state: State, known: KnownPoses) -> State:
    """The state with the poses that are held at their places."""
    keep = torch.from_numpy(held_poses(known)).to(state.cam_from_world.device)
    given = torch.from_numpy(np.array(known.world_from_cam)).to(state.cam_from_world)
    poses = torch.where(keep[:, None, None], invert_rigid(given), state.cam_from_world)
    return replace(state, cam_from_world=poses)


def turned_to_given(world_from_cam: np.ndarray, poses: KnownPoses) -> np.ndarray:
    """Cameras that share one centre, turned to the given orientations and put at the mean of the given centres.

    Raises:
        InputError: The given orientations contradict the video.
    """
    use = poses.is_given
    given = poses.world_from_cam.copy()
    given[:, :3, 3] = given[use, :3, 3].mean(0)
    registration = register(world_from_cam[use], given[use], Tolerance(extent=1.0, depth=1.0))
    return registration.similarity.poses(world_from_cam)


def pose_notices(
    given: KnownPoses | None, used: KnownPoses | None, turns_only: bool
) -> tuple[Notice, ...]:
    """What became of the given poses.

    Args:
        given: All that match a frame.
        used: Those that are held.
        turns_only: The cameras share one centre.
    """
    if given is None or not given.is_given.any():
        return ()
    if turns_only:
        message = "The camera does not translate: of the given poses only orientation and mean centre are used."
        return (Notice("poses_without_path", message),)
    number = int(given.is_given.sum())
    if used is None:
        message = f"None of the {number} given poses is of a frame that could be tracked: they are not used."
        return (Notice("poses_unused", message),)
    left = tuple(int(frame) for frame in np.flatnonzero(given.is_given & ~used.is_given))
    notices = []
    if left:
        message = (
            f"{len(left)} of {number} given poses do not fit to the video and to the others, or are of frames that "
            "could not be tracked: they are not used."
        )
        notices.append(Notice("poses_dropped", message, left))
    centres = used.world_from_cam[used.is_given, :3, 3]
    if np.ptp(centres, axis=0).max() == 0:
        message = "The given poses that are used share one centre: they tell no scale, which stays arbitrary."
        notices.append(Notice("poses_without_scale", message))
    return tuple(notices)
