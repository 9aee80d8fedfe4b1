"""Depth of the user's own, aligned to a scene: with errors as networks have them, it ends nearer to the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure.simulated_depth import Errors, simulated
from recon4d.core.errors import DegenerateError, InputError
from recon4d.core.scene import DepthPrior
from recon4d.io.depth_maps import depth_maps
from recon4d.masks.given import outlines
from recon4d.optim.dense import densify
from recon4d.optim.setting import AlignOptions
from recon4d.priors.given import guide
from recon4d.priors.steady import Finished
from tests.synthetic import SyntheticScene, make_scene

SIZE = (160, 120)
USUAL = Errors()


def finished(scene: SyntheticScene) -> Finished:
    """The exact scene as if it had been found, in no unit."""
    found = replace(scene.scene, is_metric=False)
    return Finished(scene.video, scene.flow, found, outlines(scene.is_dynamic))


def given(folder: Path, scene: SyntheticScene, scale: str, errors: Errors = USUAL) -> Path:
    """A folder with what a network says of a scene."""
    folder.mkdir()
    maps = simulated(scene.depth, scene.is_dynamic, scale, seed=0, errors=errors)
    for name, values in zip(scene.video.sources, maps, strict=True):
        np.save(folder / f"{Path(name).stem}.npy", values)
    return folder


def aligned(place: Path, kind: str, scale: str, to: Finished) -> DepthPrior:
    own = place.parent / "guide"
    own.mkdir(exist_ok=True)
    return guide(depth_maps(place, kind, scale), to, own)


def off(depth: np.ndarray, scene: SyntheticScene, where: np.ndarray) -> float:
    """Mean relative error after one factor."""
    factor = np.median(scene.depth[~scene.is_dynamic] / depth[~scene.is_dynamic])
    return float((np.abs(factor * depth - scene.depth) / scene.depth)[where].mean())


@pytest.fixture(scope="module")
def moving() -> SyntheticScene:
    return make_scene(12, SIZE, seed=4, mover=True)


@pytest.mark.parametrize(("kind", "scale"), [("disparity", "affine"), ("depth", "relative")])
def test_maps_of_frames_alone_become_one_depth(
    kind: str, scale: str, moving: SyntheticScene, tmp_path: Path
) -> None:
    found = aligned(given(tmp_path / "maps", moving, scale), kind, scale, finished(moving))
    assert found.is_guide and not found.is_metric
    assert off(found.depth, moving, ~moving.is_dynamic) < 0.06  # of each map: 0.09
    assert off(found.depth, moving, moving.is_dynamic) < 0.17  # 0.16 to 0.26
    levels = np.log(
        [_level(*both) for both in zip(found.depth, moving.depth, moving.is_dynamic, strict=True)]
    )
    assert np.abs(np.diff(levels)).max() < 0.08  # 0.5 and more


def _level(depth: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    return float(np.median((depth / truth)[where]))


@pytest.fixture(scope="module")
def turning() -> SyntheticScene:
    return make_scene(12, SIZE, seed=3, path="turning")


def turned(scene: SyntheticScene) -> Finished:
    """As cameras are found that only turn: without depth."""
    to, shape = finished(scene), scene.scene.inverse_depth.shape
    unknown = replace(
        to.scene,
        inverse_depth=np.ones(shape, np.float32),
        inverse_depth_std=np.full(shape, np.inf, np.float32),
    )
    return replace(to, scene=unknown)


@pytest.mark.parametrize(("kind", "scale"), [("disparity", "affine"), ("depth", "relative")])
def test_of_a_camera_that_turns_neighbours_tell_factor_and_offset(
    kind: str, scale: str, turning: SyntheticScene, tmp_path: Path
) -> None:
    """The offset of all frames together is not known: here it is none in the mean."""
    errors = Errors(offset=0.0) if scale == "relative" else Errors(offset=0.1)
    found = aligned(given(tmp_path / "maps", turning, scale, errors), kind, scale, turned(turning))
    everywhere = np.ones_like(turning.is_dynamic)
    assert off(found.depth, turning, everywhere) < 0.12
    levels = np.median(found.depth / turning.depth, axis=(1, 2))
    assert np.ptp(np.log(levels)) < 0.15  # of the maps: factors of 2
    assert 0.5 < np.median(found.depth) < 2


@pytest.mark.parametrize("scale", ["relative", "affine"])
def test_of_a_camera_that_turns_the_map_is_the_depth(
    scale: str, turning: SyntheticScene, tmp_path: Path
) -> None:
    kind = "disparity" if scale == "affine" else "depth"
    to = turned(turning)
    exact = Errors(warp=0, blur=0.001, offset=0.0)
    prior = aligned(given(tmp_path / "maps", turning, scale, exact), kind, scale, to)
    video = replace(to.video, predicted_depth=prior)
    dense = densify(video, to.flow, to.scene, to.motion, AlignOptions(threads=1))
    assert off(dense.depth, turning, np.ones_like(turning.is_dynamic)) < 0.04
    assert dense.confidence.min() > 0
    assert dense.confidence.max() < 128


def test_of_a_scene_a_map_fills_what_is_not_measured_and_what_moves(
    moving: SyntheticScene, tmp_path: Path
) -> None:
    """In the left half nothing static is measured."""
    to = finished(moving)
    left = np.zeros_like(moving.is_dynamic)
    left[..., : SIZE[0] // 2] = True
    unseen = left[0, ::2, ::2] & to.static[to.flow.edges[:, 0]]
    confidence = np.where(unseen, 0, to.flow.confidence).astype(np.uint8)
    to = replace(to, flow=replace(to.flow, confidence=confidence))
    without = densify(to.video, to.flow, to.scene, to.motion, AlignOptions(threads=1)).depth
    place = given(tmp_path / "maps", moving, "affine")
    video = replace(to.video, predicted_depth=aligned(place, "disparity", "affine", to))
    dense = densify(video, to.flow, to.scene, to.motion, AlignOptions(threads=1)).depth
    static = ~moving.is_dynamic
    assert off(dense, moving, left & static) < 0.07 < 0.6 * off(without, moving, left & static)
    assert off(dense, moving, moving.is_dynamic) < 0.17
    assert off(dense, moving, moving.is_dynamic) < 0.45 * off(without, moving, moving.is_dynamic)
    assert off(dense, moving, ~left & static) < 1.1 * off(without, moving, ~left & static)


def test_disparity_that_is_taken_for_depth_is_refused(
    moving: SyntheticScene, tmp_path: Path
) -> None:
    place = given(tmp_path / "maps", moving, "affine")
    with pytest.raises(InputError, match="add --depth-kind disparity"):
        aligned(place, "depth", "relative", finished(moving))


@pytest.mark.filterwarnings("error")
def test_a_plane_of_one_value_says_nothing_of_near_and_far(
    moving: SyntheticScene, tmp_path: Path
) -> None:
    place = given(tmp_path / "maps", replace(moving, depth=np.ones_like(moving.depth)), "relative")
    assert aligned(place, "depth", "relative", finished(moving)).depth.all()


def test_depth_of_another_scene_is_refused(moving: SyntheticScene, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(1, 2, moving.depth.shape).astype(np.float32)
    place = given(tmp_path / "maps", replace(moving, depth=noise), "affine")
    with pytest.raises(DegenerateError, match="fits to the geometry of no frame"):
        aligned(place, "disparity", "affine", finished(moving))


def test_a_frame_whose_map_is_unknown_has_none(moving: SyntheticScene, tmp_path: Path) -> None:
    place = given(tmp_path / "maps", moving, "relative")
    np.save(place / "000003.npy", np.full(moving.depth.shape[1:], np.nan, np.float32))
    found = aligned(place, "depth", "relative", finished(moving))
    assert [notice.frames for notice in found.notices] == [(3,)]
    assert not found.depth[3].any()
    assert found.depth[4].all()
