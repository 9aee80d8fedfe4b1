"""Points in steps of their uncertainty, which a slider of the page shows and hides together.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from recon4d.results.cloud import PointCloud
from recon4d.results.colours import StdScale, percent

LEVELS = 16
"""Steps of the slider that hides uncertain points; the points of each are sent once."""


@dataclass(frozen=True)
class Levels:
    """Points by their standard deviation: what the slider shows and hides together."""

    scale: StdScale | None
    upper: Float64[np.ndarray, " levels"]
    """Largest relative standard deviation of each level but the last, which has all that is above or not known."""

    @classmethod
    def of(cls, scale: StdScale | None) -> "Levels":
        """Levels even in the logarithm; a single one where nothing is known."""
        ends = np.zeros(0) if scale is None else np.geomspace(scale.low, scale.high, LEVELS)
        return cls(scale, ends)

    @property
    def last(self) -> int:
        """The level up to which everything is shown; at least 1, because a slider has two ends."""
        return max(len(self.upper), 1)

    def name(self, level: int) -> str:
        """What is shown up to a level."""
        return "all" if level >= len(self.upper) else f"up to {percent(self.upper[level])}"

    def split(self, cloud: PointCloud) -> dict[int, PointCloud]:
        """The points of every level that has any."""
        if self.scale is None:
            return {0: cloud}
        level = np.searchsorted(self.upper, cloud.relative_std)
        return {int(one): cloud.select(level == one) for one in np.unique(level)}
