"""The methods by name, and the user's own masks."""

import numpy as np
import pytest

from recon4d import masks
from recon4d.core.errors import ConfigError
from recon4d.core.scene import FLOW_STRIDE, MotionMasks
from tests.synthetic import make_scene


def test_an_unknown_method_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="residual, none"):
        masks.method("magic")


def test_none_masks_nothing_and_needs_no_rounds() -> None:
    made = make_scene(3, (64, 48), seed=0)
    method = masks.method("none")
    motion = method.masks(masks.Observed(made.video, made.flow, None), made.scene)
    assert motion.probability.shape == (3, 24, 32)
    assert not motion.probability.any() and not method.depends_on_scene


def test_the_users_masks_cover_every_sample_that_they_touch() -> None:
    given = np.zeros((2, 48, 64), bool)
    given[0, 10, 20] = True
    probability = masks.given_masks(given).probability
    assert probability[0, 10 // FLOW_STRIDE, 20 // FLOW_STRIDE] == 1
    assert probability.sum() == 1


def test_the_users_masks_are_written_as_they_are() -> None:
    made = make_scene(3, (64, 48), seed=0)
    given = np.random.default_rng(0).random((3, 48, 64)) > 0.5
    motion = masks.given_masks(given)
    for refine in ("edges", "none"):
        assert (masks.finish(refine, made.video, motion, given, 1).is_dynamic == given).all()


def test_refinement_follows_its_name() -> None:
    made = make_scene(3, (64, 48), seed=0)
    motion = MotionMasks(np.zeros((3, 24, 32), np.float32))
    motion.probability[:, 4:5, 4:5] = 1  # a single sample: a speck
    assert masks.finish("none", made.video, motion, None, 1).is_dynamic.any()
    assert not masks.finish("edges", made.video, motion, None, 1).is_dynamic.any()
