"""Which frames are compared, on drawn pictures of a plane that a camera pans over, and on rendered scenes."""

from pathlib import Path

import numpy as np
import pytest

from recon4d.core.errors import DegenerateError
from recon4d.core.progress import no_progress
from recon4d.core.scene import Flow, Video
from recon4d.flow import WINDOW_OFFSETS, window_pairs
from recon4d.flow.dis import Dis
from recon4d.flow.guided import (
    GUIDED_OFFSETS,
    KEPT_OFFSETS,
    SLOW_GUIDED_OFFSETS,
    Guide,
    flow_by_guide,
)
from recon4d.flow.partners import NEAR, SLOW_OFFSETS, is_slow, seen_pairs
from recon4d.masks.d2mif.maps import partner_edges
from recon4d.run import reconstruct
from recon4d.run.methods import Methods
from recon4d.run.stages import FLOW
from recon4d.settings.config import RunConfig
from tests.synthetic import SyntheticScene, make_scene
from tests.test_flow_matched import plane


def pan(steps_px: list[float]) -> np.ndarray:
    """Pictures of 320 x 240 pixels; each shows the plane so much farther to the left than the one before."""
    places = np.cumsum([0, *steps_px])
    places -= places.mean()
    shift = np.eye(3)[None].repeat(len(places), 0)
    shift[:, 0, 2] = places
    return np.stack([plane(warp) for warp in shift])[..., None].repeat(3, axis=3)


def apart(pairs: np.ndarray) -> set[int]:
    return {int(k) for k in np.abs(pairs[:, 1] - pairs[:, 0])}


def flow_of(pairs: np.ndarray) -> Flow:
    """Of nothing, but sure."""
    edges = np.concatenate((pairs, pairs[:, ::-1]))
    shape = (len(edges), 16, 16)
    return Flow(edges, np.zeros((*shape, 2), np.float16), np.full(shape, 255, np.uint8))


@pytest.mark.parametrize("step_px", [0.0, 1.5, 10.0])
def test_videos_that_stand_still_or_move_as_usual_have_all_pairs_of_the_window(
    step_px: float,
) -> None:
    assert np.array_equal(seen_pairs(pan([step_px] * 11)), window_pairs(12))


def test_frames_of_a_fast_pan_are_not_compared_with_those_that_show_another_place() -> None:
    images = pan([36.0] * 10)
    assert np.array_equal(seen_pairs(images), window_pairs(11, (1, 2, 3, 5)))


def test_where_the_pan_ends_all_pairs_are_there_again() -> None:
    pairs = seen_pairs(pan([36.0] * 8 + [2.0] * 9))
    fast = pairs[:, 1] <= 8
    assert apart(pairs[fast]) == {1, 2, 3, 5}
    assert apart(pairs[pairs[:, 0] >= 8]) == set(WINDOW_OFFSETS)


def test_every_frame_has_two_partners_and_all_hang_together_even_where_nothing_matches() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (9, 96, 128, 3)).astype(np.uint8)
    for images in (noise, pan([150.0] * 5), noise[:2]):
        pairs = {tuple(pair) for pair in seen_pairs(images).tolist()}
        assert pairs >= {tuple(p) for p in window_pairs(len(images), (1, 2, NEAR)).tolist()}


def test_frames_of_a_slow_video_are_compared_with_farther_ones() -> None:
    pairs = seen_pairs(pan([0.25] * 35))
    assert apart(pairs) == set(SLOW_OFFSETS)
    assert len(pairs) <= len(window_pairs(36))  # it costs no more
    assert is_slow(flow_of(pairs))


def test_a_tripod_that_trembles_is_not_slow() -> None:
    """It moves no farther in 32 frames than in 8; of fewer frames nobody knows."""
    places = np.random.default_rng(0).normal(0, 1, 36).cumsum()
    places -= np.convolve(np.pad(places, 4, mode="edge"), np.full(9, 1 / 9), "valid")
    assert apart(seen_pairs(pan(np.diff(places).tolist()))) == set(WINDOW_OFFSETS)
    assert apart(seen_pairs(pan([0.25] * 18))) == set(WINDOW_OFFSETS)


def test_a_run_measures_the_pairs_that_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_further(*_: object) -> None:
        raise DegenerateError("flow is there")

    monkeypatch.setattr(reconstruct, "initial_scene", no_further)
    images = pan([0.25] * 32)
    video = Video(images, np.arange(33) / 25, ("",) * 33, (320, 240))
    config = RunConfig(input=tmp_path, masks="none")
    with pytest.raises(DegenerateError, match="flow is there"):
        reconstruct.observe(config, Methods.of(config), tmp_path, video, no_progress)
    assert apart(FLOW.load(tmp_path).edges) == set(SLOW_OFFSETS)


@pytest.mark.parametrize("pairs", [window_pairs(2), window_pairs(12), window_pairs(12, (1, 2, 3))])
def test_flow_of_other_videos_is_not_called_slow(pairs: np.ndarray) -> None:
    assert not is_slow(flow_of(pairs))
    guided = (*KEPT_OFFSETS, *GUIDED_OFFSETS)
    assert not is_slow(flow_of(window_pairs(40, guided)))


def test_masks_of_a_slow_video_look_at_partners_farther_away() -> None:
    def partners(offsets: tuple[int, ...]) -> list[int]:
        flow = flow_of(window_pairs(40, offsets))
        return [abs(int(flow.edges[edge, 1]) - 20) for edge in partner_edges(flow, 20)]

    assert partners(WINDOW_OFFSETS) == partners((*KEPT_OFFSETS, *GUIDED_OFFSETS)) == [2, 2]
    assert partners(SLOW_OFFSETS) == partners((*KEPT_OFFSETS, *SLOW_GUIDED_OFFSETS)) == [8, 8]


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(20, (128, 96), seed=5)


def guided_offsets(made: SyntheticScene, pairs: np.ndarray, folder: Path) -> set[int]:
    """Frames apart that are compared by geometry after flow of these pairs."""
    rows, cols = made.flow.confidence.shape[1:]
    edges = np.concatenate((pairs, pairs[:, ::-1]))
    shape = (len(edges), rows, cols)
    flow = Flow(edges, np.zeros((*shape, 2), np.float16), np.zeros(shape, np.uint8))
    guide = Guide(flow, made.scene, np.full((20, rows, cols), 0.3, np.float32))
    return apart(flow_by_guide(made.video.images, guide, folder, Dis()).edges)


def test_geometry_of_a_slow_video_compares_farther_frames(
    made: SyntheticScene, tmp_path: Path
) -> None:
    usual = guided_offsets(made, window_pairs(20), tmp_path)
    assert usual == {*KEPT_OFFSETS, 5, 16}
    slow = guided_offsets(made, window_pairs(20, SLOW_OFFSETS), tmp_path)
    assert slow == {*KEPT_OFFSETS, 8, 16}
