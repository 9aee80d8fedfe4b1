"""Starts for a video with little parallax, whose depth may come out in inverted order: near below, and near above.

Little motion in a narrow view has two explanations that differ by the order of depth and the direction of motion (the
bas-relief and Necker reversals; Szeliski and Kang, PAMI 1997). Growing from one pair, and the optimizer after it, end
in that one which explains a mover beside the static world. Both are tried, from cameras that only turn.

Numbers here that name no source were set by hand.
"""

from dataclasses import replace

import torch

from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import Setting
from recon4d.optim.solve.solver import solve

NEAREST_AND_FARTHEST = (1.0, 0.1)
"""Inverse depth at the near and the far border of the picture: a ramp of ten to one."""
WIDE_PX, NARROWER_PX = 6.0, (3.0, 1.0)
"""Scales of the robust kernel, from wide to narrow."""
STEPS = 30
"""Most steps with the widest kernel."""


def from_relief(setting: Setting, turning: State, *, near_below: bool) -> State:
    """Cameras and depth that grow out of a ramp of depth: first poses alone, then all.

    Args:
        setting: Of the optimization; its problem is not weighted by what moves.
        turning: Cameras that turn, see `recon4d.optim.start.turning`.
        near_below: The ground is near at the bottom of the picture, as it mostly is; or else the reverse.
    """
    problem = setting.problem
    start = replace(turning, inverse_depth=_ramp(problem, setting.video.size[1], near_below))
    task = setting.task(start)
    held = replace(task.freedom, depth=torch.zeros_like(task.freedom.depth))
    wide = SolveOptions(kernel_px=WIDE_PX, max_steps=STEPS)
    state = solve(task.problem, start, held, wide)
    state = solve(task.problem, state, task.freedom, wide)
    for kernel_px in NARROWER_PX:
        state = setting.task(state).solve(state, kernel_px)
    return state


def _ramp(problem: Problem, height: int, near_below: bool) -> torch.Tensor:
    """Inverse depth of every sample by its row."""
    near, far = NEAREST_AND_FARTHEST
    down = problem.samples_px[:, 1] / height
    return far + (near - far) * (down if near_below else 1 - down)
