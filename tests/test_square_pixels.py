"""Pixels of the input are square, although each side of the working size is rounded on its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from recon4d.io.resize import fy_over_fx
from recon4d.optim.align import initial_scene
from recon4d.optim.setting import AlignOptions
from tests.media import textured_frames, write_images
from tests.synthetic import make_scene


def test_the_working_size_says_how_focal_lengths_differ() -> None:
    assert fy_over_fx((640, 480), (512, 384)) == 1
    assert fy_over_fx((640, 370), (256, 152)) == pytest.approx((152 / 370) / (256 / 640))
    assert fy_over_fx((720, 576), (512, 288), pixel_aspect=64 / 45) == 1  # wide PAL


def test_an_input_that_is_read_has_them(tmp_path: Path) -> None:
    source = write_images(tmp_path / "in", textured_frames(2, 160, 100))
    video = read_video(source, ReadOptions(size=128), tmp_path)
    assert video.size == (128, 80) and video.fy_over_fx == 1
    video = read_video(source, ReadOptions(size=96), tmp_path)
    assert video.size == (96, 64)
    assert video.fy_over_fx == pytest.approx((64 / 100) / (96 / 160))


def test_a_camera_that_is_found_has_square_pixels_in_the_input() -> None:
    truth = make_scene(8, (192, 144), seed=4)
    fx, fy = truth.scene.intrinsics[0, :2]
    video = replace(truth.video, intrinsics=None, fy_over_fx=float(fy / fx))
    found = initial_scene(video, truth.flow, AlignOptions(threads=1))
    np.testing.assert_allclose(found.intrinsics[:, 1] / found.intrinsics[:, 0], fy / fx, rtol=1e-9)
    np.testing.assert_allclose(found.intrinsics[:, 0], fx, rtol=0.02)
