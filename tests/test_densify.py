"""Dense depth with fixed cameras: coverage, accuracy, movers, and what nothing determines."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import torch

from recon4d.core.sampling import sample_px
from recon4d.core.scene import DenseDepth, DepthPrior, Flow, MotionMasks
from recon4d.optim.dense import MOVER, densify
from recon4d.optim.dense.complete import complete
from recon4d.optim.dense.edges import choose_sides, enlarge
from recon4d.optim.dense.geodesic import Barriers, geodesic_sums, local_planes
from recon4d.optim.dense.known import KNOWN, KnownDepth, join_known, known_confidence
from recon4d.optim.dense.movers import Regions, moving_regions, placed
from recon4d.optim.dense.moving import joint_levels
from recon4d.optim.dense.observed import Observed, relative_range
from recon4d.optim.dense.over_time import steady
from recon4d.optim.dense.trust import (
    COMPLETED,
    COMPLETED_REACH,
    CONFIRMED,
    LEAST,
    REFUTED,
    confidence_of,
    judged,
    trust_of,
    weight_of,
)
from recon4d.optim.setting import AlignOptions
from recon4d.run.spread import depth_spread
from tests import needs
from tests.synthetic import SyntheticScene, make_scene

OPTIONS = AlignOptions(threads=1)


@cache
def scene_of(mover: bool) -> SyntheticScene:
    return make_scene(8, (160, 120), seed=3, mover=mover, noise_px=0.1)


def masks_of(scene: SyntheticScene) -> MotionMasks:
    return MotionMasks(scene.is_dynamic[:, ::2, ::2].astype(np.float32))


def no_motion(scene: SyntheticScene) -> MotionMasks:
    return MotionMasks(np.zeros((8, 60, 80), np.float32))


@cache
def dense(mover: bool) -> DenseDepth:
    scene = scene_of(mover)
    return densify(scene.video, scene.flow, scene.scene, masks_of(scene), OPTIONS)


def abs_rel(depth: np.ndarray, truth: np.ndarray) -> float:
    return float((np.abs(depth - truth) / truth).mean())


def test_every_pixel_of_a_static_scene_gets_its_depth() -> None:
    scene, found = scene_of(mover=False), dense(mover=False)
    assert found.depth.shape == scene.depth.shape
    assert np.isfinite(found.depth).all() and (found.depth > 0).all()
    # 3 to 12 px of parallax and 0.1 px of noise over 5 to 7 edges; the rest is depth edges
    assert abs_rel(found.depth, scene.depth) < 0.03
    assert np.median(np.abs(found.depth / scene.depth - 1)) < 0.008
    assert (np.maximum(found.depth / scene.depth, scene.depth / found.depth) < 1.25).mean() > 0.97


def test_confidence_tells_good_pixels_from_bad_ones() -> None:
    scene, found = scene_of(mover=False), dense(mover=False)
    error = np.abs(found.depth / scene.depth - 1)
    sure, unsure = found.confidence > 128, found.confidence < 50
    assert sure.mean() > 0.3 and unsure.mean() > 0.05
    assert error[sure].mean() < 0.01
    assert error[unsure].mean() > 3 * error[sure].mean()


def test_completed_pixels_are_the_less_certain_the_farther_they_are_from_what_was_seen() -> None:
    """A white wall whose left half alone shows anything: no colour says how the surface goes on."""
    depths = torch.full((1, 40, 80), 0.5)
    observed = Observed(depths, torch.ones_like(depths))
    observed.confidence[..., 40:] = 0
    trust = trust_of(depths, observed)[0, 20]
    assert (trust[:40] == 1).all()
    assert trust[40] == pytest.approx(COMPLETED / (1 + 1 / (COMPLETED_REACH * 80)), rel=0.05)
    assert (trust[40:].diff() <= 0).all() and trust[41] > 2 * trust[60] > 2 * LEAST
    none = trust_of(depths, Observed(depths, torch.zeros_like(depths)))
    assert (none == LEAST).all()


def test_flow_bears_out_the_true_depth_and_refutes_another() -> None:
    scene = scene_of(mover=False)
    true = torch.from_numpy(1 / scene.depth[4, ::2, ::2].astype(np.float32))
    static = np.ones(true.shape, np.float32)
    right, wrong = (
        judged(depth, scene.flow, 4, scene.scene, static) for depth in (true, 1.5 * true)
    )
    # of 10 edges half an edge counts as unheard; what is covered in some frames, and borders, are the rest
    assert right.agreement.median() > 0.95
    # .35 px of some 3.5 px of parallax are 10 %, twice `TOLD`: 1 / (1 + 4)
    assert right.borne_out.median() == pytest.approx(0.2, abs=0.05)
    # half of the parallax more: 2 px off
    assert wrong.agreement.median() < 0.6 and wrong.borne_out.median() < 0.05
    unseen = torch.full_like(true, LEAST)
    assert confidence_of(unseen, right).max() <= CONFIRMED
    assert confidence_of(unseen, right).median() > 3 * confidence_of(unseen, wrong).median()
    assert (confidence_of(torch.ones_like(true), wrong) == 1).all()  # what is measured stays
    assert weight_of(unseen, right).median() > 3 * weight_of(unseen, wrong).median()
    moving = judged(true, scene.flow, 4, scene.scene, 0 * static)
    assert (moving.borne_out == 0).all()  # a mover's flow says nothing
    assert torch.allclose(weight_of(unseen, moving), REFUTED * unseen)


def test_a_camera_that_stands_bears_out_no_depth() -> None:
    scene = scene_of(mover=False)
    still = replace(scene.scene, world_from_cam=np.tile(np.eye(4), (8, 1, 1)))
    no_flow = replace(scene.flow, flow_px=np.zeros_like(scene.flow.flow_px))
    verdict = judged(torch.full((60, 80), 0.5), no_flow, 4, still, np.ones((60, 80), np.float32))
    assert verdict.agreement.median() > 0.95 and (verdict.borne_out == 0).all()


@pytest.mark.parametrize("mover", [False, True])
def test_stated_deviations_hold_on_a_synthetic_scene(mover: bool) -> None:
    scene, found = scene_of(mover), dense(mover)
    spread = depth_spread(scene.scene, found, scene.is_dynamic)
    std = spread.std(found, scene.is_dynamic, measured=False).astype(np.float64)
    assert np.isfinite(std).all() and (std > 0).all()
    within = np.abs(found.depth - scene.depth) < std
    static = ~scene.is_dynamic
    # 68 % of errors that are alike along whole surfaces, which are compared with what single frames find: found 0.84
    # and 0.79, for all eight frames share what they see; 0.71 and 0.70 on clips of 90 and 60 frames
    assert 0.60 < within[static].mean() < 0.87
    unsure = static & (found.confidence < 30)
    assert 0.60 < within[unsure].mean() < 0.90
    if mover:
        assert (std / found.depth)[scene.is_dynamic].min() > 0.28


def test_scaling_the_poses_scales_the_depth() -> None:
    scene = scene_of(mover=True)
    world_from_cam = scene.scene.world_from_cam.copy()
    world_from_cam[:, :3, 3] *= 5.0
    large = replace(
        scene.scene,
        world_from_cam=world_from_cam,
        inverse_depth=scene.scene.inverse_depth / 5,
        inverse_depth_std=scene.scene.inverse_depth_std / 5,
    )
    found = densify(scene.video, scene.flow, large, masks_of(scene), OPTIONS)
    ratio = found.depth / dense(mover=True).depth
    # float32 rounding may turn the choice of a side at single pixels
    assert np.quantile(np.abs(ratio / 5 - 1), 0.995) < 1e-3


def test_a_mover_hides_what_is_behind_it_and_does_not_disturb_the_rest() -> None:
    scene, found = scene_of(mover=True), dense(mover=True)
    for frame in range(8):
        moving = scene.is_dynamic[frame]
        assert moving.mean() > 0.02
        wide = cv2.dilate(moving.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        around = np.median(scene.depth[frame][wide & ~moving])
        assert np.median(found.depth[frame][moving]) < 1.05 * around
        assert abs(np.median(found.confidence[frame][moving]) / 255 - MOVER) < 0.05
    assert abs_rel(found.depth[~scene.is_dynamic], scene.depth[~scene.is_dynamic]) < 0.04


def test_a_moving_region_takes_the_ground_below_it_and_is_never_behind_its_surroundings() -> None:
    rows, cols = 60, 80
    floor = np.linspace(0.2, 1.0, rows, dtype=np.float32)[:, None].repeat(cols, axis=1)
    probability = np.zeros((rows, cols), np.float32)
    probability[10:45, 30:40] = 1
    found = moving_regions(floor, probability)
    region, depths = found.labels > 0, placed(floor, found.labels, found.level)
    assert (region == (probability > 0.5)).all() and found.stands.all()
    assert (depths[~region] == floor[~region]).all()
    assert np.ptp(depths[region]) < 0.01
    assert abs(depths[30, 35] - floor[47, 0]) < 0.05  # the floor where the feet are
    near_wall = floor.copy()
    near_wall[:40] = 2.0
    hidden = moving_regions(near_wall, probability)
    assert hidden.level[0] >= 2.0 and not hidden.stands[0]


def test_a_moving_region_that_the_image_border_cuts_is_not_behind_the_lowest_floor_beside_it() -> (
    None
):
    rows, cols = 60, 80
    floor = np.linspace(0.2, 1.0, rows, dtype=np.float32)[:, None].repeat(cols, axis=1)
    probability = np.zeros((rows, cols), np.float32)
    probability[20:, 30:45] = 1
    found = moving_regions(floor, probability)
    assert found.level[0] > 0.9 and not found.stands[0]


def drawn_movers(growth: float) -> tuple[list[Regions], Flow]:
    """A body that goes right and grows, of which a hand comes off for a while; levels as single frames find them."""
    rng = np.random.default_rng(4)
    scene = scene_of(mover=False)
    there = sample_px(60, 80)
    regions, flows = [], []
    for frame in range(8):
        labels = np.zeros((60, 80), np.int32)
        labels[15:45, 20 + 2 * frame : 35 + 2 * frame] = 1
        said = 0.5 * np.exp(growth * frame + rng.normal(0, 0.2, 2))
        said[0] *= 3 if frame == 5 else 1
        if frame in (2, 3, 4):
            labels[20:24, 36 + 2 * frame : 40 + 2 * frame] = 2
            said[1] = 2.0
        count = labels.max()
        area = np.bincount(labels.ravel())[1:].astype(np.float32)
        regions.append(Regions(labels, said[:count].astype(np.float32), np.ones(count, bool), area))
    for source, target in scene.flow.edges:
        apart = target - source
        centre = np.array((2 * (27.5 + 2 * source), 60.0))
        flow = (np.exp(growth * apart) - 1) * (there - centre) + np.array((4.0, 0.0)) * apart
        flows.append(flow.astype(np.float16))
    return regions, replace(scene.flow, flow_px=np.stack(flows))


@pytest.mark.parametrize("growth", [0.0, 0.02, -0.02])
def test_a_mover_has_one_depth_that_follows_its_size(growth: float) -> None:
    regions, flow = drawn_movers(growth)
    scene = scene_of(mover=False).scene
    found = joint_levels(regions, flow, scene, range(8))
    body = np.log([levels[0] for levels in found])
    assert np.diff(body) == pytest.approx(growth, abs=0.01)
    assert body[0] == pytest.approx(np.log(0.5), abs=0.2)
    assert [len(levels) for levels in found] == [1, 1, 2, 2, 2, 1, 1, 1]


def test_movers_of_pieces_that_share_no_scale_are_not_linked() -> None:
    regions, flow = drawn_movers(0.0)
    scene = replace(scene_of(mover=False).scene, component=np.arange(8))
    for alone, found in zip(regions, joint_levels(regions, flow, scene, range(8)), strict=True):
        assert found == pytest.approx(alone.level)
    floor, nothing = np.ones((60, 80), np.float32), np.zeros((60, 80), np.float32)
    empty = [moving_regions(floor, nothing)] * 8
    assert not any(map(len, joint_levels(empty, flow, scene, range(8))))


def test_everything_moving_still_gives_finite_depth() -> None:
    scene = scene_of(mover=False)
    found = densify(
        scene.video, scene.flow, scene.scene, MotionMasks(np.ones((8, 60, 80), np.float32)), OPTIONS
    )
    assert np.isfinite(found.depth).all() and (found.depth > 0).all()
    assert found.confidence.max() < 128


def test_frames_without_a_pose_have_depth_but_no_confidence() -> None:
    scene = scene_of(mover=False)
    is_posed, component = scene.scene.is_posed.copy(), scene.scene.component.copy()
    is_posed[3], component[3] = False, -1
    partly = replace(scene.scene, is_posed=is_posed, component=component)
    found = densify(scene.video, scene.flow, partly, no_motion(scene), OPTIONS)
    assert (found.confidence[3] == 0).all()
    assert np.isfinite(found.depth).all() and (found.depth > 0).all()
    assert (found.confidence[[0, 1, 2, 4, 5, 6, 7]] > 100).mean() > 0.4


def test_a_still_camera_gives_the_prior_at_confidence_zero() -> None:
    scene = scene_of(mover=False)
    still = replace(
        scene.scene,
        world_from_cam=np.repeat(scene.scene.world_from_cam[:1], 8, axis=0),
        inverse_depth=np.full_like(scene.scene.inverse_depth, 0.25),
        inverse_depth_std=np.full_like(scene.scene.inverse_depth, np.inf),
    )
    flow = replace(scene.flow, flow_px=np.zeros_like(scene.flow.flow_px))
    found = densify(scene.video, flow, still, no_motion(scene), OPTIONS)
    assert (found.confidence == 0).all()
    assert np.allclose(found.depth, 4.0)


def test_sensor_depth_keeps_the_metric_scale_and_fills_in_where_flow_cannot() -> None:
    scene = scene_of(mover=False)
    rng = np.random.default_rng(0)
    sensor = scene.depth * rng.normal(1, 0.01, scene.depth.shape).astype(np.float32)
    sensor[:, :, :60] = 0
    flow = replace(scene.flow, confidence=scene.flow.confidence.copy())
    flow.confidence[:, :, 45:60] = 0
    found = densify(
        replace(scene.video, sensor_depth=sensor), flow, scene.scene, no_motion(scene), OPTIONS
    )
    measured = sensor > 0
    assert abs_rel(found.depth[measured], scene.depth[measured]) < 0.011
    assert found.confidence[measured].min() > 200
    assert abs_rel(found.depth[~measured], scene.depth[~measured]) < 0.04
    assert (found.depth > 0).all()


def test_sensor_depth_wins_where_flow_disagrees() -> None:
    flow = Observed(torch.full((1, 2, 2), 0.5), torch.ones((1, 2, 2)))
    measured = torch.tensor([[[1.0, 0.0], [2.02, 0.0]]])
    joined = join_known(flow, KnownDepth(measured, 0.01 + 0.002 * measured, is_measured=True))
    assert joined.inverse_depth[0, 0, 0] == pytest.approx(1.0)
    assert joined.inverse_depth[0, 0, 1] == 0.5
    assert 1 / 2.02 < float(joined.inverse_depth[0, 1, 0]) < 0.5


def test_known_depth_is_less_certain_at_edges_and_where_its_own_deviation_is_large() -> None:
    depth = torch.full((1, 20, 80), 2.0)
    depth[..., 40:] = 4.0
    sigma = torch.full_like(depth, 0.01)
    sigma[..., 60:] = 0.05
    known = KnownDepth(depth, sigma, is_measured=True)
    trust = known_confidence(1 / depth, torch.zeros_like(depth), known)[0, 10]
    assert trust.min() >= KNOWN
    assert trust[10] > trust[70] > trust[40]
    assert trust[37:43] == pytest.approx(KNOWN, abs=0.01)


def test_predicted_depth_follows_the_scale_of_the_scene_and_yields_to_flow() -> None:
    scene = scene_of(mover=False)
    predicted = 3 * scene.depth  # a network's unit
    predicted[:, :40] *= 1.2  # and its errors
    sigma = np.full(predicted.shape, 0.1, np.float16)
    video = replace(scene.video, predicted_depth=DepthPrior(predicted, False, sigma))
    found = densify(video, scene.flow, scene.scene, no_motion(scene), OPTIONS)
    # flow of 0.1 px is ten times as exact as the prior, so that little of the 20 % is left
    assert abs_rel(found.depth, scene.depth) < 0.02


def test_a_slanted_plane_is_continued_across_a_hole() -> None:
    rows, cols = 48, 64
    y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(cols) / cols, indexing="ij")
    plane = (0.5 + 0.2 * x + 0.3 * y)[None]
    confidence = torch.ones_like(plane)
    confidence[:, 10:38, 20:44] = 0
    depths = torch.where(confidence > 0, plane, 3.0)
    guide = torch.full((1, rows, cols, 3), 128.0)
    limits = torch.tensor([[0.1, 4.0]])
    found = complete(Observed(depths, confidence), guide, torch.zeros_like(plane), limits)
    # the ridge of the plane fit flattens the middle of a large hole a little
    assert float((found / plane - 1).abs().max()) < 0.05


def test_a_hole_takes_the_surface_on_its_own_side_of_an_image_edge() -> None:
    rows, cols = 48, 64
    depths = torch.full((1, rows, cols), 1.0)
    depths[:, :, 32:] = 0.3
    guide = torch.full((1, rows, cols, 3), 40.0)
    guide[:, :, 32:] = 200.0
    confidence = torch.ones_like(depths)
    confidence[:, :, 24:40] = 0
    mixed = torch.where(confidence > 0, depths, 0.6)
    limits = torch.tensor([[0.1, 2.0]])
    found = complete(Observed(mixed, confidence), guide, torch.zeros_like(depths), limits)
    assert float((found / depths - 1).abs().max()) < 0.05


def test_outliers_do_not_bend_a_completed_surface() -> None:
    rows, cols = 48, 64
    torch.manual_seed(0)
    depths = torch.full((1, rows, cols), 0.5)
    is_outlier = torch.rand((1, rows, cols)) < 0.1
    depths[is_outlier] = 3.0
    confidence = torch.where(is_outlier, 0.2, 0.6)
    guide = torch.full((1, rows, cols, 3), 128.0)
    found = complete(
        Observed(depths, confidence), guide, torch.zeros_like(depths), torch.tensor([[0.1, 4.0]])
    )
    assert float((found / 0.5 - 1).abs().quantile(0.99)) < 0.1


def test_what_a_frame_does_not_measure_is_what_others_saw_and_stays() -> None:
    """Half of the later frames is completed, each alone, and each otherwise."""
    scene = scene_of(mover=False)
    true = torch.from_numpy(1 / scene.depth[:, ::2, ::2])
    trust, alone = torch.full_like(true, 0.9), true.clone()
    trust[4:, :, :40] = 0.01
    factors = torch.tensor([1.3, 0.8, 1.25, 0.75])[:, None, None]
    alone[4:, :, :40] *= factors
    found = steady(alone, trust, scene.scene, range(8))
    off = (found / true - 1).abs()
    assert float(off[4:, :, :40].median()) < 0.01
    assert float(off[4:, 5:-5, 5:35].quantile(0.8)) < 0.05
    assert float(off[:4].mean()) < 0.03
    nowhere = torch.full_like(true, 0.01)  # nothing is measured: the frames agree all the same
    changes = (steady(alone, nowhere, scene.scene, range(8)) / true)[4:, :, :40].median(2)[0]
    assert float(changes.median(1)[0].log().diff().abs().max()) < 0.05


def test_frames_without_a_pose_neither_give_nor_take_depth() -> None:
    scene = scene_of(mover=False)
    true = torch.from_numpy(1 / scene.depth[:, ::2, ::2])
    is_posed = scene.scene.is_posed.copy()
    is_posed[3] = False
    alone = true.clone()
    alone[3] *= 2
    partly = replace(scene.scene, is_posed=is_posed)
    found = steady(alone, torch.full_like(true, 0.5), partly, range(8))
    assert (found[3] == alone[3]).all()
    others = [0, 1, 2, 4, 5, 6, 7]
    assert float((found / true - 1).abs()[others].median()) < 0.005


def test_pixels_between_two_surfaces_choose_one_by_their_colour() -> None:
    rows, cols = 24, 32
    depths = torch.full((1, rows, cols), 1.0)
    depths[:, :, 16:] = 0.3
    truth = depths.clone()
    depths[:, :, 13:19] = torch.linspace(1.0, 0.3, 6)
    guide = torch.full((1, rows, cols, 3), 40.0)
    guide[:, :, 16:] = 200.0
    confidence = torch.ones_like(depths)
    confidence[:, :, 12:20] = 0
    found = choose_sides(Observed(depths, confidence), guide)
    assert float(((found / truth - 1).abs() > 0.05).float().mean()) < 0.01


def test_enlarging_keeps_planes_smooth_and_edges_sharp() -> None:
    rows, cols = 24, 32
    coarse = torch.linspace(0.5, 0.6, cols).expand(1, rows, cols).clone()
    coarse[:, :, 16:] *= 3
    small = torch.full((1, rows, cols, 3), 40.0)
    small[:, :, 16:] = 200.0
    large = torch.full((1, 2 * rows, 2 * cols, 3), 40.0)
    large[:, :, 31:] = (
        200.0  # the border lies one pixel to the left of where the coarse grid has it
    )
    full = enlarge(coarse, small, large)
    assert full.shape == (1, 48, 64)
    assert float(full[:, :, :31].max()) < 0.56 and float(full[:, :, 31:].min()) > 1.6
    assert float(full[0, 0, 2:28].diff().min()) > 0


def test_geodesic_sums_stop_at_barriers_and_are_symmetric() -> None:
    values = torch.zeros((1, 1, 9, 21))
    values[0, 0, 4, 10] = 1
    open_ground = Barriers(torch.zeros((1, 9, 21)), torch.zeros((1, 9, 21)))
    total = geodesic_sums(values, open_ground, 3.0)[0, 0]
    assert torch.allclose(total, total.flip(1), atol=1e-6)
    wall = torch.zeros((1, 9, 21))
    wall[:, :, 12] = 30.0
    cut = geodesic_sums(values, Barriers(wall, torch.zeros((1, 9, 21))), 3.0)[0, 0]
    assert float(cut[:, 12:].max()) < 1e-6 < float(total[4, 12])
    assert torch.allclose(cut[4, :8], total[4, :8], rtol=0.2)


def test_a_plane_fit_reproduces_a_plane() -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    plane = (2 + 0.01 * x - 0.02 * y)[None]
    open_ground = Barriers(torch.zeros_like(plane), torch.zeros_like(plane))
    found, total = local_planes(plane, torch.ones_like(plane), open_ground, 5.0)
    assert torch.allclose(found[:, 6:-6, 6:-6], plane[:, 6:-6, 6:-6], atol=0.01)
    assert (total > 0).all()


def test_relative_range_is_that_of_the_window() -> None:
    torch.manual_seed(1)
    depths = torch.rand((2, 11, 13)) + 0.5
    ranges = relative_range(depths, 5)
    window = depths[1, 3:8, 4:9]
    assert float(ranges[1, 5, 6]) == pytest.approx(
        float((window.max() - window.min()) / depths[1, 5, 6])
    )
    corner = depths[0, :3, :3]
    assert float(ranges[0, 0, 0]) == pytest.approx(
        float((corner.max() - corner.min()) / depths[0, 0, 0])
    )


class _Counting:
    """A `Progress` that counts."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done = 0

    def __call__(self, stage: str, total: int) -> "AbstractContextManager[_Counting]":
        self.stages.append((stage, total))
        return nullcontext(self)

    def advance(self, count: int = 1) -> None:
        self.done += count


def test_progress_counts_every_frame_once() -> None:
    scene, counting = scene_of(mover=False), _Counting()
    densify(scene.video, scene.flow, scene.scene, no_motion(scene), OPTIONS, counting)
    assert counting.stages == [("depth", 8)] and counting.done == 8


def test_running_twice_gives_identical_results() -> None:
    scene = scene_of(mover=True)
    again = densify(scene.video, scene.flow, scene.scene, masks_of(scene), OPTIONS)
    assert (again.depth == dense(mover=True).depth).all()
    assert (again.confidence == dense(mover=True).confidence).all()


@pytest.mark.gpu
@needs.cuda
def test_cuda_gives_what_the_cpu_gives() -> None:
    scene = scene_of(mover=True)
    gpu = densify(
        scene.video, scene.flow, scene.scene, masks_of(scene), replace(OPTIONS, device="cuda")
    )
    assert np.quantile(np.abs(gpu.depth / dense(mover=True).depth - 1), 0.99) < 1e-2
