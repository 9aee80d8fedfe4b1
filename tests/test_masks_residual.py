"""Masks from exact scenes: flow with noise, pictures with texture, known cameras."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Bool, Float32

from recon4d.core.scene import FLOW_STRIDE, Flow, Scene
from recon4d.masks.residual import residual_masks
from tests.synthetic import SyntheticScene, make_scene

FRAMES, SIZE = 12, (192, 144)
NOISE_PX = 0.2
"""Like DIS on textured surfaces."""


@pytest.fixture(scope="module")
def crossing() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, mover=True, noise_px=NOISE_PX)


@pytest.fixture(scope="module")
def empty() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, mover=False, noise_px=NOISE_PX)


def probability(made: SyntheticScene, **changes: object) -> Float32[np.ndarray, "frames rows cols"]:
    flow = changes.get("flow", made.flow)
    scene = changes.get("scene", made.scene)
    assert isinstance(flow, Flow) and isinstance(scene, Scene)
    return residual_masks(made.video, flow, scene).probability


def truth(made: SyntheticScene) -> Bool[np.ndarray, "frames rows cols"]:
    """At the samples of `Flow`: the pixel to the lower right of each sample's position."""
    half = FLOW_STRIDE // 2
    return made.is_dynamic[:, half::FLOW_STRIDE, half::FLOW_STRIDE]


def jaccard(
    found: Bool[np.ndarray, "frames rows cols"], true: Bool[np.ndarray, "frames rows cols"]
) -> float:
    both, either = (found & true).sum((1, 2)), (found | true).sum((1, 2))
    return float((both / np.maximum(either, 1)).mean())


def test_a_static_scene_has_no_mask(empty: SyntheticScene) -> None:
    assert (probability(empty) > 0.5).mean() < 0.005


def test_a_mover_is_found(crossing: SyntheticScene) -> None:
    found = probability(crossing) > 0.5
    assert jaccard(found, truth(crossing)) > 0.75  # the rest is a border of one or two samples


def test_a_still_camera_finds_the_mover() -> None:
    made = make_scene(FRAMES, SIZE, seed=4, mover=True, noise_px=NOISE_PX, path="still")
    assert jaccard(probability(made) > 0.5, truth(made)) > 0.75


def test_a_turning_camera_finds_the_mover() -> None:
    made = make_scene(FRAMES, SIZE, seed=5, mover=True, noise_px=NOISE_PX, path="turning")
    assert jaccard(probability(made) > 0.5, truth(made)) > 0.7


def test_twice_the_flow_noise_is_not_motion(empty: SyntheticScene) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2 * NOISE_PX, empty.flow.flow_px.shape)
    noisy = replace(empty.flow, flow_px=(empty.flow.flow_px + noise).astype(np.float16))
    assert (probability(empty, flow=noisy) > 0.5).mean() < 0.01


def test_the_scale_of_the_world_does_not_matter(crossing: SyntheticScene) -> None:
    scaled = crossing.scene.world_from_cam.copy()
    scaled[:, :3, 3] *= 37.0
    as_is = probability(crossing)
    other = probability(crossing, scene=replace(crossing.scene, world_from_cam=scaled))
    assert ((as_is > 0.5) != (other > 0.5)).mean() < 1e-3  # rounding of float32


def test_threads_do_not_change_the_result(crossing: SyntheticScene) -> None:
    one = residual_masks(crossing.video, crossing.flow, crossing.scene, threads=1)
    two = residual_masks(crossing.video, crossing.flow, crossing.scene, threads=2)
    np.testing.assert_allclose(one.probability, two.probability, atol=1e-6)


def test_a_frame_without_a_pose_says_nothing_of_its_own(empty: SyntheticScene) -> None:
    lost = empty.scene.is_posed.copy()
    lost[5] = False
    wrong = empty.scene.world_from_cam.copy()
    wrong[5, :3, 3] += 0.5
    scene = replace(empty.scene, is_posed=lost, world_from_cam=wrong)
    assert (probability(empty, scene=scene) > 0.5).mean() < 0.01


def test_slightly_wrong_cameras_do_not_make_everything_move(empty: SyntheticScene) -> None:
    rng = np.random.default_rng(1)
    shaken = empty.scene.world_from_cam.copy()
    shaken[:, :3, 3] += rng.normal(
        0, 0.002, (FRAMES, 3)
    )  # metres; about 0.1 px at the distance of the room
    assert (
        probability(empty, scene=replace(empty.scene, world_from_cam=shaken)) > 0.5
    ).mean() < 0.01


def test_an_occluded_pixel_is_not_a_moving_one(empty: SyntheticScene) -> None:
    """Flow behind a box drags along with the box; the forward-backward check sees it, and so it counts for nothing."""
    hidden = empty.flow.confidence == 0
    dragged = empty.flow.flow_px.copy()
    dragged[hidden] += 3.0
    flow = replace(empty.flow, flow_px=dragged)
    assert (probability(empty, flow=flow) > 0.5).mean() < 0.02
