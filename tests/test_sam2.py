"""SAM 2 through transformers, with a tiny network of random weights."""

import sys
from pathlib import Path

import numpy as np
import pytest

from recon4d.core.errors import ConfigError, InputError, MissingDependencyError
from recon4d.masks.refine.odd_even import refine_odd_even
from recon4d.masks.refine.sam2 import prepare, sam2_propagator
from tests.tiny_sam2 import save_tiny_sam2

FRAMES, HEIGHT, WIDTH, SIDE = 4, 36, 48, 64


def images() -> np.ndarray:
    """Noise."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


def box() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[9:27, 12:36] = True
    return mask


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole model, tiny."""
    return save_tiny_sam2(tmp_path_factory.mktemp("sam2"), SIDE)


def test_prompted_frames_keep_their_masks_and_all_frames_get_one(weights: Path) -> None:
    propagate = sam2_propagator(images(), weights)
    masks = propagate({1: box(), 3: box()})
    assert masks.shape == (FRAMES, HEIGHT, WIDTH) and masks.dtype == np.bool_
    for frame in (1, 3):  # a pixel at the outline may change by the two resizings
        assert (masks[frame] & box()).sum() / (masks[frame] | box()).sum() > 0.85


def test_a_call_forgets_the_prompts_of_the_call_before(weights: Path) -> None:
    propagate = sam2_propagator(images(), weights)
    first = propagate({0: box()})
    propagate({1: ~box(), 2: ~box()})
    assert np.array_equal(propagate({0: box()}), first)


def test_odd_and_even_frames_are_refined_through_it(weights: Path) -> None:
    probability = np.where(box(), 0.9, 0.1)[None].repeat(FRAMES, 0)
    propagate = sam2_propagator(images(), weights)
    masks, notices = refine_odd_even(probability, propagate)
    assert notices == ()
    assert np.array_equal(masks[::2], propagate({1: box(), 3: box()})[::2])
    assert np.array_equal(masks[1::2], propagate({0: box(), 2: box()})[1::2])


def test_pictures_are_squares_of_normalised_colours() -> None:
    grey = np.full((1, HEIGHT, WIDTH, 3), 124, np.uint8)
    ready = prepare(grey, SIDE)
    assert ready.shape == (1, 3, SIDE, SIDE)
    wanted = (124 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(ready[0].mean((1, 2)), wanted, atol=1e-5)  # float32


def test_prompts_that_fit_no_frame_are_refused(weights: Path) -> None:
    propagate = sam2_propagator(images(), weights)
    with pytest.raises(InputError, match="frame 4; the video has 4 frames"):
        propagate({4: box()})
    with pytest.raises(InputError, match=r"shape \(9, 9\)"):
        propagate({0: np.ones((9, 9), bool)})


def test_a_folder_without_a_model_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        sam2_propagator(images(), tmp_path)
    (tmp_path / "config.json").write_bytes((weights / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"model\.safetensors is missing"):
        sam2_propagator(images(), tmp_path)


def test_a_model_without_all_of_its_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weights / "model.safetensors")
    name = next(key for key in state if "memory_encoder" in key)
    del state[name]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((weights / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=f"lacks 1 weights of SAM 2, the first {name}"):
        sam2_propagator(images(), tmp_path)


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"recon4d\[models\]"):
        sam2_propagator(images(), tmp_path)
