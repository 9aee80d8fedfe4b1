"""The benchmark of kinds: its clips show what they are named after, and its table is made of their figures."""

import dataclasses

import numpy as np
import pytest

from benchmarks.kinds import KINDS, frames_of
from recon4d.masks.train.worlds.clip import film
from recon4d.masks.train.worlds.cutouts import random_outline
from recon4d.masks.train.worlds.material import Material, procedural

SIZE = (96, 64)


@pytest.fixture(scope="module")
def material() -> Material:
    """Noise for photographs; blobs and figures, tall and low, for objects."""
    rng = np.random.default_rng(0)
    photographs = tuple(procedural(rng, 256)[: 160 + 32 * (k % 2)] for k in range(4))
    objects = []
    for k in range(6):
        picture = np.ascontiguousarray(procedural(rng, 96)[:, : 40 if k % 2 else 96])
        cut = random_outline(rng, picture)
        objects.append(dataclasses.replace(cut, photograph=k % 4, corner=(3, 3)))
    return Material(photographs, tuple(objects))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_directed_and_its_seed_decides_everything(
    kind: str, material: Material
) -> None:
    shots = [KINDS[kind](np.random.default_rng(3), material, SIZE) for _ in range(2)]
    assert 16 <= frames_of(shots[0]) <= 24
    first, again = (film(dataclasses.replace(s, exposure=0.0), 2, None) for s in shots)
    assert np.array_equal(first.images, again.images)
    assert (first.surface >= 0).mean() > 0.999, "there is a hole in the world"
    assert any(patch.mover >= 0 for patch in shots[0].patches)
