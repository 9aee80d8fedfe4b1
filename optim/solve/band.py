"""The reduced camera system: where frames' local blocks go in a banded matrix, bordered by the shared focal length.

The band is kept as LAPACK does (row k holds the k-th sub-diagonal), in float64, on the device of the problem. On the
CPU LAPACK solves it; on other devices a Cholesky factorisation of the block tridiagonal matrix that a band is when it
is cut into blocks as wide as itself. Neither makes the host wait for the device.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from recon4d.optim.objective.camera_terms import Linear, Rows
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom

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
        reach = max((term.reach for term in problem.camera_terms), default=0)
        span = max(span, min(reach, problem.num_frames - 1))
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
    most: float = MAX_FOCAL_STEP
    """Largest step of the log focal."""


@dataclass(frozen=True)
class Reduced:
    """The reduced camera system, with the column of a focal length that all share (meaningless where none is free)."""

    band: Float64[Tensor, "rows columns"]
    rhs: Float64[Tensor, " columns"]
    diagonal: Float64[Tensor, " columns"]
    """What steps are damped by."""
    column: Float64[Tensor, " columns"]
    corner: Float64[Tensor, ""]
    expected: Float64[Tensor, ""]
    """Part of the corner that is expected beforehand, and not damped."""
    slope: Float64[Tensor, ""]

    @classmethod
    def of(
        cls,
        hessian: Float64[Tensor, "frames block block"],
        gradient: Float64[Tensor, "frames block"],
        diagonal: Float64[Tensor, "frames block"],
        layout: Layout,
    ) -> "Reduced":
        """The sum of local blocks whose depths are eliminated; `diagonal` is theirs before that."""
        return cls(
            band=layout.band(hessian),
            rhs=layout.vector(gradient),
            diagonal=layout.vector(diagonal),
            column=layout.vector(hessian[:, :, -1]),
            corner=hessian[:, -1, -1].sum(),
            expected=hessian.new_zeros(()),
            slope=gradient[:, -1].sum(),
        )

    def plus(self, other: "Reduced", sign: float = 1.0) -> "Reduced":
        """Sum or difference."""
        mine, others = vars(self), vars(other)
        return Reduced(**{name: mine[name] + sign * others[name] for name in mine})

    def with_terms(
        self, problem: Problem, linears: tuple[Linear, ...], freedom: Freedom, layout: Layout
    ) -> "Reduced":
        """The system with the terms of the cameras, which `linears` has at the state."""
        sums = {name: tensor.clone() for name, tensor in vars(self).items()}
        free = freedom.cameras(own_focal=layout.camera == 7)
        for term, linear in zip(problem.camera_terms, linears, strict=True):
            for rows in linear.rows:
                if rows.unknowns.start < layout.camera:
                    diagonal = sums["diagonal"] if term.is_measured else None
                    _add_rows(rows, sums["band"], sums["rhs"], diagonal, free, layout)
                else:
                    by_focal = rows.jacobian[..., 0].sum(1)
                    corner = sums["corner" if term.is_measured else "expected"]
                    corner += (rows.weight * by_focal.mT @ by_focal).sum()
                    sums["slope"] += (rows.weight * (by_focal * rows.residual).sum(1)).sum()
        return Reduced(**sums)

    def solved(
        self,
        fixed: Bool[Tensor, " columns"],
        damping: float,
        shared_focal: bool,
        most: float = MAX_FOCAL_STEP,
    ) -> tuple[Float64[Tensor, " columns"], Float64[Tensor, ""]]:
        """Steps of the cameras and of a shared log focal, 0 where none is free; NaN: something is not determined.

        The focal length steps by no more than `most`.
        """
        band = self.band.clone()
        held = torch.where(fixed | (band[0] <= 0), 1.0, 1e-9)
        band[0] += damping * self.diagonal + held
        corner = self.corner * (1 + damping) + self.expected
        border = Border(self.column, corner, self.slope, most) if shared_focal else None
        return solve_bordered(band, self.rhs, border)


def _add_rows(
    rows: Rows,
    band: Float64[Tensor, "rows columns"],
    rhs: Float64[Tensor, " columns"],
    diagonal: Float64[Tensor, " columns"] | None,
    free: Bool[Tensor, "frames camera"],
    layout: Layout,
) -> None:
    """Add the normal equations of linearised residuals, in place."""
    unknowns = torch.arange(rows.unknowns.start, rows.unknowns.stop, device=band.device)
    places = layout.camera * rows.frames[..., None] + unknowns
    jacobian = rows.jacobian * free[rows.frames][:, :, None, rows.unknowns]
    weight, flat = rows.weight[..., None, None], band.view(-1)
    for a in range(rows.frames.shape[1]):
        by_a, row = jacobian[:, a], places[:, a]
        slope = by_a.mT @ rows.residual[..., None]
        rhs.index_add_(0, row.flatten(), (weight * slope).flatten())
        for b in range(a + 1):
            product = weight * by_a.mT @ jacobian[:, b]
            column = places[:, None, b]
            apart = row[:, :, None] - column
            place = apart.clamp_min(0) * layout.size + column
            flat.index_add_(0, place.flatten(), (product * (apart >= 0)).flatten())
            if diagonal is not None and a == b:
                own = product.diagonal(dim1=1, dim2=2)
                diagonal.index_add_(0, row.flatten(), own.flatten())


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
    focal = focal.clamp(-border.most, border.most)
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
