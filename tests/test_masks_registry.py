"""The methods by name, and the user's own masks."""

from pathlib import Path

import numpy as np
import pytest

from recon4d import masks
from recon4d.core.errors import ConfigError
from recon4d.core.scene import FLOW_STRIDE, MotionMasks
from recon4d.masks.given import given_masks
from recon4d.run.methods import Methods
from recon4d.run.reconstruct import finish_masks
from recon4d.settings.config import RunConfig
from tests.synthetic import make_scene


def test_an_unknown_method_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="residual, none"):
        masks.method("magic")


def test_none_masks_nothing_and_needs_no_rounds() -> None:
    made = make_scene(3, (64, 48), seed=0)
    method = masks.method("none")
    motion = method.masks(masks.Seen(made.video, made.flow, None), made.scene)
    assert motion.probability.shape == (3, 24, 32)
    assert not motion.probability.any() and not method.depends_on_scene


def test_the_users_masks_cover_every_sample_that_they_touch() -> None:
    given = np.zeros((2, 48, 64), bool)
    given[0, 10, 20] = True
    probability = given_masks(given).probability
    assert probability[0, 10 // FLOW_STRIDE, 20 // FLOW_STRIDE] == 1
    assert probability.sum() == 1


def test_the_users_masks_are_written_as_they_are() -> None:
    made = make_scene(3, (64, 48), seed=0)
    given = np.random.default_rng(0).random((3, 48, 64)) > 0.5
    motion = given_masks(given)
    methods = Methods.of(RunConfig(input=Path("x"), masks="residual"))
    found = finish_masks(methods, masks.Seen(made.video, made.flow), made.scene, motion, given)
    assert (found.is_dynamic == given).all()


def test_refinement_follows_its_name() -> None:
    made = make_scene(3, (64, 48), seed=0)
    motion = MotionMasks(np.zeros((3, 24, 32), np.float32))
    motion.probability[:, 4:5, 4:5] = 1  # a single sample: a speck
    seen = masks.Seen(made.video, made.flow)
    assert masks.refiner("none")(seen, motion, False).is_dynamic.any()
    assert not masks.refiner("edges")(seen, motion, False).is_dynamic.any()
