"""Cameras, depth and masks from pairwise predictions: right on a known world, honest on broken ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from benchmarks.alignment import run_scene
from benchmarks.measure.pairs_file import read_pairs
from recon4d.core.errors import ConfigError, DegenerateError, InputError
from recon4d.optim.pairwise import AlignedPairs, PairOptions, align_pairs
from recon4d.optim.pairwise.pairs import Pairs, check_shapes
from tests.pairs_world import FOCAL, PairsWorld
from tests.paths import relative_ate, similarity

PER_PAIR = (
    "edges",
    "source_points",
    "target_points",
    "source_confidence",
    "target_confidence",
    "flow_px",
)


@pytest.fixture(scope="module")
def world() -> PairsWorld:
    return PairsWorld()


@pytest.fixture(scope="module")
def aligned(world: PairsWorld) -> AlignedPairs:
    return align_pairs(world.pairs)


def some(pairs: Pairs, which: Any) -> Pairs:
    return replace(pairs, **{name: getattr(pairs, name)[which] for name in PER_PAIR})


def codes(result: AlignedPairs) -> list[str]:
    return [notice.code for notice in result.notices]


def check_good(result: AlignedPairs, world: PairsWorld, ate: float = 0.003) -> None:
    # with all pairs 0.0003 of the path, 0.001 and 0.01 %; broken pairs and other processors leave a factor of ten
    assert relative_ate(result.world_from_cam, world.world_from_cam) < ate
    scale = np.median(world.depth) / np.median(result.depth)
    assert np.mean(np.abs(scale * result.depth - world.depth) / world.depth) < 0.005
    assert abs(result.focal_px[0] / FOCAL - 1) < 0.002
    assert np.isfinite(result.depth).all() and (result.depth > 0).all()


def test_cameras_depth_focal_and_mover_are_found(world: PairsWorld, aligned: AlignedPairs) -> None:
    check_good(aligned, world)
    both = (aligned.moving & world.moving).sum()
    assert both / (aligned.moving | world.moving).sum() > 0.9  # measured 0.97
    assert aligned.notices == ()


def test_poses_and_depth_agree_on_one_scale(world: PairsWorld, aligned: AlignedPairs) -> None:
    found, truth = (p[:, :3, 3] for p in (aligned.world_from_cam, world.world_from_cam))
    scale, _ = similarity(found, truth)
    # the path of 0.9 is known to 0.0003 of it, the depth to 0.001; a factor of ten
    assert scale * np.median(aligned.depth) == pytest.approx(np.median(world.depth), rel=0.01)


def test_a_static_world_has_no_mask() -> None:
    world = PairsWorld(seed=1, mover=False)
    result = align_pairs(world.pairs)
    check_good(result, world)
    assert result.moving.mean() < 0.005  # speckles of noise at most


def test_without_masks_nothing_moves() -> None:
    world = PairsWorld(seed=2, mover=False)
    result = align_pairs(world.pairs, PairOptions(masks="none"))
    check_good(result, world)
    assert not result.moving.any()


def test_the_scales_of_the_pairs_do_not_matter(world: PairsWorld, aligned: AlignedPairs) -> None:
    factors = np.exp(np.random.default_rng(5).normal(0, 1, len(world.pairs.edges)))
    factors = factors.astype(np.float32)[:, None, None, None]
    pairs = replace(
        world.pairs,
        source_points=world.pairs.source_points * factors,
        target_points=world.pairs.target_points * factors,
    )
    result = align_pairs(pairs)
    # the same but for rounding in float32 and the steps at which the solver stops
    np.testing.assert_allclose(
        np.median(aligned.depth) / np.median(result.depth) * result.world_from_cam[:, :3, 3],
        aligned.world_from_cam[:, :3, 3],
        atol=2e-3,
    )


def test_the_result_is_repeatable(world: PairsWorld, aligned: AlignedPairs) -> None:
    again = align_pairs(world.pairs)
    np.testing.assert_array_equal(again.depth, aligned.depth)
    np.testing.assert_array_equal(again.world_from_cam, aligned.world_from_cam)


def test_bad_pointmaps_are_dropped_and_named(world: PairsWorld) -> None:
    rng = np.random.default_rng(3)
    first, second = world.pairs.source_points.copy(), world.pairs.target_points.copy()
    second[4] = rng.normal(size=second[4].shape)
    first[9] = np.abs(rng.normal(size=first[9].shape)) + 0.1
    second[11] = np.nan
    result = align_pairs(replace(world.pairs, source_points=first, target_points=second))
    check_good(result, world)
    assert codes(result) == ["unusable_pair", "outlier_pair"]
    for edge, notice in ((11, result.notices[0]), (4, result.notices[1]), (9, result.notices[1])):
        n, m = world.pairs.edges[edge]
        assert f"({n}, {m})" in notice.message


def test_bad_flow_is_dropped_and_named(world: PairsWorld) -> None:
    flow = world.pairs.flow_px.copy()
    far = int(np.argmax(world.pairs.edges[:, 1] - world.pairs.edges[:, 0]))
    both = [far, int(world.pairs.reverse()[far])]
    flow[both] = 0  # says that nothing moves, forth and back
    result = align_pairs(replace(world.pairs, flow_px=flow))
    check_good(result, world)
    assert codes(result) == ["outlier_flow"]
    assert set(result.notices[0].frames) == set(world.pairs.edges[far].tolist())


def test_points_without_confidence_are_left_out_and_counted(world: PairsWorld) -> None:
    rng = np.random.default_rng(4)
    conf, points = world.pairs.source_confidence.copy(), world.pairs.target_points.copy()
    for value in (0.0, -1.0, np.nan, np.inf):
        conf[rng.random(conf.shape) < 0.03] = value
    points[rng.random(points.shape[:3]) < 0.03] = np.nan
    result = align_pairs(replace(world.pairs, source_confidence=conf, target_points=points))
    check_good(result, world)
    assert codes(result) == ["unusable_points"]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_confidence_that_says_nothing_drops_its_pair_or_is_refused(
    world: PairsWorld, value: float
) -> None:
    one, all_pairs = (world.pairs.source_confidence.copy() for _ in range(2))
    one[3], all_pairs[:] = value, value
    result = align_pairs(replace(world.pairs, source_confidence=one))
    check_good(result, world)
    assert codes(result) == ["unusable_pair"] and "(0, 5)" in result.notices[0].message
    with pytest.raises(DegenerateError, match=r"8 separate pieces.*too few finite, confident"):
        align_pairs(replace(world.pairs, source_confidence=all_pairs))


class Covered(PairsWorld):
    """The ball fills the whole picture of frame 3."""

    def _ball(self, t: int) -> Float64[np.ndarray, "3"]:
        pose = self.world_from_cam[t]
        return pose[:3, 3] + 0.6 * pose[:3, 2] if t == 3 else super()._ball(t)


def test_pairs_without_static_pixels_have_no_say_and_are_named() -> None:
    world = Covered()
    assert world.moving[3].all()
    result = align_pairs(world.pairs)
    assert relative_ate(result.world_from_cam, world.world_from_cam) < 0.003  # as in `check_good`
    assert result.moving[3].mean() > 0.95
    assert codes(result) == ["pair_without_static"]
    covered = [(int(n), int(m)) for n, m in world.pairs.edges if n == 3]
    assert all(str(edge) in result.notices[0].message for edge in covered)


@settings(max_examples=2, deadline=None)
@given(st.permutations(range(42)))
def test_the_order_of_the_pairs_does_not_matter(order: list[int]) -> None:
    world = PairsWorld()
    assert len(world.pairs.edges) == len(order)
    here, there = align_pairs(world.pairs), align_pairs(some(world.pairs, order))
    # sums in another order, and the steps at which the solver stops: a tenth of the camera's error
    np.testing.assert_allclose(there.world_from_cam, here.world_from_cam, atol=3e-5)


def test_flow_that_is_not_finite_is_not_used(world: PairsWorld) -> None:
    flow = world.pairs.flow_px.copy()
    flow[2] = np.nan
    result = align_pairs(replace(world.pairs, flow_px=flow))
    check_good(result, world)
    # the reverse pair cannot be checked, so it is not used either
    assert codes(result) == ["pair_without_static"]
    assert set(result.notices[0].frames) == set(world.pairs.edges[2].tolist())


def test_duplicated_pairs_and_pairs_of_one_frame_are_named(
    world: PairsWorld, aligned: AlignedPairs
) -> None:
    order = [*range(len(world.pairs.edges)), 0, 1]
    pairs = some(world.pairs, order)
    pairs.edges[-1] = 2
    result = align_pairs(pairs)
    assert codes(result) == ["duplicated_pair", "self_pair"]
    assert "(0, 1)" in result.notices[0].message and "(2, 2)" in result.notices[1].message
    np.testing.assert_allclose(result.depth, aligned.depth, rtol=1e-5)


def test_separate_pieces_are_refused_by_name(world: PairsWorld) -> None:
    early = world.pairs.edges < 4
    with pytest.raises(DegenerateError, match=r"2 separate pieces \[\[0, 1, 2, 3\]"):
        align_pairs(some(world.pairs, early.all(1) | (~early).all(1)))


def test_a_frame_that_is_never_first_is_refused_by_name(world: PairsWorld) -> None:
    with pytest.raises(DegenerateError, match=r"\[7\] are the first view of no usable pair"):
        align_pairs(some(world.pairs, world.pairs.edges[:, 0] < world.pairs.edges[:, 1]))


def test_a_graph_that_needs_its_bad_pair_is_refused(world: PairsWorld) -> None:
    chain = np.abs(world.pairs.edges[:, 0] - world.pairs.edges[:, 1]) == 1
    pairs = some(world.pairs, chain)
    middle = (pairs.edges == 3).any(1) & (pairs.edges == 4).any(1)
    points = pairs.target_points.copy()
    points[middle] = np.nan
    with pytest.raises(DegenerateError, match="2 separate pieces"):
        align_pairs(replace(pairs, target_points=points))


def test_no_flow_at_all_is_refused(world: PairsWorld) -> None:
    with pytest.raises(DegenerateError, match="no flow measurement"):
        align_pairs(replace(world.pairs, flow_px=np.full_like(world.pairs.flow_px, np.nan)))


def test_wrong_shapes_frames_and_options_are_refused(world: PairsWorld) -> None:
    shapes = {name: getattr(world.pairs, name).shape for name in (*PER_PAIR, "images")}
    with pytest.raises(InputError, match="source_confidence has shape"):
        check_shapes(shapes | {"source_confidence": (3, 48, 64)})
    with pytest.raises(InputError, match="images have shape"):
        check_shapes(shapes | {"images": (3, 48, 64)})
    with pytest.raises(InputError, match="1 frames"):
        check_shapes(shapes | {"images": (1, 48, 64, 3)})
    with pytest.raises(InputError, match="frames 0 to 9; there are 0 to 7"):
        align_pairs(
            replace(world.pairs, edges=np.where(world.pairs.edges == 7, 9, world.pairs.edges))
        )
    with pytest.raises(ConfigError, match="masks must be"):
        PairOptions(masks="best")


def write(path: Path, pairs: Pairs, seed: int) -> None:
    """A recon4d-pairs file whose truth is noise."""
    rng = np.random.default_rng(seed)
    count, (width, height) = len(pairs.edges), pairs.size
    np.savez(
        path,
        images=pairs.images,
        edges=pairs.edges.astype(np.int32),
        pts3d_i=pairs.source_points,
        pts3d_j=pairs.target_points,
        conf_i=pairs.source_confidence,
        conf_j=pairs.target_confidence,
        flow=pairs.flow_px,
        flow_valid=rng.random((count, height, width)) < 0.5,
        pair_scale=rng.random(count),
        meta=str(rng.random()),
        gt_c2w=rng.random((pairs.num_frames, 4, 4)),
        gt_depth=rng.random((pairs.num_frames, height, width)),
        gt_K=rng.random((3, 3)),
        gt_dyn=rng.random((pairs.num_frames, height, width)) < 0.5,
    )


def test_the_benchmark_does_not_read_the_truth(world: PairsWorld, tmp_path: Path) -> None:
    results = []
    for seed in (0, 1):
        scene, out = tmp_path / f"scene{seed}.npz", tmp_path / f"result{seed}.npz"
        write(scene, world.pairs, seed)
        cost = run_scene(scene, out, PairOptions())
        assert cost["dropped"] == [] and float(str(cost["cpu_seconds"])) > 0
        with np.load(out) as file:
            results.append({name: file[name].tobytes() for name in file.files})
            assert file["world_from_cam"].shape == (8, 4, 4) and file["focal"].shape == (8,)
            assert file["depth"].shape == file["moving"].shape == (8, 48, 64)
    assert results[0] == results[1]


def test_files_that_are_no_pairs_are_refused(world: PairsWorld, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        read_pairs(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("no arrays")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(text)
    some_arrays = tmp_path / "some.npz"
    np.savez(some_arrays, images=world.pairs.images)
    with pytest.raises(InputError, match="has no arrays"):
        read_pairs(some_arrays)
