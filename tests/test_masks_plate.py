"""The background plate, and what the texture of the image says about the flow."""

import numpy as np
import torch

from recon4d.core.sampling import shrink
from recon4d.core.scene import FLOW_STRIDE
from recon4d.masks.evidence.plate import STEP, Surfaces, plate_log_odds
from recon4d.masks.evidence.texture import mahalanobis2, texture_covariance
from tests.synthetic import SyntheticScene, make_scene

FRAMES, SIZE = 12, (192, 144)
FRAME = 6


def plate_of(made: SyntheticScene, images: np.ndarray) -> np.ndarray:
    """Log-odds of one frame with exact depth and exact static pixels."""
    every, half = FLOW_STRIDE * STEP, FLOW_STRIDE // 2
    depth = made.depth[:, half::every, half::every]
    static = (~made.is_dynamic[:, half::every, half::every]).astype(np.float32)
    rho = np.asarray(1 / np.maximum(depth, 0.1), np.float32)
    return plate_log_odds(FRAME, images, Surfaces(rho, rho * 1e-3, static), made.scene)


def halves(made: SyntheticScene) -> np.ndarray:
    return np.stack([shrink(image) for image in made.video.images])


def test_the_plate_tells_a_mover_from_the_static_world() -> None:
    made = make_scene(FRAMES, SIZE, seed=3, mover=True)
    odds = plate_of(made, halves(made))
    half = FLOW_STRIDE // 2
    moving = made.is_dynamic[FRAME, half::FLOW_STRIDE, half::FLOW_STRIDE]
    assert (
        odds[moving].mean() > 1
    )  # no say where the mover hides the same place 4 and 8 frames apart
    assert np.median(odds[~moving]) < -1
    assert (odds[~moving] > 0).mean() < 0.06  # depth edges; the flow decides there


def test_a_change_of_exposure_is_not_motion() -> None:
    made = make_scene(FRAMES, SIZE, seed=3)
    images = halves(made).copy()
    images[FRAME] = (images[FRAME] * 0.7).astype(np.uint8)
    assert (plate_of(made, images) > 0).mean() < 0.02


def test_a_shadow_is_not_motion_but_another_colour_is() -> None:
    made = make_scene(FRAMES, SIZE, seed=3)
    shaded, painted = halves(made).copy(), halves(made).copy()
    place = np.s_[FRAME, 20:50, 30:60]
    shaded[place] = (shaded[place] * 0.7).astype(np.uint8)
    painted[place] = 255 - painted[place][..., ::-1]
    assert np.median(plate_of(made, shaded)[place[1:]]) < 0.5
    assert np.median(plate_of(made, painted)[place[1:]]) > 2


def test_without_other_frames_the_plate_has_no_say() -> None:
    made = make_scene(3, SIZE, seed=3)  # no two frames are as far apart as the plate's sources
    every = FLOW_STRIDE * STEP
    rho = np.ones((3, SIZE[1] // every, SIZE[0] // every), np.float32)
    odds = plate_log_odds(1, halves(made), Surfaces(rho, rho * 0, rho), made.scene)
    assert not odds.any()


def test_flow_along_an_edge_is_less_certain_than_across_it() -> None:
    gray = np.zeros((40, 40), np.float32)
    gray[:, 20:] = 100.0  # a vertical edge
    gray += np.random.default_rng(0).normal(0, 1, gray.shape).astype(np.float32)
    covariance = texture_covariance(gray)
    across, _, along = covariance[:, 20, 20]
    flat = covariance[:, 20, 5]
    assert along > 50 * across
    assert flat[0] > 50 * across


def test_residuals_are_measured_in_standard_deviations() -> None:
    covariance = torch.zeros((3, 1, 1))
    covariance[0], covariance[2] = 3.0, 8.0
    one = torch.ones((1, 1, 1))
    assert mahalanobis2((2 * one, 0 * one), covariance, one).item() == 1.0
    assert mahalanobis2((0 * one, 6 * one), covariance, one).item() == 4.0
