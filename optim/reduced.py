"""The reduced camera system: where frames' local blocks go in a banded matrix, bordered by the shared focal length.

The band is kept as LAPACK does (row k holds the k-th sub-diagonal), in float64, on the device of the problem. On the
CPU LAPACK solves it; on other devices a Cholesky factorisation of the block tridiagonal matrix that a band is when it
is cut into blocks as wide as itself. Neither makes the host wait for the device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from recon4d.optim.normal import FOCAL_WALK_PX, Freedom, SolveOptions, acceleration, focal_walk
from recon4d.optim.problem import Problem
from recon4d.optim.state import State

MAX_FOCAL_STEP = 0.2
"""Largest change of the log focal in one step."""


@dataclass(frozen=True)
class Layout:
    """Where the local blocks go in the banded matrix; found once per optimization."""

    columns: Int64[Tensor, "frames block"]
    """Column of each unknown of the cameras of a local block (own, partners)."""
    camera: int
    """Unknowns per camera."""
    bandwidth: int
    """Sub-diagonals of the reduced camera system."""
    size: int
    taken: Int64[Tensor, " entries"]
    """Entries of the flattened blocks that lie on the diagonal of the matrix or below ..."""
    places: Int64[Tensor, " entries"]
    """... and where in the flattened band they go."""

    @classmethod
    def of(cls, problem: Problem, options: SolveOptions) -> "Layout":
        """The places of a problem's local blocks."""
        camera = 7 if options.has_own_focals else 6
        own = torch.arange(problem.num_frames, device=problem.partners.device)[:, None]
        frames = torch.cat((own, problem.partners), dim=1)
        span = int((frames.amax(1) - frames.amin(1)).max())
        if options.smoothness > 0:
            span = max(span, min(2, problem.num_frames - 1))
        unknowns = torch.arange(camera, device=frames.device)
        columns, size = (camera * frames[..., None] + unknowns).flatten(1), camera * len(frames)
        below = columns[:, :, None] - columns[:, None, :]
        taken = torch.nonzero(below.flatten() >= 0)[:, 0]
        column = columns[:, None, :].expand_as(below).flatten()[taken]
        return cls(
            columns=columns,
            camera=camera,
            bandwidth=camera * span + camera - 1,
            size=size,
            taken=taken,
            places=below.flatten()[taken] * size + column,
        )

    def band(
        self, blocks: Float64[Tensor, "frames block block"]
    ) -> Float64[Tensor, "rows columns"]:
        """Sum of the cameras' parts of local matrices, in LAPACK's lower banded storage."""
        block = self.columns.shape[1]
        band = blocks.new_zeros((self.bandwidth + 1) * self.size)
        band.index_add_(0, self.places, blocks[:, :block, :block].flatten()[self.taken])
        return band.view(self.bandwidth + 1, self.size)

    def vector(self, blocks: Float64[Tensor, "frames block"]) -> Float64[Tensor, " columns"]:
        """Sum of the cameras' parts of local vectors."""
        out = blocks.new_zeros(self.size)
        return out.index_add_(
            0, self.columns.flatten(), blocks[:, : self.columns.shape[1]].flatten()
        )


@dataclass(frozen=True)
class Border:
    """Row and column of the log focal in the reduced system."""

    column: Float64[Tensor, " columns"]
    corner: Float64[Tensor, ""]
    slope: Float64[Tensor, ""]


def solve_bordered(
    band: Float64[Tensor, "rows columns"], rhs: Float64[Tensor, " columns"], border: Border | None
) -> tuple[Float64[Tensor, " columns"], Float64[Tensor, ""]]:
    """Steps of the poses and of the log focal (by block elimination; 0 where it is known).

    NaN where the matrix is not positive definite: nothing determines some direction.
    """
    if border is None:
        return -solve_banded(band, rhs[:, None])[:, 0], rhs.new_zeros(())
    both = solve_banded(band, torch.stack((rhs, border.column), dim=1))
    pivot = (border.corner - border.column @ both[:, 1]).clamp_min(1e-12)
    focal = -(border.slope - border.column @ both[:, 0]) / pivot
    focal = focal.clamp(-MAX_FOCAL_STEP, MAX_FOCAL_STEP)
    return -both[:, 0] - focal * both[:, 1], focal


def solve_banded(
    band: Float64[Tensor, "rows columns"], rhs: Float64[Tensor, "columns sides"]
) -> Float64[Tensor, "columns sides"]:
    """Solution of a symmetric positive definite banded system; NaN where it is not positive definite."""
    if band.device.type != "cpu":
        return solve_block_tridiagonal(band, rhs)
    try:
        factor = cholesky_banded(band.numpy(), lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return torch.full_like(rhs, torch.nan)
    return torch.from_numpy(cho_solve_banded((factor, True), rhs.numpy(), check_finite=False))


def solve_block_tridiagonal(
    band: Float64[Tensor, "rows columns"], rhs: Float64[Tensor, "columns sides"]
) -> Float64[Tensor, "columns sides"]:
    """The same in torch alone (Golub and Van Loan, Matrix Computations, 4th edition, section 4.5.1)."""
    size, sides = rhs.shape
    diagonal, below = _blocks(band)
    count, width = diagonal.shape[:2]
    parts = rhs.new_zeros((count * width, sides))
    parts[:size] = rhs
    parts = parts.view(count, width, sides)
    factors: list[Tensor] = []
    links: list[Tensor] = []
    solved: list[Tensor] = []
    for k in range(count):
        block, part = diagonal[k], parts[k]
        if k > 0:  # what the block before has taken over
            links.append(
                torch.linalg.solve_triangular(factors[-1], below[k - 1].mT, upper=False).mT
            )
            block, part = block - links[-1] @ links[-1].mT, part - links[-1] @ solved[-1]
        factor, failed = torch.linalg.cholesky_ex(block)
        factors.append(torch.where(failed > 0, torch.nan, factor))
        solved.append(torch.linalg.solve_triangular(factors[-1], part, upper=False))
    for k in reversed(range(count)):
        part = solved[k] if k == count - 1 else solved[k] - links[k].mT @ solved[k + 1]
        solved[k] = torch.linalg.solve_triangular(factors[k].mT, part, upper=True)
    return torch.cat(solved)[:size]


def _blocks(
    band: Float64[Tensor, "rows columns"],
) -> tuple[Float64[Tensor, "blocks width width"], Float64[Tensor, "links width width"]]:
    """The blocks on the diagonal and below it; the last one is filled up with ones on its diagonal."""
    rows, size = band.shape
    width = min(max(rows - 1, 1), size)
    count = -(-size // width)
    padded = band.new_zeros((2 * width, count * width))
    padded[:rows, :size] = band[: 2 * width]
    padded[0, size:] = 1
    index = torch.arange(width, device=band.device)
    column = (torch.arange(count, device=band.device)[:, None] * width + index)[:, None, :]
    apart = index[:, None] - index
    lower = padded[apart.clamp_min(0), column] * (apart >= 0)
    lower = lower + lower.tril(-1).mT
    return lower, padded[apart + width, column[:-1]]


def add_smoothness(
    band: Float64[Tensor, "rows columns"],
    rhs: Float64[Tensor, " columns"],
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
    by_twist = -rotation.transpose(1, 2) * freedom.twists()[:, None, 3:]
    triples, flat = len(second_differences), band.view(-1)
    unknown = torch.arange(3, device=band.device)
    first = layout.camera * torch.arange(triples, device=band.device)[:, None] + 3 + unknown
    factors = (1.0, -2.0, 1.0)
    jacobians = [factor * by_twist[a : a + triples] for a, factor in enumerate(factors)]
    for a, by_a in enumerate(jacobians):
        row = first + layout.camera * a
        slope = by_a.mT @ second_differences[..., None]
        rhs.index_add_(0, row.flatten(), (weight * slope).flatten())
        for b, by_b in enumerate(jacobians[: a + 1]):
            column = first + layout.camera * b
            product = weight * by_a.mT @ by_b
            apart = row[:, :, None] - column[:, None, :]
            place = apart.clamp_min(0) * layout.size + column[:, None, :]
            flat.index_add_(0, place.flatten(), (product * (apart >= 0)).flatten())


def add_focal_walk(
    band: Float64[Tensor, "rows columns"],
    rhs: Float64[Tensor, " columns"],
    state: State,
    freedom: Freedom,
    options: SolveOptions,
) -> None:
    """Add what is expected of frames' own focal lengths to the reduced system, in place."""
    usual, steps = focal_walk(state, options)
    free = freedom.cameras(own_focal=True)[:, 6].to(band.dtype)
    before, after = slice(6, -7, 7), slice(13, None, 7)
    usual_px = options.focal_px / len(usual) ** 0.5
    rhs[6::7] += usual_px * usual * free
    band[0, 6::7] += usual_px**2 * free
    rhs[before] -= FOCAL_WALK_PX * steps * free[:-1]
    rhs[after] += FOCAL_WALK_PX * steps * free[1:]
    band[0, before] += FOCAL_WALK_PX**2 * free[:-1]
    band[0, after] += FOCAL_WALK_PX**2 * free[1:]
    band[7, before] -= FOCAL_WALK_PX**2 * free[:-1] * free[1:]
