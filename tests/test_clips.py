"""Division of long videos, and the choice of keyframes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon4d.core.errors import ConfigError
from recon4d.core.scene import Scene
from recon4d.optim.stitch.keyframes import MAX_GAP, choose_keyframes
from recon4d.run.long.clips import Clip, divide, is_long, settled
from recon4d.settings.optim import OptimConfig
from tests.synthetic import make_scene

SIZE = (128, 96)


CASES = st.integers(8, 120).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(3, n // 2), st.integers(n + 1, 3000))
)
"""Frames of a clip, frames that neighbours share, frames of the video."""


def divided(case: tuple[int, int, int]) -> tuple[Clip, ...]:
    length, overlap, num_frames = case
    options = OptimConfig(clip_frames=length, clip_overlap=overlap, whole_frames=length)
    return divide(num_frames, options)


@given(CASES)
@settings(max_examples=200, deadline=None)
def test_every_frame_belongs_to_one_clip_that_sees_it(case: tuple[int, int, int]) -> None:
    length, _, num_frames = case
    clips = divided(case)
    owned = [frame for clip in clips for frame in range(clip.own_first, clip.own_last)]
    assert owned == list(range(num_frames))
    assert [clip.index for clip in clips] == list(range(len(clips)))
    for clip in clips:
        assert clip.first <= clip.own_first < clip.own_last <= clip.last
        assert clip.last - clip.first == clips[0].last <= length


@given(CASES)
@settings(max_examples=200, deadline=None)
def test_neighbours_overlap_on_both_sides_of_where_they_meet(
    case: tuple[int, int, int],
) -> None:
    overlap = case[1]
    for before, after in pairwise(divided(case)):
        assert before.last - after.first >= overlap
        assert before.own_last == after.own_first
        half = overlap // 2
        assert before.last - before.own_last >= half
        assert after.own_first - after.first >= half


def test_frames_beside_a_blank_part_belong_to_the_clip_that_sees_them() -> None:
    clips = divided((12, 5, 26))
    assert [clip.own_last for clip in clips] == [9, 16, 26]
    everywhere = [np.ones(clip.last - clip.first, bool) for clip in clips]
    assert settled(clips, everywhere) == clips
    # frames 11 and later are blank: the second clip, from 7, has no pose at all
    poses = [np.arange(clip.first, clip.last) < 11 for clip in clips]
    poses[1][:] = False
    assert settled(clips, poses)[0].own_last == 11
    # blank until 9: the first clip is lost
    poses = [np.zeros(12, bool), np.arange(7, 19) >= 9, everywhere[2]]
    assert settled(clips, poses)[0].own_last == 9


def test_short_videos_are_one_piece() -> None:
    options = OptimConfig()
    assert not is_long(options.whole_frames, options)
    assert is_long(options.whole_frames + 1, options)


@pytest.mark.parametrize(
    "wrong", [{"clip_frames": 7}, {"clip_overlap": 41}, {"whole_frames": 79}, {"keyframes": "no"}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"optim.{next(iter(wrong))}"):
        OptimConfig(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """30 frames with a neighbour distance of 3 to 4 cm, 2 to 4 m from what is seen."""
    return make_scene(30, SIZE, seed=4).scene


def keys(scene: Scene, wanted: tuple[int, ...] = ()) -> list[int]:
    is_wanted = np.isin(np.arange(30), wanted)
    return [int(key) for key in choose_keyframes(scene, 0, 30, SIZE, is_wanted)]


def test_a_camera_that_stands_has_a_keyframe_after_the_largest_gap(scene: Scene) -> None:
    still = replace(scene, world_from_cam=np.repeat(scene.world_from_cam[:1], 30, axis=0))
    assert keys(still) == [0, MAX_GAP, 2 * MAX_GAP, 29]


def test_more_parallax_gives_more_keyframes(scene: Scene) -> None:
    slow = scene.world_from_cam.copy()
    slow[:, :3, :3] = slow[0, :3, :3]  # no turning
    slow[:, :3, 3] *= 0.1
    fast = slow.copy()
    fast[:, :3, 3] *= 10
    counts = [len(keys(replace(scene, world_from_cam=poses))) for poses in (slow, fast)]
    assert counts[1] > counts[0]


def test_pieces_begin_and_end_with_keyframes_and_lost_frames_are_none(scene: Scene) -> None:
    component = np.repeat([0, -1, 1], [10, 4, 16])
    found = keys(replace(scene, component=component))
    assert {0, 9, 14, 29} <= set(found)
    assert not set(range(10, 14)) & set(found)


def test_wanted_frames_are_keyframes_unless_lost(scene: Scene) -> None:
    component = np.where(np.arange(30) == 7, -1, 0)
    found = keys(replace(scene, component=component), wanted=(3, 7, 22))
    assert {3, 22} <= set(found)
    assert 7 not in found
