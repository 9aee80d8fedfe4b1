"""The training loop: loss, batches, resuming, calibration, and that it learns."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d.core.errors import ConfigError
from recon4d.core.progress import no_progress
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import GEOMETRY_CHANNELS, MOTION_CHANNELS, D2mif
from recon4d.masks.d2mif.weights import Calibration
from recon4d.masks.train.d2mif import batches
from recon4d.masks.train.d2mif.batches import random_batch, whole_frame
from recon4d.masks.train.d2mif.calibrate import calibrate, calibration_error
from recon4d.masks.train.d2mif.fit import FitOptions, fit, validate
from recon4d.masks.train.d2mif.loss import dice_loss, focal_loss, segmentation_loss
from recon4d.masks.train.d2mif.samples import LEVELS, Samples, quantise

TINY = NetworkConfig(width=8, head=8, encoder=(8, 8, 16, 16), blocks=1, appearance="resnet")
OPTIONS = FitOptions(network=TINY, steps=6, batch=2, save_every=3, validate_every=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: what 'bit-identical' is promised for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clip(seed: int, frames: int = 3) -> Samples:
    """Squares whose place only the maps tell."""
    rng = np.random.default_rng(seed)
    rows, cols = batches.CROP[0] // 2 + 4, batches.CROP[1] // 2 + 8
    truth = np.zeros((frames, rows, cols), np.uint8)
    for frame in range(frames):
        top, left = int(rng.integers(rows - 50)), int(rng.integers(cols - 50))
        truth[frame, top : top + 40, left : left + 40] = 255
    channels = MOTION_CHANNELS + GEOMETRY_CHANNELS
    maps = rng.normal(0, 0.5, (frames, 2, channels, rows, cols)).astype(np.float32)
    maps[:, :, [4, -1]] += np.where(truth, 1.5, -1.5)[:, None, None]
    images = rng.integers(0, 256, (frames, 2 * rows, 2 * cols, 3)).astype(np.uint8)
    return Samples(images, truth, quantise(maps))


CLIPS = tuple(clip(seed) for seed in range(4))


def test_the_loss_is_zero_where_all_is_right_and_grows_with_what_is_wrong() -> None:
    truth = torch.zeros(1, 20, 20)
    truth[:, 5:15, 5:15] = 1
    right = (truth * 2 - 1) * 30
    wrong = right.clone()
    wrong[:, :3] *= -1
    assert float(segmentation_loss(right, truth)) < 1e-6
    assert float(segmentation_loss(wrong, truth)) > 0.1
    assert float(dice_loss(right, truth)) < 1e-6
    assert float(focal_loss(torch.zeros(1, 4, 4), torch.ones(1, 4, 4))) == pytest.approx(np.log(2))


def test_a_batch_follows_from_its_generator_and_keeps_maps_and_truth_together() -> None:
    a, b = (random_batch(CLIPS, 4, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(a.image, b.image) and torch.equal(a.geometry, b.geometry)
    assert a.image.shape == (4, 3, *batches.CROP) and a.truth.shape[1:] == a.motion.shape[-2:]
    evidence = a.geometry[:, 0, -1]
    assert float(evidence[a.truth > 0.5].mean()) > 1 > -1 > float(evidence[a.truth < 0.5].mean())


def test_mirroring_reverses_the_horizontal_flow() -> None:
    maps = np.arange(2 * 6 * 1 * 3, dtype=np.int8).reshape(2, 6, 1, 3)
    mirrored = batches._mirrored(maps)
    assert np.array_equal(mirrored[:, 0], -maps[:, 0, :, ::-1])
    assert np.array_equal(mirrored[:, 1], maps[:, 1, :, ::-1])


def test_stored_maps_are_exact_to_their_levels() -> None:
    maps = np.linspace(-5, 5, 101, dtype=np.float32)
    back = quantise(maps).astype(np.float32) * (4.0 / LEVELS)
    assert np.abs(back - np.clip(maps, -4, 4)).max() <= 0.5 * 4 / LEVELS + 1e-6


def test_a_resumed_training_gives_the_same_bits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole = fit(tmp_path / "a", CLIPS[:3], CLIPS[3:], OPTIONS, None, no_progress)

    class Stop(Exception):
        pass

    class Counter:
        done = 0

        def advance(self, count: int = 1) -> None:
            self.done += count
            if self.done == 5:  # after the state of step 3 was saved
                raise Stop

    class Progress:
        def __enter__(self) -> Counter:
            return Counter()

        def __exit__(self, *_: object) -> None:
            pass

    with pytest.raises(Stop):
        fit(tmp_path / "b", CLIPS[:3], CLIPS[3:], OPTIONS, None, lambda stage, total: Progress())
    again = fit(tmp_path / "b", CLIPS[:3], CLIPS[3:], OPTIONS, None, no_progress)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_state_of_other_options_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, CLIPS[:3], CLIPS[3:], OPTIONS, None, no_progress)
    with pytest.raises(ConfigError, match="other options"):
        fit(tmp_path, CLIPS[:3], CLIPS[3:], replace(OPTIONS, batch=3), None, no_progress)


def test_training_learns_what_the_maps_tell(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=40, batch=4, rate=5e-3, validate_every=20)
    network = fit(tmp_path, CLIPS[:3], CLIPS[3:], options, None, no_progress)
    found = validate(network, CLIPS[3:])
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [0, 20, 40]
    assert log[-1]["loss_held_out"] < log[0]["loss_held_out"]
    assert found.iou > 0.6 and found.loss == pytest.approx(min(x["loss_held_out"] for x in log[1:]))


@pytest.mark.slow
def test_calibration_makes_the_truth_likelier(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=30, batch=4, rate=5e-3)
    network = fit(tmp_path, CLIPS[:3], CLIPS[3:], options, None, no_progress)
    calibration = calibrate(network, CLIPS[3:])
    before = calibration_error(network, CLIPS[3:], Calibration())
    after = calibration_error(network, CLIPS[3:], calibration)
    assert calibration.scale > 0 and after < max(before, 0.05)


def test_evidence_counts_for_a_network_that_missed_it_and_not_for_one_that_does_without_geometry() -> (
    None
):
    torch.manual_seed(0)
    blind = replace(TINY, branches=("appearance",))
    assert (
        calibrate(D2mif(TINY), CLIPS[3:]).evidence > 0.1
    )  # the last map tells where the squares are
    assert calibrate(D2mif(blind), CLIPS[3:]).evidence == 0


def test_one_frame_is_a_batch_of_one() -> None:
    batch = whole_frame(CLIPS[0], 1)
    assert batch.image.shape[0] == 1 and batch.confidence.shape[1] == 2
    assert float(batch.confidence.min()) >= 0 and float(batch.confidence.max()) <= 1
