"""What is said of a video whose frames cannot be related: the cause that was measured, and the likely remedy."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon4d.core.scene import Video
from recon4d.flow.unrelated import why_unrelated
from recon4d.optim.objective.problem import FEWEST_SAMPLES, sample_positions
from tests.test_flow_matched import plane, slow_video

EYE = np.eye(3)


def video(images: np.ndarray, source_size: tuple[int, int] | None = None, step: int = 1) -> Video:
    count, height, width = images.shape[:3]
    return Video(
        images=images,
        timestamps_s=np.arange(count) / 25,
        sources=tuple(f"{frame}.png" for frame in range(count)),
        source_size=source_size or (width, height),
        source_indices=tuple(range(0, count * step, step)),
    )


def places(count: int) -> np.ndarray:
    """Another picture in every frame."""
    grays = np.stack([plane(EYE, seed) for seed in range(10, 10 + count)])
    return np.repeat(grays[..., None], 3, axis=3)


@pytest.mark.parametrize(("level", "kind"), [(0, "black"), (90, "blank"), (255, "blank")])
def test_blank_frames_are_counted(level: int, kind: str) -> None:
    images = np.full((5, 96, 128, 3), level, np.uint8)
    assert f"4 of 4 frames that were looked at are {kind}" in why_unrelated(video(images))


def test_frames_without_overlap_are_told_from_blank_ones() -> None:
    said = why_unrelated(video(places(4)))
    assert "distinctive points of a frame at most" in said and "different places" in said


def test_frames_that_an_option_has_put_apart_are_named() -> None:
    said = why_unrelated(video(places(4), step=3))
    assert "the frames are 3 apart in the input" in said and "--stride or --fps" in said


def test_a_working_size_that_leaves_no_points_is_named() -> None:
    small = np.stack([cv2.resize(cv2.blur(p, (81, 81)), (64, 48)) for p in slow_video(3)])
    large = video(small, source_size=(640, 480))
    said = why_unrelated(large)
    assert "12 are needed" in said and "64x48 px is likely too small (try --size 512), or" in said
    assert said.endswith("the frames are dark, blurred, noise or without texture")
    assert "without texture" in why_unrelated(replace(large, source_size=(64, 48)))


def test_frames_that_match_are_not_called_apart() -> None:
    said = why_unrelated(video(slow_video(4)))
    assert "are found in the next, but no camera explains their motion" in said


@pytest.mark.parametrize("size", [(128, 72), (64, 48), (128, 96), (512, 288)])
def test_small_images_have_enough_samples(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, *size[::-1], 3)).astype(np.uint8)
    found = sample_positions(images, 16)
    assert found.shape[1] >= FEWEST_SAMPLES
    assert len(np.unique(found[0], axis=0)) == found.shape[1]
    if size[0] * size[1] >= FEWEST_SAMPLES * 16**2:
        assert found.shape[1] == (size[0] // 16) * (size[1] // 16)
