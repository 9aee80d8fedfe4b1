"""What a run states of its camera against the truth, in standard deviations."""

import math
from dataclasses import replace

import pytest

from benchmarks.scores.stated_cameras import in_sigmas, shares
from recon4d.run.lens_source import focal_std
from tests.synthetic import make_scene

TRUE = (110.0, 110.0, 63.5, 47.5, -0.2, 20.0)
RUN = {
    "focal_std": 0.01,
    "lens": {
        "camera": [112.2, 112.2, 65.0, 48.0],
        "focal_std": 0.02,
        "terms": [-0.19, 0.1],
        "terms_std": [0.005, 0.1],
        "centre_std": [0.5, 0.5],
    },
    "readout_ms": 19.0,
    "readout_sigma_ms": 2.0,
}


def test_errors_are_over_their_own_deviations_and_nothing_is_said_without_one() -> None:
    found = in_sigmas(RUN, TRUE, -0.005)
    assert found == {
        "focal": [pytest.approx(math.log(0.995) / 0.01)],
        "lens_focal": [pytest.approx(math.log(1.02) / 0.02)],
        "k1": [pytest.approx(2.0)],
        "centre": [pytest.approx(2.0), pytest.approx(0.0)],
        "readout": [pytest.approx(-0.5)],
    }
    none = {"focal_std": None, "readout_ms": 0.0, "lens": {"model": "pinhole", "focal_std": 0.01}}
    assert in_sigmas(none, TRUE, 0.1) == {}


def test_shares_are_over_the_numbers_of_all_rows() -> None:
    rows = [{"in_sigmas": {"focal": [0.5], "k1": [-3.0]}}, {}, {"in_sigmas": {"focal": [-0.1]}}]
    table = shares(rows)
    assert "| focal length of the result | 2 | 100% (60 to 76 % are wanted) | 100% |" in table
    assert "| all | 3 | 67% | 67% |" in table
    assert "all" not in shares([{}])


def test_a_lens_that_was_found_adds_its_own_deviation_to_the_focal_length_s() -> None:
    scene = make_scene(2, (64, 64), seed=0).scene
    known = focal_std(scene, {"model": "pinhole", "source": "given"})
    assert known is None
    scene = replace(scene, focal_std=0.003)
    assert focal_std(scene, {"model": "pinhole"}) == pytest.approx(0.003)
    assert focal_std(scene, {"model": "radial", "focal_std": 0.004}) == pytest.approx(0.005)
