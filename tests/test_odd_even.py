"""Prompting a video segmenter by every other frame."""

import numpy as np
import pytest

from recon4d.core.errors import InputError
from recon4d.masks.refine.odd_even import Masks, Prompts, refine_odd_even

SHAPE = (6, 4, 5)


class FakeSegmenter:
    """Gives pixel (0, frame) to every frame when prompted by odd frames, pixel (1, frame) else."""

    def __init__(self) -> None:
        self.calls: list[Prompts] = []

    def __call__(self, prompts: Prompts) -> Masks:
        self.calls.append(prompts)
        masks = np.zeros(SHAPE, bool)
        for frame in range(SHAPE[0]):
            masks[frame, 1 - min(prompts) % 2, frame % SHAPE[2]] = True
        return masks


def certain(*frames: int) -> np.ndarray:
    """Probability 0.9 at pixel (3, 4) of some frames, 0.8 elsewhere: at the threshold, not above it."""
    probability = np.full(SHAPE, 0.8, np.float64)
    probability[list(frames), 3, 4] = 0.9
    return probability


def test_every_frame_gets_what_the_other_half_prompted() -> None:
    segmenter = FakeSegmenter()
    masks, notices = refine_odd_even(certain(*range(6)), segmenter)
    assert [sorted(prompts) for prompts in segmenter.calls] == [[1, 3, 5], [0, 2, 4]]
    for frame in range(6):
        row = 1 if frame % 2 else 0
        assert np.argwhere(masks[frame]).tolist() == [[row, frame % 5]]
    assert notices == ()


def test_prompts_are_the_pixels_above_the_threshold() -> None:
    segmenter = FakeSegmenter()
    refine_odd_even(certain(*range(6)), segmenter)
    for prompts in segmenter.calls:
        assert all(np.argwhere(mask).tolist() == [[3, 4]] for mask in prompts.values())
    lower = FakeSegmenter()
    refine_odd_even(certain(*range(6)), lower, threshold=0.5)
    assert all(mask.all() for prompts in lower.calls for mask in prompts.values())


def test_frames_with_empty_prompts_are_skipped() -> None:
    segmenter = FakeSegmenter()
    masks, notices = refine_odd_even(certain(3, 4), segmenter)
    assert [sorted(prompts) for prompts in segmenter.calls] == [[3], [4]]
    assert masks.any((1, 2)).all() and notices == ()


def test_a_half_without_prompts_leaves_the_other_as_it_was_and_says_so() -> None:
    segmenter = FakeSegmenter()
    masks, (notice,) = refine_odd_even(certain(0, 4), segmenter)
    assert [sorted(prompts) for prompts in segmenter.calls] == [[0, 4]]
    assert np.array_equal(masks[::2], certain(0, 4)[::2] > 0.8)
    assert masks[1::2].any((1, 2)).all()
    assert notice.code == "masks_not_refined" and notice.frames == (0, 2, 4)
    assert notice.message.startswith("3 frames keep the masks they had")


@pytest.mark.parametrize("frames", (1, 6))
def test_without_any_prompt_nothing_is_asked_and_nothing_changes(frames: int) -> None:
    segmenter = FakeSegmenter()
    masks, (notice,) = refine_odd_even(certain()[:frames], segmenter)
    assert segmenter.calls == [] and not masks.any()
    assert notice.frames == tuple(range(frames))


def test_a_single_frame_keeps_its_mask() -> None:
    masks, (notice,) = refine_odd_even(certain(0)[:1], lambda prompts: np.zeros((1, 4, 5), bool))
    assert np.argwhere(masks[0]).tolist() == [[3, 4]] and notice.frames == (0,)


def test_the_input_stays_as_it_is() -> None:
    probability = certain(0, 1)
    refine_odd_even(probability, FakeSegmenter())
    assert np.array_equal(probability, certain(0, 1))


def test_masks_of_another_shape_and_impossible_thresholds_are_refused() -> None:
    with pytest.raises(InputError, match=r"masks of shape \(2, 4, 5\); \(6, 4, 5\) was needed"):
        refine_odd_even(certain(1), lambda prompts: np.zeros((2, 4, 5), bool))
    for threshold in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="threshold of prompts is"):
            refine_odd_even(certain(1), FakeSegmenter(), threshold)
