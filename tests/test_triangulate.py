"""Per-pixel triangulation with fixed cameras, on analytic scenes with exact truth."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from recon4d.core.scene import FLOW_STRIDE, Flow
from recon4d.optim.triangulate import BEHIND_PX, Triangulation, triangulate
from tests import needs
from tests.synthetic import SyntheticScene, make_scene

FRAME = 4


@cache
def static_scene() -> SyntheticScene:
    return make_scene(9, (160, 120), seed=3)


def truth_of(scene: SyntheticScene, frame: int = FRAME) -> np.ndarray:
    """z-depth at the samples of `Flow`."""
    rows, cols = scene.flow.confidence.shape[1:]
    u, v = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    uv = FLOW_STRIDE * np.stack((u, v), axis=-1).reshape(-1, 2)
    return scene.exact_depth(frame, uv).reshape(rows, cols)


def relative_error(found: Triangulation, truth: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(found.inverse_depth.numpy() * truth - 1))


def test_exact_flow_gives_the_exact_depth() -> None:
    scene = static_scene()
    found = triangulate(scene.flow, FRAME, scene.scene)
    error = relative_error(found, truth_of(scene))
    # float16 flow: 0.004 px at 8 px and more, against 3 to 12 px of parallax
    assert np.median(error) < 5e-4
    seen = (found.weight.sum(0) > 2).numpy()
    assert seen.mean() > 0.9
    assert np.quantile(error[seen], 0.98) < 5e-3


def test_the_standard_deviation_covers_the_error_of_noisy_flow() -> None:
    scene = make_scene(9, (160, 120), seed=3, noise_px=0.15)
    found = triangulate(scene.flow, FRAME, scene.scene)
    truth = truth_of(scene)
    sigmas = relative_error(found, truth) / (found.inverse_depth_std.numpy() * truth)
    assert 0.4 < np.median(sigmas) < 1.0  # 0.67 for a Gaussian


@pytest.mark.parametrize("bad_edges", [1, 3])
def test_outlier_flows_are_rejected_and_shown(bad_edges: int) -> None:
    scene = static_scene()
    flow_px = scene.flow.flow_px.copy()
    bad = np.flatnonzero(scene.flow.edges[:, 0] == FRAME)[:bad_edges]
    flow_px[bad] += np.float16(6)
    found = triangulate(replace(scene.flow, flow_px=flow_px), FRAME, scene.scene)
    assert np.median(relative_error(found, truth_of(scene))) < 2e-3
    is_bad = np.isin(found.edge_index.numpy(), bad)
    residual = found.residual_px.numpy().reshape(len(is_bad), -1)
    assert np.median(residual[is_bad]) > 3
    assert np.median(residual[~is_bad]) < 0.05
    assert float(found.weight[torch.from_numpy(is_bad)].max()) < 0.2


def test_scaling_the_poses_scales_the_depth() -> None:
    scene = static_scene()
    world_from_cam = scene.scene.world_from_cam.copy()
    world_from_cam[:, :3, 3] *= 7.0
    small = triangulate(scene.flow, FRAME, scene.scene)
    large = triangulate(scene.flow, FRAME, replace(scene.scene, world_from_cam=world_from_cam))
    # float32 rounding of the poses
    assert torch.allclose(small.inverse_depth, 7 * large.inverse_depth, rtol=1e-3, atol=1e-5)
    assert torch.allclose(small.agreeing, large.agreeing, atol=1.0)


def test_moving_pixels_have_no_weight_and_infinite_deviation() -> None:
    scene = static_scene()
    static = np.ones(scene.flow.confidence.shape[1:], np.float32)
    static[10:20, 10:20] = 0
    found = triangulate(scene.flow, FRAME, scene.scene, static)
    assert float(found.weight[:, 10:20, 10:20].max()) == 0
    assert torch.isinf(found.inverse_depth_std[10:20, 10:20]).all()
    assert torch.isfinite(found.inverse_depth_std[30:, 30:]).float().mean() > 0.95


def test_points_at_infinity_are_far_and_uncertain_not_negative() -> None:
    scene = static_scene()
    still = np.repeat(scene.scene.world_from_cam[:1], 9, axis=0)
    still[:, 0, 3] = 0.01 * np.arange(9)
    flow = replace(scene.flow, flow_px=np.zeros_like(scene.flow.flow_px))
    found = triangulate(flow, FRAME, replace(scene.scene, world_from_cam=still))
    assert (found.inverse_depth > 0).all()
    assert float(found.inverse_depth.max()) < 0.1
    assert (found.inverse_depth_std > found.inverse_depth).all()


def test_a_still_camera_gives_finite_depth_of_infinite_deviation() -> None:
    scene = static_scene()
    still = np.repeat(scene.scene.world_from_cam[:1], 9, axis=0)
    flow = replace(scene.flow, flow_px=np.zeros_like(scene.flow.flow_px))
    found = triangulate(flow, FRAME, replace(scene.scene, world_from_cam=still))
    assert torch.isfinite(found.inverse_depth).all() and (found.inverse_depth > 0).all()
    assert torch.isinf(found.inverse_depth_std).all()
    assert float(found.residual_px.max()) < 1e-3


def test_a_point_behind_the_target_is_marked_not_used() -> None:
    scene = static_scene()
    backwards = scene.scene.world_from_cam.copy()
    turned = backwards[5].copy()
    turned[:3, 0] *= -1
    turned[:3, 2] *= -1
    backwards[5] = turned
    found = triangulate(scene.flow, FRAME, replace(scene.scene, world_from_cam=backwards))
    edge = int(np.flatnonzero(scene.flow.edges[found.edge_index.numpy(), 1] == 5)[0])
    assert float(found.residual_px[edge].min()) == BEHIND_PX
    assert float(found.weight[edge].max()) == 0
    assert np.median(relative_error(found, truth_of(scene))) < 2e-3


def test_edges_to_frames_that_are_lost_or_in_another_piece_are_ignored() -> None:
    scene = static_scene()
    is_posed, component = scene.scene.is_posed.copy(), scene.scene.component.copy()
    is_posed[5], component[5] = False, -1
    component[6] = 1
    poses = scene.scene.world_from_cam.copy()
    poses[5:7, :3, 3] += 0.5
    partly = replace(scene.scene, is_posed=is_posed, component=component, world_from_cam=poses)
    found = triangulate(scene.flow, FRAME, partly)
    targets = scene.flow.edges[found.edge_index.numpy(), 1]
    assert float(found.weight[torch.from_numpy(np.isin(targets, (5, 6)))].max()) == 0
    assert np.median(relative_error(found, truth_of(scene))) < 5e-4


def test_a_frame_without_edges_has_finite_depth_of_infinite_deviation() -> None:
    scene = static_scene()
    kept = (scene.flow.edges != FRAME).all(1)
    flow = Flow(scene.flow.edges[kept], scene.flow.flow_px[kept], scene.flow.confidence[kept])
    found = triangulate(flow, FRAME, scene.scene)
    assert found.residual_px.shape[0] == 0
    assert torch.isinf(found.inverse_depth_std).all()
    assert torch.isfinite(found.inverse_depth).all()


@pytest.mark.gpu
@needs.cuda
def test_cuda_gives_what_the_cpu_gives() -> None:
    scene = static_scene()
    cpu = triangulate(scene.flow, FRAME, scene.scene)
    gpu = triangulate(scene.flow, FRAME, scene.scene, device=torch.device("cuda"))
    assert gpu.inverse_depth.device.type == "cuda"
    assert torch.allclose(cpu.inverse_depth, gpu.inverse_depth.cpu(), rtol=1e-3, atol=1e-4)


def test_results_lie_on_the_device_that_was_asked_for() -> None:
    scene = static_scene()
    found = triangulate(scene.flow, FRAME, scene.scene, device=torch.device("cpu"))
    assert {x.device.type for x in (found.inverse_depth, found.weight, found.edge_index)} == {"cpu"}
