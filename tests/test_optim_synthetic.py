"""The batch optimizer on scenes whose cameras, depth and flow are known exactly."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from recon4d.core.scene import DepthPrior, Flow, MotionMasks, Scene, Video
from recon4d.flow import window_pairs
from recon4d.optim.align import initial_scene, optimise, static_problem, static_weight
from recon4d.optim.objective.noise import CAUCHY_SIGMAS, noise_kernel_px
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions
from tests.paths import centres, path_length, relative_ate, similarity, turn_errors_deg
from tests.synthetic import SyntheticScene, make_scene

SIZE = (208, 160)
FRAMES = 12
ONE_THREAD = AlignOptions(threads=1)


@cache
def carried() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, plain_lens=True)


def reconstruct(video: Video, flow: Flow) -> Scene:
    """Start, then optimise with masks that call everything static."""
    start = initial_scene(video, flow, ONE_THREAD)
    nothing_moves = MotionMasks(
        np.zeros((video.num_frames, *flow.confidence.shape[1:]), np.float32)
    )
    return optimise(video, flow, start, nothing_moves, ONE_THREAD)


@cache
def recovered() -> Scene:
    return reconstruct(carried().video, carried().flow)


def test_a_known_scene_is_recovered_exactly() -> None:
    truth = carried().scene
    # Flow is stored in half precision (0.004 px at 5 px, 0.03 px at 50 px): measured 5e-6 of the path.
    assert relative_ate(recovered().world_from_cam, truth.world_from_cam) < 1e-4
    assert turn_errors_deg(recovered().world_from_cam, truth.world_from_cam).max() < 0.005
    assert recovered().is_posed.all()
    assert recovered().notices == ()


def test_known_intrinsics_are_kept_to_the_last_bit() -> None:
    np.testing.assert_array_equal(recovered().intrinsics, carried().scene.intrinsics)


def test_depth_has_the_scale_of_the_poses() -> None:
    found, truth = recovered(), carried()
    scale, _ = similarity(centres(found.world_from_cam), centres(truth.scene.world_from_cam))
    for frame in range(0, FRAMES, 4):
        exact = truth.exact_depth(frame, found.samples_px[frame].astype(np.float64))
        sure = found.inverse_depth_std[frame] < 0.02 * found.inverse_depth[frame]
        error = np.abs(scale / found.inverse_depth[frame] / exact - 1)
        assert sure.mean() > 0.5
        assert np.median(error[sure]) < 2e-3  # the median sample; edges mix two surfaces


def test_predicted_depth_in_another_unit_helps_to_start_and_bends_nothing() -> None:
    truth = carried()
    rng = np.random.default_rng(0)
    predicted = 3 * truth.depth * rng.normal(1, 0.05, truth.depth.shape).astype(np.float32)
    sigma = np.full(predicted.shape, 0.05, np.float16)
    video = replace(truth.video, predicted_depth=DepthPrior(predicted, False, sigma))
    found = reconstruct(video, truth.flow)
    # noise of 5 % in thousands of samples against flow without noise
    assert relative_ate(found.world_from_cam, truth.scene.world_from_cam) < 5e-4
    assert not found.is_metric and found.notices == ()


def test_the_solution_is_not_mirrored() -> None:
    found, truth = recovered(), carried()
    assert (found.inverse_depth > 0).all()
    exact = truth.exact_depth(0, found.samples_px[0].astype(np.float64))
    sure = found.inverse_depth_std[0] < 0.02 * found.inverse_depth[0]
    order = np.corrcoef(1 / found.inverse_depth[0][sure], exact[sure])[0, 1]
    assert order > 0.95
    steps = np.diff(centres(found.world_from_cam), axis=0)
    start = truth.scene.world_from_cam[0]
    true_steps = np.diff(centres(np.linalg.inv(start) @ truth.scene.world_from_cam), axis=0)
    assert ((steps * true_steps).sum(1) > 0).all()  # a mirrored path goes the other way


def test_poses_start_at_the_first_camera() -> None:
    np.testing.assert_allclose(recovered().world_from_cam[0], np.eye(4), atol=1e-12)


def test_the_scale_of_the_start_does_not_change_the_result() -> None:
    truth, start = carried(), recovered()
    still = MotionMasks(np.zeros((FRAMES, *truth.flow.confidence.shape[1:]), np.float32))
    stretch = []
    for factor in (0.01, 100.0):
        poses = start.world_from_cam.copy()
        poses[:, :3, 3] *= factor
        depth = (start.inverse_depth / factor).astype(np.float32)
        scaled = replace(start, world_from_cam=poses, inverse_depth=depth)
        found = optimise(truth.video, truth.flow, scaled, still, ONE_THREAD)
        assert relative_ate(found.world_from_cam, truth.scene.world_from_cam) < 1e-4
        stretch.append(path_length(found.world_from_cam) / path_length(poses))
    assert stretch[0] == pytest.approx(stretch[1], rel=1e-3)  # single precision residuals


def test_the_focal_length_of_an_unknown_camera_is_recovered() -> None:
    truth = carried()
    found = reconstruct(replace(truth.video, intrinsics=None), truth.flow)
    assert relative_ate(found.world_from_cam, truth.scene.world_from_cam) < 1e-4
    assert found.intrinsics[0, 0] == pytest.approx(truth.scene.intrinsics[0, 0], rel=1e-3)


@pytest.mark.slow
def test_every_frame_of_a_zoom_has_its_own_focal_length() -> None:
    frames = 24
    truth = make_scene(frames, SIZE, seed=3, plain_lens=True, noise_px=0.1, zoom=1.5)
    video, options = replace(truth.video, intrinsics=None), replace(ONE_THREAD, own_focals=True)
    start = initial_scene(video, truth.flow, options)
    nothing_moves = MotionMasks(np.zeros((frames, *truth.flow.confidence.shape[1:]), np.float32))
    found = optimise(video, truth.flow, start, nothing_moves, options)
    ratio = found.intrinsics[:, :2] / truth.scene.intrinsics[:, :2]
    # Zooming is nearly a step forwards: measured .005, of which .0045 is common to all frames
    np.testing.assert_allclose(ratio, 1, atol=0.02)
    assert truth.scene.intrinsics[-1, 0] / truth.scene.intrinsics[0, 0] == pytest.approx(1.5)
    assert relative_ate(found.world_from_cam, truth.scene.world_from_cam) < 3e-3


def test_movers_that_the_masks_name_do_not_disturb_the_cameras() -> None:
    truth = make_scene(FRAMES, SIZE, seed=4, mover=True)
    start = initial_scene(truth.video, truth.flow, ONE_THREAD)
    moving = truth.is_dynamic[:, 1::2, 1::2].astype(np.float32)
    found = optimise(truth.video, truth.flow, start, MotionMasks(moving), ONE_THREAD)
    assert relative_ate(found.world_from_cam, truth.scene.world_from_cam) < 1e-4


def test_pure_rotation_is_measured_and_depth_is_declared_unknown() -> None:
    truth = make_scene(FRAMES, SIZE, seed=5, path="turning")
    found = reconstruct(truth.video, truth.flow)
    assert turn_errors_deg(found.world_from_cam, truth.scene.world_from_cam).max() < 0.02
    assert [notice.code for notice in found.notices] == ["no_parallax"]
    assert np.isinf(found.inverse_depth_std).all()
    np.testing.assert_array_equal(found.world_from_cam[:, :3, 3], 0)


def test_a_camera_that_stands_still_has_no_motion() -> None:
    truth = make_scene(6, SIZE, seed=6, path="still")
    found = reconstruct(truth.video, truth.flow)
    np.testing.assert_allclose(found.world_from_cam, np.tile(np.eye(4), (6, 1, 1)), atol=1e-5)
    assert "no_parallax" in [notice.code for notice in found.notices]


def joined(first: SyntheticScene, second: SyntheticScene) -> tuple[Video, Flow]:
    """Two scenes one after the other; across the cut no flow is usable."""
    a, b = first.video.num_frames, second.video.num_frames
    pairs = window_pairs(a + b)
    edges = np.concatenate((pairs, pairs[:, ::-1]))
    shape = (len(edges), *first.flow.confidence.shape[1:])
    flow_px, confidence = np.zeros((*shape, 2), np.float16), np.zeros(shape, np.uint8)
    row = {tuple(edge): e for e, edge in enumerate(edges.tolist())}
    for scene, shift in ((first, 0), (second, a)):
        for e, edge in enumerate((scene.flow.edges + shift).tolist()):
            flow_px[row[tuple(edge)]] = scene.flow.flow_px[e]
            confidence[row[tuple(edge)]] = scene.flow.confidence[e]
    video = replace(
        first.video,
        images=np.concatenate((first.video.images, second.video.images)),
        timestamps_s=np.arange(a + b) / 30,
        sources=tuple(f"{i:06d}.png" for i in range(a + b)),
    )
    return video, Flow(edges, flow_px, confidence)


def test_after_a_hard_cut_the_smaller_part_is_not_called_posed() -> None:
    second = make_scene(7, SIZE, seed=8, plain_lens=True)
    found = reconstruct(*joined(carried(), second))
    assert found.is_posed.tolist() == [True] * FRAMES + [False] * 7
    notices = {notice.code: notice for notice in found.notices}
    assert notices["disconnected"].frames == tuple(range(FRAMES, FRAMES + 7))
    first, rest = found.world_from_cam[:FRAMES], found.world_from_cam[FRAMES:]
    assert relative_ate(first, carried().scene.world_from_cam) < 1e-4
    assert relative_ate(rest, second.scene.world_from_cam) < 1e-3  # shorter path, same errors


def test_doubt_about_a_pixel_counts_only_where_it_is_real() -> None:
    probability = np.array([0.0, 0.25, 0.5, 0.75, 1.0], np.float32)
    assert static_weight(probability).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("noise_px", [0.02, 0.08, 0.5])
def test_the_kernel_follows_the_noise_of_the_flow(noise_px: float) -> None:
    made = make_scene(6, SIZE, seed=3, plain_lens=True, noise_px=noise_px)
    still = MotionMasks(np.zeros((6, *made.flow.confidence.shape[1:]), np.float32))
    start = initial_scene(made.video, made.flow, ONE_THREAD)
    problem = static_problem(made.video, made.flow, start, still, ONE_THREAD)
    kernel_px = noise_kernel_px(problem, State.of(start), 0.3)
    # a part of the noise is absorbed by depths and cameras, and half precision adds its own
    wanted = np.clip(CAUCHY_SIGMAS * noise_px, 0.1, 0.3)
    assert kernel_px == pytest.approx(wanted, rel=0.25)
