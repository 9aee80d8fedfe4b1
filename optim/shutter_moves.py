"""What a readout that is off by as much as it is said to be adds to the stated uncertainty of the poses."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64

from recon4d.core.geometry import invert_rigid, log_so3
from recon4d.optim.objective.unknowns import State
from recon4d.optim.rolling import PROBE_S, Unrolling, probed
from recon4d.optim.setting import Setting
from recon4d.optim.solve.jackknife import Moves
from recon4d.optim.solve.uncertainty import scale_growth


def with_readout(
    moves: Moves, setting: Setting, state: State, kernel_px: float, keeps_scale: bool
) -> Moves:
    """Replicates of the cameras whose readout is that without the same region of the image.

    Args:
        moves: Replicates at one readout.
        setting: With flow that is corrected for it.
        state: The optimum.
        kernel_px: Of the last optimization.
        keeps_scale: As in `recon4d.optim.solve.uncertainty`.
    """
    shutter = setting.video.shutter
    if shutter is None or shutter.is_given or not moves.is_used.any():
        return moves
    own_s = shutter.readout_s
    way = Unrolling(setting, is_upwards=own_s < 0)
    here = way.shift_px(state, own_s)

    def at(apart_s: float) -> Setting:
        more = way.shift_px(state, own_s + apart_s) - here
        moved = setting.problem.targets_px - more
        return replace(setting, problem=replace(setting.problem, targets_px=moved))

    profile, (low, high) = probed(at, state, kernel_px)
    used = profile.is_used & moves.is_used
    if not np.isfinite(profile.sigma_s) or not used.any():
        return moves
    apart_s = np.where(used, profile.without_s - profile.without_s[used].mean(), 0.0)
    by_second = _change(low, high, moves.cameras.shape[2]) / (2 * PROBE_S)
    more = apart_s[:, None, None] * by_second
    growth = moves.growth
    if not keeps_scale:
        growth = growth + scale_growth(more[..., :6], np.asarray(state.cam_from_world.cpu()))
    log_focal, told_focal = moves.log_focal, moves.told_focal
    if setting.frees_focal and not setting.options.own_focals:
        ratio = float(torch.log(high.intrinsics[0, 0] / low.intrinsics[0, 0]))
        longer = apart_s * ratio / (2 * PROBE_S)
        log_focal, told_focal = log_focal + longer, told_focal + longer
    return replace(
        moves,
        cameras=moves.cameras + more,
        log_focal=log_focal,
        told_focal=told_focal,
        growth=growth,
    )


def _change(low: State, high: State, size: int) -> Float64[np.ndarray, "frames camera"]:
    """Left twist, and log focal where it is asked for, from one state's cameras to another's."""
    step = high.cam_from_world @ invert_rigid(low.cam_from_world)
    parts = [log_so3(step[:, :3, :3]), step[:, :3, 3]]
    if size > 6:
        parts.append(torch.log(high.intrinsics[:, :1] / low.intrinsics[:, :1]))
    return np.asarray(torch.cat(parts, dim=1).cpu())
