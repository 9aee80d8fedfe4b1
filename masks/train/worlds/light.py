"""Shadows and reflections as affine maps of the world onto the ground.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from recon4d.masks.train.worlds.planes import Patch
from recon4d.masks.train.worlds.spaces import Space

ABOVE_GROUND = 0.004
"""Shadows lie above the ground by this part of the world's depth, lest rounding hides them."""
NO_SHADOWS = 0.25
"""Part of the worlds without."""

Affine = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Light:
    """Where shadows fall."""

    slope: tuple[float, float]
    """Displacement in x and z of the shadow of what is one unit above the floor."""
    strength: float
    """Opacity of shadows; 0 where none are seen."""

    def onto(self, ground: "Ground") -> Affine:
        """The projection of the world onto a ground along the light."""
        x, z = self.slope
        way = np.array([x, 1, z])
        found = np.eye(4)
        found[:3, :3] -= np.outer(way, ground.normal) / (way @ ground.normal)
        found[:3, 3] = way * ground.offset / (way @ ground.normal)
        return found


@dataclass(frozen=True)
class Ground:
    """The plane `normal . point = offset` that a thing stands on; normal (0, 1, tilt)."""

    normal: Float64[np.ndarray, "3"]
    offset: float

    @classmethod
    def under(cls, parts: Sequence[Patch], space: Space) -> "Ground":
        """The space's floor; in a photograph a plane through the foot of the thing."""
        floor, z = space.floor, 0.0
        if not space.has_floor:
            low = [float(p.origin[1] + max(p.down[1], 0) + max(p.across[1], 0)) for p in parts]
            floor, z = max(low), float(parts[0].origin[2])
        normal = np.array([0, 1, space.tilt])
        return cls(normal, floor + space.tilt * z - ABOVE_GROUND * space.depth)

    def mirror(self) -> Affine:
        """Reflection in the plane."""
        found = np.eye(4)
        square = self.normal @ self.normal
        found[:3, :3] -= 2 * np.outer(self.normal, self.normal) / square
        found[:3, 3] = 2 * self.normal * self.offset / square
        return found


def random_light(rng: np.random.Generator) -> Light:
    """High or low, hard or hardly there."""
    azimuth, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.5)
    strength = 0.0 if rng.random() < NO_SHADOWS else float(rng.uniform(0.2, 0.8))
    return Light((length * np.cos(azimuth), length * np.sin(azimuth)), strength)
