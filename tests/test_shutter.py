"""Rolling shutters: what they add to flow, how the readout is found, and what is said of it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d.cli.info import _shutter_text
from recon4d.core.errors import ConfigError
from recon4d.core.scene import MotionMasks, Shutter
from recon4d.flow.guided import static_flow
from recon4d.flow.unrolled import rolled_flow, row_motion, unrolled_flow, without_shutter
from recon4d.optim.align import optimise, static_setting
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions
from recon4d.optim.shutter import find_readout, with_readout
from recon4d.run.pipeline import _refuse_for_whole
from recon4d.run.shutter import shutter_entry
from recon4d.settings.text import build
from tests.rolling import Rolling, roll
from tests.synthetic import make_scene

READOUT_S = 0.02
OPTIONS = AlignOptions(threads=1)


@cache
def rolled(readout_s: float = READOUT_S, noise_px: float = 0.05) -> Rolling:
    return roll(9, readout_s, noise_px)


def still(made: Rolling) -> MotionMasks:
    return MotionMasks(np.zeros(made.inverse_depth.shape, np.float32))


def test_flow_without_what_the_shutter_adds_is_that_of_the_middle_rows_cameras() -> None:
    made = rolled(noise_px=0.0)
    scene, motion = made.made.scene, row_motion(made.video, made.made.scene)
    assert motion is not None
    for edge in (3, 40):
        source, target = made.flow.edges[edge].tolist()
        depth = torch.from_numpy(made.inverse_depth[source])
        found = without_shutter(
            made.flow.flow_px[[edge]], motion, scene, made.flow.edges[[edge]], depth
        )
        expected = static_flow(scene, made.inverse_depth[source].astype(np.float32), source, target)
        sure = made.flow.confidence[edge] > 0
        assert np.abs(found[0] - expected)[sure].max() < 0.03  # half precision
        assert np.abs(made.flow.flow_px[edge] - expected)[sure].max() > 1


def test_predicted_flow_is_what_the_shutter_shows() -> None:
    made = rolled(noise_px=0.0)
    scene = made.made.scene
    source, target = (int(frame) for frame in made.flow.edges[3])
    depth = made.inverse_depth[source].astype(np.float32)
    predicted = rolled_flow(
        static_flow(scene, depth, source, target),
        row_motion(made.video, scene),
        scene,
        (source, target),
        depth,
    )
    sure = made.flow.confidence[3] > 0
    assert np.abs(predicted - made.flow.flow_px[3])[sure].max() < 0.03


def test_stored_flow_is_corrected_with_the_depth_that_it_tells_itself(tmp_path: Path) -> None:
    made = rolled(noise_px=0.0)
    scene = made.made.scene
    found = unrolled_flow(made.video, made.flow, scene, tmp_path, threads=1)
    errors, before = [], []
    for edge, (source, target) in enumerate(made.flow.edges.tolist()):
        depth = made.inverse_depth[source].astype(np.float32)
        sure = made.flow.confidence[edge] > 0
        expected = static_flow(scene, depth, source, target)[sure]
        errors.append(np.linalg.norm(found.flow_px[edge][sure] - expected, axis=-1))
        before.append(np.linalg.norm(made.flow.flow_px[edge][sure] - expected, axis=-1))
    assert np.median(np.concatenate(errors)) < 0.02 < 0.2 < np.median(np.concatenate(before))


@pytest.mark.parametrize("readout_s", [READOUT_S, pytest.param(-0.01, marks=pytest.mark.slow)])
def test_the_readout_is_found_with_its_sigma(readout_s: float) -> None:
    made = rolled(readout_s)
    scene = made.made.scene
    video = replace(made.video, shutter=None, intrinsics=None)
    setting = static_setting(video, made.flow, scene, still(made), OPTIONS)
    fit = find_readout(setting, State.of(scene), OPTIONS.kernel_px)
    assert fit is not None
    assert abs(fit.readout_s - readout_s) < max(3 * fit.sigma_s, 5e-5)
    assert 1e-6 < fit.sigma_s < 1e-3
    turned = fit.state.cam_from_world.numpy()[:, :3, :3] @ scene.world_from_cam[:, :3, :3]
    assert np.abs(turned - turned[0]).max() < 1e-3


def test_a_shutter_that_is_open_at_once_has_no_readout() -> None:
    made = rolled(0.0)
    scene, video = made.made.scene, replace(made.video, shutter=None)
    setting = static_setting(video, made.flow, scene, still(made), OPTIONS)
    assert find_readout(setting, State.of(scene), OPTIONS.kernel_px) is None


def test_a_given_readout_is_used_as_it_is() -> None:
    made = rolled()
    scene = made.made.scene
    setting = static_setting(made.video, made.flow, scene, still(made), OPTIONS)
    fit = with_readout(setting, State.of(scene), READOUT_S, OPTIONS.kernel_px)
    assert (fit.readout_s, fit.sigma_s) == (READOUT_S, 0)


def test_stated_uncertainty_of_poses_has_that_of_the_readout(tmp_path: Path) -> None:
    made = rolled()
    video = replace(made.video, intrinsics=None)
    flow = unrolled_flow(video, made.flow, made.made.scene, tmp_path, threads=1)
    assert video.shutter is not None
    traces = []
    for is_given in (True, False):
        own = replace(video, shutter=replace(video.shutter, is_given=is_given))
        scene = optimise(own, flow, made.made.scene, still(made), OPTIONS)
        assert scene.pose_covariance is not None
        traces.append(np.trace(scene.pose_covariance[1:], axis1=1, axis2=2).mean())
    assert np.isfinite(traces).all()
    assert traces[1] > 1.005 * traces[0]


def test_the_screen_says_how_long_the_shutter_rolls() -> None:
    assert _shutter_text({"readout_ms": 20.03, "readout_sigma_ms": 0.061}) == (
        "rolls, 20.03 ms (+- 0.061) from the first row to the last"
    )
    assert _shutter_text({"readout_ms": -10.0}) == "rolls, -10 ms from the first row to the last"
    assert _shutter_text({"readout_ms": 0.0}) == ""


def test_run_json_says_it() -> None:
    video = replace(make_scene(2, (64, 48), 1).video, shutter=None)
    assert shutter_entry(video) == {"readout_ms": 0.0}
    found = replace(video, shutter=Shutter(0.01953, 0.00012))
    assert shutter_entry(found) == {"readout_ms": 19.53, "readout_sigma_ms": 0.12}
    given = replace(video, shutter=Shutter(0.02, is_given=True))
    assert shutter_entry(given) == {"readout_ms": 20.0}


def test_clips_refuse_a_readout_that_is_given() -> None:
    with pytest.raises(ConfigError, match="readout 20 is for videos of up to 100 frames, and 300"):
        _refuse_for_whole(build({"input": "in.mp4", "readout": "20"}), 300)
    assert build({"input": "in.mp4", "readout": "auto"}).readout is None
