"""Places that are seen again: found by looks, verified by flow and depth."""

from dataclasses import replace

import numpy as np
import pytest

from recon4d.core.scene import FLOW_STRIDE, MotionMasks, Scene
from recon4d.core.similarity import Similarity
from recon4d.flow.dis import Dis
from recon4d.networks.alike import describe, seen_again
from recon4d.networks.lite0 import SHIPPED_SHA256, shipped_fingerprint
from recon4d.optim.stitch.loops import View, close
from recon4d.run.long.loops import KeyMaps, find_loops
from tests.synthetic import SyntheticScene, make_scene

SIZE = (192, 144)
THERE = 14
"""Frames until the camera turns back."""
WORLD = Similarity(3.0, np.eye(3), np.array([0.5, -1.0, 2.0]))
"""From the world of the way there to that of the way back."""


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    """A path that is closed: frame 13 + k shows nearly what frame 13 - k shows."""
    scene = make_scene(THERE, SIZE, seed=3)
    order = np.r_[np.arange(THERE), np.arange(THERE)[::-1]]
    noise = np.random.default_rng(0).normal(0, 2, (2 * THERE, *SIZE[::-1], 3))
    images = np.clip(scene.video.images[order] + noise, 0, 255).astype(np.uint8)
    truth = scene.scene
    both = Scene(
        world_from_cam=truth.world_from_cam[order],
        intrinsics=truth.intrinsics[order],
        samples_px=truth.samples_px[order],
        inverse_depth=truth.inverse_depth[order],
        inverse_depth_std=np.full_like(truth.inverse_depth[order], 1e-3),
        is_posed=np.ones(2 * THERE, bool),
        component=np.zeros(2 * THERE, int),
    )
    video = replace(
        scene.video,
        images=images,
        timestamps_s=np.arange(2 * THERE) / 30,
        sources=tuple(str(k) for k in range(2 * THERE)),
    )
    return replace(scene, video=video, scene=both, depth=scene.depth[order])


def maps(made: SyntheticScene) -> KeyMaps:
    half = FLOW_STRIDE // 2
    inverse = np.asarray(1 / made.depth[:, half::FLOW_STRIDE, half::FLOW_STRIDE], np.float32)
    return KeyMaps(inverse, MotionMasks(np.zeros_like(inverse)))


def view(made: SyntheticScene, frame: int, world: Similarity | None = None, piece: int = 0) -> View:
    world = world or Similarity.identity()
    inverse = maps(made).inverse_depth[frame] / np.float32(world.scale)
    pose = world.poses(made.scene.world_from_cam[frame][None])[0]
    return View(piece, pose, made.scene.intrinsics[frame], inverse, np.ones_like(inverse))


def test_frames_of_the_same_place_look_alike(made: SyntheticScene) -> None:
    pairs = seen_again(describe(made.video.images), apart=9)
    found = {(int(a), int(b)) for a, b in pairs}
    assert found, "the path is closed"
    # the picture of 2 * THERE - 1 - k is that of k: neighbours of it are nearly the same
    assert all(abs(a + b - (2 * THERE - 1)) <= 3 for a, b in found)


def test_frames_are_described_by_the_weights_that_the_threshold_was_set_with() -> None:
    assert shipped_fingerprint() == SHIPPED_SHA256, "set MIN_ALIKE anew, then this"


def test_what_is_near_in_the_list_is_no_loop() -> None:
    same = np.ones((8, 4), np.float32) / 2
    assert len(seen_again(same, apart=9)) == 0


def test_a_pair_of_the_same_place_relates_two_worlds(made: SyntheticScene) -> None:
    first, second = 2, 2 * THERE - 2
    pairs = np.array([[first, second]])
    _, (flows, sure) = next(Dis().pairs(made.video.images, pairs, 1))
    here, there = view(made, first), view(made, second, WORLD, piece=1)
    found = close(
        here, there, flows[0].astype(np.float32), (sure[0] / 255).astype(np.float32), False
    )
    assert found is not None
    same = found.here_from_there @ WORLD
    # flow of 192 px, one pair: a pixel is 0.006 of the depth
    assert same.scale == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(same.rotation, np.eye(3), atol=0.01)
    np.testing.assert_allclose(same.translation, 0, atol=0.05)


def test_different_places_are_told_apart(made: SyntheticScene) -> None:
    other = make_scene(2, SIZE, seed=44)
    images = np.stack((made.video.images[0], other.video.images[0]))
    _, (flows, sure) = next(Dis().pairs(images, np.array([[0, 1]]), 1))
    here, there = view(made, 0), view(made, 1, piece=1)
    assert (
        close(here, there, flows[0].astype(np.float32), (sure[0] / 255).astype(np.float32), False)
        is None
    )


def test_loops_between_clips_are_found(made: SyntheticScene) -> None:
    piece_of = np.repeat([0, 1], THERE)
    back = WORLD.scene(made.scene)
    own = replace(
        made.scene,
        world_from_cam=np.where(
            piece_of[:, None, None] == 0, made.scene.world_from_cam, back.world_from_cam
        ),
        inverse_depth=np.where(
            piece_of[:, None] == 0, made.scene.inverse_depth, back.inverse_depth
        ),
    )
    exact = maps(made)
    scale = np.where(piece_of == 0, 1.0, WORLD.scale).astype(np.float32)[:, None, None]
    known = KeyMaps(exact.inverse_depth / scale, exact.motion)
    pairs, links = find_loops(made.video, own, made.scene, piece_of, known, 9, Dis())
    assert len(pairs) == len(links) > 0
    for edge in links:
        assert (edge.here, edge.there) == (0, 1)
        assert (edge.here_from_there @ WORLD).scale == pytest.approx(1, rel=0.03)
