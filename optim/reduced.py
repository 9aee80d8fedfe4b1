"""The reduced camera system: where frames' local blocks go in a banded matrix, bordered by the shared focal length."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from recon4d.optim.normal import FOCAL_WALK_PX, Freedom, SolveOptions, acceleration, focal_walk
from recon4d.optim.problem import Problem
from recon4d.optim.state import State

MAX_FOCAL_STEP = 0.2
"""Largest change of the log focal in one step."""


@dataclass(frozen=True)
class Layout:
    """Where the local blocks go in the banded matrix."""

    columns: Int64[Tensor, "frames block"]
    """Column of each unknown of the cameras of a local block (own, partners)."""
    camera: int
    """Unknowns per camera."""
    bandwidth: int
    """Sub-diagonals of the reduced camera system."""
    size: int

    @classmethod
    def of(cls, problem: Problem, options: SolveOptions) -> "Layout":
        """The places of a problem's local blocks."""
        camera = 7 if options.has_own_focals else 6
        own = torch.arange(problem.num_frames, device=problem.partners.device)[:, None]
        frames = torch.cat((own, problem.partners), dim=1)
        span = int((frames.amax(1) - frames.amin(1)).max())
        unknowns = torch.arange(camera, device=frames.device)
        return cls(
            columns=(camera * frames[..., None] + unknowns).flatten(1),
            camera=camera,
            bandwidth=camera * span + camera - 1,
            size=camera * problem.num_frames,
        )

    def band(
        self, blocks: Float[Tensor, "frames block block"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Sum of the cameras' parts of local matrices, in LAPACK's lower banded storage."""
        block = self.columns.shape[1]
        row = self.columns[:, :, None].expand(-1, -1, block)
        column = self.columns[:, None, :].expand(-1, block, -1)
        keep = row >= column
        flat = (row - column)[keep] * self.size + column[keep]
        band = blocks.new_zeros((self.bandwidth + 1) * self.size)
        band.index_add_(0, flat, blocks[:, :block, :block][keep])
        return np.asarray(band.reshape(self.bandwidth + 1, self.size).cpu())

    def vector(self, blocks: Float[Tensor, "frames block"]) -> Float[np.ndarray, " columns"]:
        """Sum of the cameras' parts of local vectors."""
        out = blocks.new_zeros(self.size)
        out.index_add_(0, self.columns.flatten(), blocks[:, : self.columns.shape[1]].flatten())
        return np.asarray(out.cpu())


@dataclass(frozen=True)
class Border:
    """Row and column of the log focal in the reduced system."""

    column: Float[np.ndarray, " columns"]
    corner: float
    slope: float


def solve_bordered(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    border: Border | None,
) -> tuple[Float[np.ndarray, " columns"], float]:
    """Steps of the poses and of the log focal (by block elimination; 0 where it is known).

    Raises:
        numpy.linalg.LinAlgError: The matrix is not positive definite: nothing determines some direction.
    """
    factor = cholesky_banded(band, lower=True, check_finite=False)
    if border is None:
        return np.asarray(-cho_solve_banded((factor, True), rhs, check_finite=False)), 0.0
    both = cho_solve_banded((factor, True), np.stack((rhs, border.column), 1), check_finite=False)
    pivot = max(border.corner - float(border.column @ both[:, 1]), 1e-12)
    focal = -(border.slope - float(border.column @ both[:, 0])) / pivot
    focal = float(np.clip(focal, -MAX_FOCAL_STEP, MAX_FOCAL_STEP))
    return np.asarray(-both[:, 0] - focal * both[:, 1]), focal


def add_smoothness(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    layout: Layout,
    problem: Problem,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
) -> None:
    """Add the smoothness of the camera's path to the reduced system, in place."""
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return
    weight, second_differences = acceleration(problem, state, options)
    rotation = state.cam_from_world[:, :3, :3]
    # the centre moves by -R^T v for the translation part v of a left twist
    free = freedom.twists()[:, None, 3:]
    jac = (-rotation.transpose(1, 2) * free).cpu().numpy()
    factors = (1.0, -2.0, 1.0)
    for k, second in enumerate(second_differences.cpu().numpy()):
        for a in range(3):
            ja, at = factors[a] * jac[k + a], layout.camera * (k + a) + 3
            rhs[at : at + 3] += weight * ja.T @ second
            for b in range(a + 1):
                product = weight * ja.T @ (factors[b] * jac[k + b])
                left = layout.camera * (k + b) + 3
                row, column = np.mgrid[at : at + 3, left : left + 3]
                lower = row >= column
                band[(row - column)[lower], column[lower]] += product[lower]


def add_focal_walk(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    state: State,
    freedom: Freedom,
    options: SolveOptions,
) -> None:
    """Add what is expected of frames' own focal lengths to the reduced system, in place."""
    usual, steps = (residuals.cpu().numpy() for residuals in focal_walk(state, options))
    free = freedom.cameras(own_focal=True)[:, 6].cpu().numpy().astype(np.float64)
    before, after = slice(6, -7, 7), slice(13, None, 7)
    usual_px = options.focal_px / len(usual) ** 0.5
    rhs[6::7] += usual_px * usual * free
    band[0, 6::7] += usual_px**2 * free
    rhs[before] -= FOCAL_WALK_PX * steps * free[:-1]
    rhs[after] += FOCAL_WALK_PX * steps * free[1:]
    band[0, before] += FOCAL_WALK_PX**2 * free[:-1]
    band[0, after] += FOCAL_WALK_PX**2 * free[1:]
    band[7, before] -= FOCAL_WALK_PX**2 * free[:-1] * free[1:]
