"""How a lens bends the view: OpenCV's radial model, and its fisheye, on the plane z = 1.

A point of that plane at distance m from the axis is seen at distance d: `d = m g(m^2)` of a radial lens, and
`d = a g(a^2)` with `a = atan(m)` of a fisheye, where `g(x) = 1 + k1 x + k2 x^2 + ...`.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

INVERSION_STEPS = 12
"""Newton steps that invert a lens: from a pinhole, float32 is exact after 6 of them for every lens of a phone."""
LEAST_SLOPE = 0.05
"""Change of the seen distance with the true one below which a lens sees nothing: it would fold the picture over."""
LARGEST_ANGLE = 1.5
"""Angle from the axis beyond which no plane shows a ray, radians (86 degrees)."""
LARGEST_PLANAR = 14.0
"""The same on the plane z = 1: farther out, where a lens folds the picture over, numbers would overflow."""
TINY = 1e-9
"""Distance from the axis below which directions are not told apart."""


@dataclass(frozen=True)
class Straight:
    """Where points that a lens shows lie on the plane z = 1, and how that changes."""

    planar: Float[Tensor, "*batch 2 samples"]
    along: Float[Tensor, "*batch samples"]
    """Change of the distance from the axis with the seen distance."""
    by_terms: Float[Tensor, "terms *batch 2 samples"]
    """Derivative of `planar` by the coefficients of the lens."""
    across: Float[Tensor, "*batch samples"]
    """Distance from the axis over the seen distance."""
    is_seen: Bool[Tensor, "*batch samples"]
    """Whether the lens can show a point there."""


@dataclass(frozen=True)
class Bent:
    """Where a lens shows points of the plane z = 1, and how that changes."""

    seen: Float[Tensor, "*batch 2 samples"]
    across: Float[Tensor, "*batch samples"]
    """Seen distance from the axis over the true one: what a step around the axis is multiplied by."""
    stretch: Float[Tensor, "*batch samples"]
    """What a step outwards is multiplied by besides, over the squared distance: `across + stretch m^2`."""
    by_terms: Float[Tensor, "terms *batch 2 samples"]
    is_seen: Bool[Tensor, "*batch samples"]


@dataclass(frozen=True)
class Bending:
    """The distortion of a lens."""

    terms: tuple[float, ...] = ()
    """k1, k2, ...; none: a pinhole, or an equidistant fisheye."""
    is_fisheye: bool = False

    def straightened(self, seen: Float[Tensor, "*batch 2 samples"]) -> Straight:
        """Where on the plane z = 1 what is seen lies: the distortion undone."""
        distance = seen.square().sum(-2).sqrt().clamp_min(TINY)
        most = LARGEST_ANGLE if self.is_fisheye else LARGEST_PLANAR
        root = distance.clamp(max=most)
        for _ in range(INVERSION_STEPS if self.terms else 0):
            error = root * self._factor(root * root) - distance
            root = root - error / self._slope(root * root).clamp_min(2 * LEAST_SLOPE)
            root = root.clamp(min=0.0, max=most)
        squared = root * root
        slope = self._slope(squared)
        left = (root * self._factor(squared) - distance).abs()
        is_seen = (slope > LEAST_SLOPE) & (left < 1e-3 * (1 + distance))
        rate = 1 / slope.clamp_min(LEAST_SLOPE)
        by_terms = [-root * squared ** (at + 1) * rate for at in range(len(self.terms))]
        true = root
        if self.is_fisheye:
            true = root.tan()
            widening = 1 + true * true
            rate, by_terms = rate * widening, [part * widening for part in by_terms]
        unit = seen / distance[..., None, :]
        return Straight(
            planar=unit * true[..., None, :],
            along=rate,
            by_terms=_stacked([unit * part[..., None, :] for part in by_terms], seen),
            across=true / distance,
            is_seen=is_seen,
        )

    def bent(self, planar: Float[Tensor, "*batch 2 samples"]) -> Bent:
        """Where the lens shows points of the plane z = 1."""
        true2 = planar.square().sum(-2)
        if not self.is_fisheye:
            factor, slope = self._factor(true2), self._slope(true2)
            stretch = 2 * self._rate(true2)
            powers = [true2 ** (at + 1) for at in range(len(self.terms))]
            return self._as_bent(planar, factor, stretch, powers, slope > LEAST_SLOPE)
        true = true2.sqrt().clamp_min(1e-4)
        angle = true.atan()
        squared = angle * angle
        factor = angle * self._factor(squared) / true
        slope = self._slope(squared)
        stretch = (slope / (1 + true2) - factor) / (true * true)
        powers = [angle * squared ** (at + 1) / true for at in range(len(self.terms))]
        return self._as_bent(planar, factor, stretch, powers, slope > LEAST_SLOPE)

    def _as_bent(
        self,
        planar: Float[Tensor, "*batch 2 samples"],
        factor: Float[Tensor, "*batch samples"],
        stretch: Float[Tensor, "*batch samples"],
        powers: list[Tensor],
        is_seen: Bool[Tensor, "*batch samples"],
    ) -> Bent:
        by_terms = _stacked([planar * power[..., None, :] for power in powers], planar)
        return Bent(planar * factor[..., None, :], factor, stretch, by_terms, is_seen)

    def _factor(self, squared: Tensor) -> Tensor:
        """The factor g."""
        out = torch.ones_like(squared)
        for at, term in enumerate(self.terms, start=1):
            out = out + term * squared**at
        return out

    def _slope(self, squared: Tensor) -> Tensor:
        """Derivative of `x g(x^2)` by x."""
        out = torch.ones_like(squared)
        for at, term in enumerate(self.terms, start=1):
            out = out + (2 * at + 1) * term * squared**at
        return out

    def _rate(self, squared: Tensor) -> Tensor:
        """Derivative of g by its argument."""
        out = torch.zeros_like(squared)
        for at, term in enumerate(self.terms, start=1):
            out = out + at * term * squared ** (at - 1)
        return out


def _stacked(parts: list[Tensor], like: Float[Tensor, "*batch 2 samples"]) -> Tensor:
    return torch.stack(parts) if parts else like.new_zeros((0, *like.shape))
