"""Scenes of overlapping clips brought into one world: exact where they are exact, medians where they are not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon4d.core.scene import Scene
from recon4d.core.similarity import Similarity, concatenated, scene_part, similarity_between
from recon4d.optim.stitch.loops import balance
from recon4d.optim.stitch.pieces import (
    Link,
    Piece,
    Placement,
    _scale_notice,
    carry,
    key_scene_of,
    link,
    pieces_of,
    place,
)
from tests.synthetic import make_scene

FRAMES = 24
RTOL = 1e-5
"""Inverse depth is stored in float32."""


@pytest.fixture(scope="module")
def truth() -> Scene:
    scene = make_scene(FRAMES, (128, 96), seed=9).scene
    std = np.full_like(scene.inverse_depth, 1e-3)
    return replace(scene, inverse_depth_std=std, is_metric=False)


def similarity(seed: int, scale: float) -> Similarity:
    rng = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    return Similarity(scale, np.asarray(turn), rng.normal(size=3))


def part(truth: Scene, first: int, last: int, world: Similarity) -> Scene:
    """Frames first..last-1 in another world."""
    return world.scene(scene_part(truth, np.arange(first, last)))


def test_similarities_are_a_group() -> None:
    a, b = similarity(1, 2.0), similarity(2, 0.3)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, 3] = np.random.default_rng(0).normal(size=(3, 3))
    np.testing.assert_allclose((a @ b).poses(poses), a.poses(b.poses(poses)), atol=1e-12)
    np.testing.assert_allclose((a.inverse() @ a).poses(poses), poses, atol=1e-12)


def test_the_similarity_between_two_exact_scenes_is_found(truth: Scene) -> None:
    there = similarity(3, 2.5)
    found, measured = similarity_between(scene_part(truth, np.arange(6)), part(truth, 0, 6, there))
    assert measured
    np.testing.assert_allclose(found.scale, 1 / 2.5, rtol=1e-6)
    np.testing.assert_allclose(found.rotation, there.rotation.T, atol=1e-9)
    np.testing.assert_allclose(found.translation, there.inverse().translation, atol=1e-5)


def test_a_third_of_wrong_depths_and_one_wrong_pose_do_not_matter(truth: Scene) -> None:
    here, there = scene_part(truth, np.arange(8)), part(truth, 0, 8, similarity(3, 2.5))
    depth = there.inverse_depth.copy()
    depth[:, ::3] *= 5
    poses = there.world_from_cam.copy()
    poses[2] = similarity(8, 1.0).poses(poses[2:3])[0]
    found, _ = similarity_between(here, replace(there, inverse_depth=depth, world_from_cam=poses))
    # exact samples are in the majority: the median is one of them
    np.testing.assert_allclose(found.scale, 1 / 2.5, rtol=1e-5)
    np.testing.assert_allclose(found.rotation, similarity(3, 1.0).rotation.T, atol=1e-6)
    moved = found.poses(poses)[np.arange(8) != 2]
    error = np.abs(moved - here.world_from_cam[np.arange(8) != 2]).max()
    assert error < 1e-4


def test_depth_in_metres_needs_no_scale(truth: Scene) -> None:
    here = replace(scene_part(truth, np.arange(4)), is_metric=True)
    there = replace(part(truth, 0, 4, similarity(5, 1.0)), is_metric=True)
    wrong = replace(there, inverse_depth=there.inverse_depth * 3)
    assert similarity_between(here, wrong)[0].scale == 1.0


def test_unmeasured_depth_is_said_to_tell_no_scale(truth: Scene) -> None:
    blind = replace(truth, inverse_depth_std=np.full_like(truth.inverse_depth, np.inf))
    here, there = (scene_part(scene, np.arange(4)) for scene in (truth, blind))
    assert not similarity_between(here, there)[1]


def pieces(truth: Scene, worlds: list[Similarity]) -> list[Piece]:
    """Clips of 10 frames, 7 apart."""
    found = []
    for clip, world in enumerate(worlds):
        found += pieces_of(clip, 7 * clip, part(truth, 7 * clip, 7 * clip + 10, world))
    return found


WORLDS = [similarity(11, 1.0), similarity(12, 3.0), similarity(13, 0.2)]


def test_clips_are_chained_where_they_overlap(truth: Scene) -> None:
    parts = pieces(truth, WORLDS)
    placed = place(parts, link(parts))
    assert placed.group.tolist() == [0, 0, 0]
    assert placed.notices == ()
    keys = [(0, 0), (0, 5), (1, 12), (2, 20)]
    common = key_scene_of(parts, placed, keys)
    expected = WORLDS[0].scene(scene_part(truth, np.array([0, 5, 12, 20])))
    np.testing.assert_allclose(common.world_from_cam, expected.world_from_cam, atol=1e-5)
    np.testing.assert_allclose(common.inverse_depth, expected.inverse_depth, rtol=RTOL)


def test_what_shares_no_frame_is_a_group_of_its_own(truth: Scene) -> None:
    parts = pieces(truth, WORLDS)
    component = np.where(np.arange(10) < 5, 0, 1)
    cut = replace(part(truth, 14, 24, WORLDS[2]), component=component)
    parts = [*parts[:2], *pieces_of(2, 14, cut)]
    placed = place(parts, link(parts))
    assert placed.group.tolist() == [0, 0, 0, 1]
    common = key_scene_of(parts, placed, [(0, 0), (1, 12), (2, 16), (3, 20)])
    assert common.is_posed.tolist() == [True, True, True, False]


def test_a_guessed_scale_is_told(truth: Scene) -> None:
    parts = pieces(truth, WORLDS)
    blind = replace(
        parts[1].scene, inverse_depth_std=np.full_like(parts[1].scene.inverse_depth, np.inf)
    )
    parts[1] = replace(parts[1], scene=blind)
    (notice,) = place(parts, link(parts)).notices
    assert notice.code == "scale_guessed" and " clips share no" in notice.message
    (single,) = _scale_notice(parts, [1])
    assert single.message.startswith("1 clip shares no")


def test_a_loop_spreads_the_drift(truth: Scene) -> None:
    """Four pieces whose relations are each 5 % and 1 degree off; that of the last to the first is exact."""
    drift = Similarity(
        1.05, np.asarray(Rotation.from_euler("y", 1, degrees=True).as_matrix()), np.zeros(3)
    )
    chain = [Link(k, k + 1, drift, True) for k in range(3)]
    start = [Similarity.identity()]
    for edge in chain:
        start.append(start[-1] @ edge.here_from_there)
    loop = Link(0, 3, Similarity.identity(), True)
    placed = Placement(tuple(start), np.zeros(4, int))
    found = balance(placed, [*chain, loop], np.ones(4), is_metric=False).world_from_piece
    assert found[0].scale == 1.0
    assert (found[0].rotation == np.eye(3)).all()
    off = [abs(np.log(s.scale)) for s in (start[3], found[3])]
    assert off[1] < 0.4 * off[0]  # one of four equal relations contradicts: a quarter is left to it
    turned = [Rotation.from_matrix(s.rotation).magnitude() for s in (start[3], found[3])]
    assert turned[1] < 0.4 * turned[0]


def test_metric_pieces_keep_their_scale() -> None:
    off = Similarity(1.0, np.eye(3), np.array([0.1, 0, 0]))
    links = [Link(0, 1, off, True), Link(1, 2, off, True), Link(0, 2, Similarity.identity(), True)]
    start = (Similarity.identity(), off, off @ off)
    found = balance(Placement(start, np.zeros(3, int)), links, np.ones(3), is_metric=True)
    assert all(s.scale == 1.0 for s in found.world_from_piece)
    assert 0 < found.world_from_piece[2].translation[0] < 0.15


def test_a_clip_follows_its_keyframes(truth: Scene) -> None:
    keys = np.array([1, 5, 9])
    local = part(truth, 7, 17, WORLDS[1])
    target = similarity(21, 0.7)
    wanted = target.scene(scene_part(truth, keys + 7))
    found = carry(local, keys, wanted, np.arange(10) / 30)
    assert (found.world_from_cam[keys] == wanted.world_from_cam).all()
    assert (found.inverse_depth[keys] == wanted.inverse_depth).all()
    expected = target.scene(scene_part(truth, np.arange(7, 17)))
    np.testing.assert_allclose(found.world_from_cam, expected.world_from_cam, atol=1e-5)
    np.testing.assert_allclose(found.inverse_depth, expected.inverse_depth, rtol=1e-4)


def test_a_shared_focal_length_is_the_keyframes_bit_by_bit(truth: Scene) -> None:
    local = scene_part(truth, np.arange(10))
    focal = truth.intrinsics[:2] * np.array([1.013, 1.013, 1, 1])
    wanted = replace(scene_part(truth, np.array([2, 8])), intrinsics=focal)
    found = carry(local, np.array([2, 8]), wanted, np.arange(10) / 30)
    assert (found.intrinsics == focal[0]).all()


def test_own_focal_lengths_keep_their_shape_between_keyframes(truth: Scene) -> None:
    zoom = np.linspace(1, 1.5, 10)[:, None] ** np.array([1, 1, 0, 0])
    local = scene_part(truth, np.arange(10))
    local = replace(local, intrinsics=local.intrinsics * zoom)
    keys = np.array([0, 9])
    wanted = scene_part(local, keys)
    wanted = replace(wanted, intrinsics=wanted.intrinsics * np.array([1.1, 1.1, 1, 1]))
    found = carry(local, keys, wanted, np.arange(10) / 30)
    np.testing.assert_allclose(found.intrinsics[:, 0], 1.1 * local.intrinsics[:, 0], rtol=1e-9)


def test_parts_of_a_scene_join_to_the_whole(truth: Scene) -> None:
    both = concatenated([scene_part(truth, np.arange(5)), scene_part(truth, np.arange(5, FRAMES))])
    for name in ("world_from_cam", "intrinsics", "inverse_depth", "component", "is_posed"):
        assert (getattr(both, name) == getattr(truth, name)).all()
