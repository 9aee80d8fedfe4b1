"""Interlaced video is named, and one field of it is used."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

from recon4d.io.fields import is_interlaced, without_odd_lines
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from tests.media import textured_frames, write_video

Images = UInt8[np.ndarray, "frames height width 3"]


def moving(count: int, seed: int = 0) -> Images:
    return textured_frames(count, 320, 256, seed)


def woven(images: Images) -> Images:
    """Every frame has the even lines of one picture and the odd lines of the next."""
    out = images[::2].copy()
    out[:, 1::2] = images[1::2, 1::2]
    return out


def test_fields_of_two_moments_are_found() -> None:
    assert is_interlaced(woven(moving(16)))


@pytest.mark.parametrize("seed", [0, 1])
def test_progressive_video_is_not(seed: int) -> None:
    assert not is_interlaced(moving(12, seed))
    assert not is_interlaced(moving(12, seed)[:, :, ::-1])
    rng = np.random.default_rng(seed)
    noisy = (moving(12, seed) + rng.normal(0, 6, (12, 256, 320, 3))).clip(0, 255).astype(np.uint8)
    assert not is_interlaced(noisy)


def test_fine_lines_are_not_whether_they_move_or_stand() -> None:
    blinds = moving(12)
    blinds[:, 1::2] //= 2  # stand before what moves, as on an old screen
    assert not is_interlaced(blinds)
    wide = np.repeat(moving(1), 12, axis=0)
    wide[:, 1:128:2] = 0  # nothing moves at all
    assert not is_interlaced(wide)
    rolling = np.stack([np.roll(blinds[0], step, axis=0) for step in range(12)])
    assert not is_interlaced(rolling)


def test_even_lines_stay_and_the_others_are_between_them() -> None:
    image = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    found = without_odd_lines(image)
    np.testing.assert_array_equal(found, image)  # a ramp is its own interpolation
    spoilt = image.copy()
    spoilt[1::2] = 255
    np.testing.assert_array_equal(without_odd_lines(spoilt), image)
    assert without_odd_lines(image[:6]).shape == (6, 5, 3)


def test_a_video_is_read_without_its_combs(tmp_path: Path) -> None:
    pictures = moving(24)[..., :1].repeat(3, axis=-1)  # grey: video halves the lines of colour
    options = ReadOptions(size=320)
    for name, frames in (("fields", woven(pictures)), ("plain", pictures[::2])):
        path = write_video(tmp_path / f"{name}.mkv", frames, codec="ffv1")
        (tmp_path / name).mkdir()
        video = read_video(path, options, tmp_path / name)
        said = [notice.message for notice in video.notices if notice.code == "interlaced"]
        assert len(said) == (name == "fields")
        off = cv2.absdiff(video.images[5], pictures[10]).mean()
        combed = cv2.absdiff(frames[5], pictures[10]).mean()
        assert off < 0.4 * combed if name == "fields" else off < 3
