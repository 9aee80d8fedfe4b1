"""What the batch optimizer sees: a fixed number of samples per frame, and where each partner frame sees them.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.sampling import sample_at, sample_shape, shrink
from recon4d.core.scene import FLOW_STRIDE, Flow
from recon4d.optim.objective.camera_terms import CameraTerm
from recon4d.optim.objective.sample_terms import SampleTerm

GUESS_PX = 0.05
"""Weight of a depth prior that is only a guess: an error of 100 % costs as much as this residual, pixels."""

Term = CameraTerm | SampleTerm

FEWEST_SAMPLES = 48
"""Per frame: a relative pose needs 40 (`recon4d.optim.start.two_view`)."""


@dataclass(frozen=True)
class Problem:
    """Measurements of the batch optimization, padded to the same number of partners for every frame."""

    samples_px: Float[Tensor, "frames 2 samples"]
    """(u, v) of each sample in its own frame."""
    partners: Int64[Tensor, "frames slots"]
    """Frame that each slot points to; slots without a partner point to their own frame and have weight 0."""
    targets_px: Float[Tensor, "frames slots 2 samples"]
    """(u, v) where the flow says that the sample appears in the partner."""
    weight: Float[Tensor, "frames slots samples"]
    """Weight of the flow measurement: its confidence times (1 - M), in [0, 1]."""
    prior_inverse_depth: Float[Tensor, "frames samples"]
    """What the backbone says about inverse depth."""
    prior_weight: Float[Tensor, "frames samples"]
    """Square root of the information of the prior's relative error, in pixels per unit of relative error."""
    terms: tuple[Term, ...] = ()
    """What is measured or expected besides, of cameras and of depth."""

    def __post_init__(self) -> None:
        for term in self.terms:
            if not isinstance(term, CameraTerm | SampleTerm):
                raise ConfigError(
                    f"{type(term).__name__} is no term of the objective; it needs what CameraTerm or SampleTerm of "
                    "recon4d.optim.objective has"
                )

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return int(self.samples_px.shape[0])

    @property
    def camera_terms(self) -> tuple[CameraTerm, ...]:
        """Those of `terms` that touch cameras."""
        return tuple(term for term in self.terms if isinstance(term, CameraTerm))

    @property
    def sample_terms(self) -> tuple[SampleTerm, ...]:
        """Those of `terms` that touch samples' depth."""
        return tuple(term for term in self.terms if isinstance(term, SampleTerm))

    def window(self, first: int, last: int) -> "Problem":
        """Frames first..last-1 alone; measurements that point outside are dropped."""
        partners = self.partners[first:last] - first
        inside = (partners >= 0) & (partners < last - first)
        own = torch.arange(last - first, device=partners.device)
        return replace(
            self,
            samples_px=self.samples_px[first:last],
            partners=torch.where(inside, partners, own[:, None]),
            targets_px=self.targets_px[first:last],
            weight=self.weight[first:last] * inside[..., None],
            prior_inverse_depth=self.prior_inverse_depth[first:last],
            prior_weight=self.prior_weight[first:last],
            terms=tuple(part for term in self.terms if (part := term.of(first + own))),
        )

    def connected(self, component: Int64[np.ndarray, " frames"]) -> "Problem":
        """Without the measurements between different pieces, and those of lost frames (piece -1)."""
        piece = torch.from_numpy(np.array(component)).to(self.partners)
        same = (piece[:, None] == piece[self.partners]) & (piece[:, None] >= 0)
        return replace(self, weight=self.weight * same[..., None])

    def thinned(self, step: int) -> "Problem":
        """Every so-manieth sample alone."""
        return self.chosen(slice(None, None, step))

    def chosen(self, samples: Int64[Tensor, " chosen"] | slice) -> "Problem":
        """Some of the samples of every frame alone."""
        return replace(
            self,
            samples_px=self.samples_px[..., samples].contiguous(),
            targets_px=self.targets_px[..., samples].contiguous(),
            weight=self.weight[..., samples].contiguous(),
            prior_inverse_depth=self.prior_inverse_depth[..., samples].contiguous(),
            prior_weight=self.prior_weight[..., samples].contiguous(),
            terms=(*self.camera_terms, *(term.chosen(samples) for term in self.sample_terms)),
        )

    def with_terms(self, *terms: Term) -> "Problem":
        """The same problem with more terms."""
        return replace(self, terms=(*self.terms, *terms))

    def measures_depth(self, frame: int) -> bool:
        """Whether the prior of a frame is a measurement, not a guess, for at least a third of its samples."""
        return bool((self.prior_weight[frame] > GUESS_PX).float().mean() > 1 / 3)

    def with_prior_scaled(self, factor: float) -> "Problem":
        """The same problem with the prior inverse depth multiplied by a factor."""
        return replace(self, prior_inverse_depth=self.prior_inverse_depth * factor)

    def with_static_weight(self, static: Float[Tensor, "frames samples"]) -> "Problem":
        """Multiply the flow weights of every sample by the probability that it is static."""
        return replace(self, weight=self.weight * static[:, None, :])


def sample_positions(
    images: UInt8[np.ndarray, "frames height width 3"], grid_px: int
) -> Int64[np.ndarray, "frames samples 2"]:
    """Choose the most textured `Flow` sample of every cell of a grid, finer where small images have too few.

    Flow is exact at corners and a guess on blank walls, so every cell is represented by its best corner (largest
    smaller eigenvalue of the structure tensor; Shi and Tomasi, CVPR 1994).

    Returns:
        (row, col) indices into the sampling of `Flow`.
    """
    rows, cols = sample_shape((images.shape[2], images.shape[1]))
    cell = grid_px // FLOW_STRIDE
    while (rows // cell) * (cols // cell) < FEWEST_SAMPLES and cell > 1:
        cell //= 2
    return np.stack([_best_corners(image, cell) for image in images])


def _best_corners(
    image: UInt8[np.ndarray, "height width 3"], cell: int
) -> Int64[np.ndarray, "samples 2"]:
    gray = cv2.cvtColor(shrink(image), cv2.COLOR_RGB2GRAY)
    score = cv2.cornerMinEigenVal(gray, blockSize=5)
    rows, cols = gray.shape[0] // cell, gray.shape[1] // cell
    blocks = score[: rows * cell, : cols * cell].reshape(rows, cell, cols, cell)
    best = blocks.transpose(0, 2, 1, 3).reshape(rows * cols, cell * cell).argmax(-1)
    row, col = np.divmod(np.arange(rows * cols), cols)
    return np.stack((row * cell + best // cell, col * cell + best % cell), axis=-1)


def build_problem(flow: Flow, samples: Int64[np.ndarray, "frames samples 2"]) -> Problem:
    """Gather the flow of every sample to every partner. The depth prior is the guess 1."""
    num_frames, num_samples = samples.shape[:2]
    edges_of: list[list[int]] = [[] for _ in range(num_frames)]
    for edge, (source, _) in enumerate(flow.edges):
        edges_of[int(source)].append(edge)
    slots = max((len(edges) for edges in edges_of), default=0)
    partners = np.repeat(np.arange(num_frames)[:, None], slots, axis=1)
    targets = np.zeros((num_frames, slots, 2, num_samples), np.float32)
    weight = np.zeros((num_frames, slots, num_samples), np.float32)
    samples_px = np.ascontiguousarray(sample_at(samples).transpose(0, 2, 1))
    for frame, edges in enumerate(edges_of):
        row, col = samples[frame].T
        for slot, edge in enumerate(edges):
            partners[frame, slot] = flow.edges[edge, 1]
            moved = flow.flow_px[edge][row, col].astype(np.float32)
            targets[frame, slot] = samples_px[frame] + moved.T
            weight[frame, slot] = flow.confidence[edge][row, col] / np.float32(255)
    prior = torch.ones((num_frames, num_samples))
    return Problem(
        samples_px=torch.from_numpy(samples_px),
        partners=torch.from_numpy(partners),
        targets_px=torch.from_numpy(targets),
        weight=torch.from_numpy(weight),
        prior_inverse_depth=prior,
        prior_weight=GUESS_PX * prior,
    )
