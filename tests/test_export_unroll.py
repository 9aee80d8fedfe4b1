"""Results of a rolling shutter for other programs: unrolled pictures, and poses of first and last row."""

import json
from pathlib import Path

import numpy as np
import pytest

from recon4d.core.errors import ConfigError
from recon4d.export import ExportOptions
from recon4d.export.nerfstudio import transforms
from recon4d.export.unroll import unrolled
from recon4d.export.views import at_working_size
from recon4d.results.result import Result
from tests.rolling import _cameras, _points, roll

READOUT_S = 0.02


def painted(points: np.ndarray) -> np.ndarray:
    """A colour that is smooth on surfaces."""
    waves = 127 + 100 * np.sin(points * np.array([9.0, 11.0, 7.0]))
    return np.asarray(waves.clip(0, 255).round(), np.uint8)


@pytest.fixture(scope="module")
def pair() -> tuple[Result, Result]:
    """A result of a rolling shutter, at the size of its samples, and what one would be that is open at once."""
    rolling = roll(4, READOUT_S)
    made, results = rolling.made, []
    for readout_s in (READOUT_S, 0.0):
        points, depth = _points(made, readout_s)
        results.append(
            Result(
                world_from_cam=made.scene.world_from_cam,
                intrinsics=made.scene.intrinsics * 0.5,
                timestamps_s=made.video.timestamps_s,
                sources=made.video.sources,
                images=painted(points),
                depth=depth.astype(np.float32),
                confidence=np.full(depth.shape, 200, np.uint8),
                is_dynamic=np.zeros(depth.shape, bool),
                is_metric=True,
                run={"readout_ms": 1e3 * readout_s},
            )
        )
    return results[0], results[1]


def test_unrolled_pictures_and_depth_are_those_of_the_middle_row(
    pair: tuple[Result, Result],
) -> None:
    rolled, still = pair
    found = unrolled(rolled)
    for name, limit in (("images", 3.0), ("depth", 0.01)):
        own, true, first = (np.asarray(getattr(r, name), float) for r in (found, still, rolled))
        use = (found.depth > 0) if name == "depth" else np.ones(true.shape, bool)
        off = np.abs(own - true)[use] if name == "images" else np.abs(own / true - 1)[use]
        was = np.abs(first - true) if name == "images" else np.abs(first / true - 1)
        assert np.percentile(off, 80) < min(limit, 0.7 * np.percentile(was, 80)), name
    assert found.run["readout_ms"] == 0 and (found.confidence[found.depth == 0] == 0).all()


def test_a_shutter_that_is_open_at_once_is_not_unrolled(pair: tuple[Result, Result]) -> None:
    with pytest.raises(ConfigError, match="readout of 0"):
        unrolled(pair[1])
    with pytest.raises(ConfigError, match="--depth-size original"):
        ExportOptions("original", unrolls=True).check("colmap")


def test_transforms_json_has_the_rows_poses(pair: tuple[Result, Result]) -> None:
    rolled, still = pair
    content = transforms(at_working_size(rolled, (0, 1, 2, 3), Path("none")))
    assert content["rolling_shutter_time"] == pytest.approx(READOUT_S)
    assert content["shutter_type"] == "ROLLING_TOP_TO_BOTTOM"
    frame = json.loads(json.dumps(content["frames"]))[2]
    turns, centres = _cameras(roll(4, READOUT_S).made, 2, np.array([-0.5, 0.5]), READOUT_S)
    for name, turn, centre in zip(("first", "last"), turns, centres, strict=True):
        pose = np.array(frame[f"transform_matrix_{name}_row"])
        np.testing.assert_allclose(pose[:3, 3], centre, atol=1e-6)
        np.testing.assert_allclose(pose[:3, :3] @ np.diag([1, -1, -1]), turn, atol=1e-6)
    speed = np.array(frame["camera_linear_velocity"])
    assert np.linalg.norm(speed) == pytest.approx(
        np.linalg.norm(centres[1] - centres[0]) / READOUT_S
    )
    assert "shutter_type" not in transforms(at_working_size(still, (0, 1), None))
