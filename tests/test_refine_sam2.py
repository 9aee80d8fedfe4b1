"""`--refine sam2`, from a folder of small random weights to masks in a result folder."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d import masks
from recon4d.core.errors import ConfigError
from recon4d.core.scene import MotionMasks
from recon4d.masks.refine import sam2_refine as module
from recon4d.masks.refine.odd_even import Masks, Prompts
from recon4d.masks.refine.sam2_refine import Sam2Options, refine_sam2
from recon4d.results.folder import read_result
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from recon4d.settings.optim import OptimConfig
from tests.media import write_images
from tests.synthetic import SyntheticScene, make_scene
from tests.test_longvideo import InOrder
from tests.test_longvideo import run as run_in_order
from tests.tiny_sam2 import save_tiny_sam2

FRAMES, SIZE = 6, (128, 96)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, mover=True, plain_lens=True)


def settings(made: SyntheticScene, tmp_path: Path, weights: Path) -> RunConfig:
    return RunConfig(
        input=write_images(tmp_path / "images", made.video.images),
        out=tmp_path / "out",
        masks="residual",
        refine="sam2",
        weights=(f"sam2={weights}",),
        loop=0,
        workers=1,
    )


def motion(made: SyntheticScene, *probabilities: float) -> MotionMasks:
    """A probability for each of four quarters of the width, in every frame."""
    row = np.repeat(np.array(probabilities, np.float32), SIZE[0] // 8)
    return MotionMasks(np.tile(row, (made.video.num_frames, SIZE[1] // 2, 1)))


def quarters(found: Masks) -> list[list[bool]]:
    """Whether each quarter of the width moves, per frame, in its middle."""
    step = SIZE[0] // 4
    return [[bool(frame[10, k * step + step // 2]) for k in range(4)] for frame in found]


class Segmenter:
    """Finds that the last quarter moves, whatever it is prompted with."""

    def __init__(self) -> None:
        self.prompts: list[Prompts] = []

    def load(self, images: np.ndarray, *_: object) -> "Segmenter":
        self.size = images.shape[:3]
        return self

    def __call__(self, prompts: Prompts) -> Masks:
        self.prompts.append(prompts)
        found = np.zeros(self.size, bool)
        found[:, :, -SIZE[0] // 4 :] = True
        return found


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    one = Segmenter()
    monkeypatch.setattr(module, "sam2_propagator", one.load)
    return one


def refined(made: SyntheticScene, found: MotionMasks, options: Sam2Options) -> masks.FinalMasks:
    return masks.FinalMasks(*refine_sam2(made.video, found, options))


def test_what_is_certain_prompts_and_what_the_segmenter_finds_replaces_it(
    made: SyntheticScene, segmenter: Segmenter
) -> None:
    options = Sam2Options(Path("x"))
    final = refined(made, motion(made, 0.95, 0.7, 0.1, 0.1), options)
    assert quarters(final.is_dynamic) == [[False, False, False, True]] * FRAMES
    asked = [mask for prompts in segmenter.prompts for mask in prompts.values()]
    assert quarters(np.stack(asked)) == [[True, False, False, False]] * FRAMES
    assert final.notices == ()


def test_united_masks_prompt_with_all_that_moves_and_keep_it(
    made: SyntheticScene, segmenter: Segmenter
) -> None:
    options = Sam2Options(Path("x"), unites=True)
    final = refined(made, motion(made, 0.95, 0.7, 0.1, 0.1), options)
    assert quarters(final.is_dynamic) == [[True, True, False, True]] * FRAMES
    asked = [mask for prompts in segmenter.prompts for mask in prompts.values()]
    assert quarters(np.stack(asked)) == [[True, True, False, False]] * FRAMES


def test_without_anything_certain_the_masks_stay_and_no_network_is_loaded(
    made: SyntheticScene,
) -> None:
    options = Sam2Options(Path("nowhere"))
    final = refined(made, motion(made, 0.7, 0.1, 0.1, 0.1), options)
    assert quarters(final.is_dynamic) == [[True, False, False, False]] * FRAMES
    (notice,) = final.notices
    assert notice.code == "masks_not_refined" and notice.frames == tuple(range(FRAMES))


def test_a_run_writes_what_the_segmenter_made_of_its_masks(
    made: SyntheticScene, weights: Path, tmp_path: Path
) -> None:
    result = read_result(run(settings(made, tmp_path, weights)))
    assert result.run["refine"] == "sam2" and "masks_not_refined" not in str(result.run["warnings"])
    # what `residual` found and, united with it, what a network of random weights makes of it
    assert result.is_dynamic[made.is_dynamic].mean() > 0.7


def test_a_run_in_which_nothing_moves_says_that_nothing_was_refined(
    made: SyntheticScene, weights: Path, tmp_path: Path
) -> None:
    result = read_result(run(replace(settings(made, tmp_path, weights), masks="none")))
    assert not result.is_dynamic.any()
    assert "masks_not_refined" in str(result.run["warnings"])


@pytest.mark.slow
def test_clips_of_a_long_video_are_refined_one_by_one(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_scene(14, SIZE, seed=5)
    optim = OptimConfig(clip_frames=8, clip_overlap=3, whole_frames=8)
    asked = settings(made, tmp_path, weights)
    asked = replace(asked, masks="none", optim=optim, workers=1)
    result = read_result(run_in_order(monkeypatch, asked, InOrder()))
    (said,) = [w for w in result.run["warnings"] if w["code"] == "masks_not_refined"]  # type: ignore[attr-defined]
    assert said["frames"] == list(range(14))


def test_missing_weights_are_refused_before_anything_is_written(
    made: SyntheticScene, weights: Path, tmp_path: Path
) -> None:
    asked = settings(made, tmp_path, weights)
    with pytest.raises(ConfigError, match="weights of sam2 are not on this machine"):
        run(replace(asked, weights=()))
    with pytest.raises(ConfigError, match="gone of sam2 are not there"):
        run(replace(asked, weights=(f"sam2={tmp_path / 'gone'}",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        run(replace(asked, weights=(f"sam2={tmp_path / 'empty'}",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "images"]


def test_the_users_own_masks_need_no_weights(made: SyntheticScene, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for frame, path in enumerate(
        sorted((write_images(tmp_path / "i", made.video.images)).iterdir())
    ):
        assert cv2.imwrite(str(own / f"{path.stem}.png"), made.is_dynamic[frame] * np.uint8(255))
    with pytest.raises(ConfigError, match="stay as they are"):
        RunConfig(input=tmp_path / "i", refine="sam2", masks=str(own))
