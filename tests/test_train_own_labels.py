"""Videos that label themselves: what geometry and appearance agree about is learnt, the rest is not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d.cli import main
from recon4d.core.errors import InputError
from recon4d.core.sampling import shrink
from recon4d.core.stages import load_stage
from recon4d.masks.given import outlines
from recon4d.masks.train.d2mif import library, own_labels
from recon4d.masks.train.d2mif.batches import CROP, random_batch, whole_frame
from recon4d.masks.train.d2mif.calibrate import calibrate
from recon4d.masks.train.d2mif.fit import validate
from recon4d.masks.train.d2mif.loss import segmentation_loss
from recon4d.masks.train.d2mif.own_labels import labels, own_samples, videos_in
from recon4d.masks.train.d2mif.samples import Front, Samples
from recon4d.optim.setting import AlignOptions
from tests.mini_sets import write_image
from tests.synthetic import SyntheticScene, make_scene

FRAMES, SIZE = 12, (192, 144)


def test_what_is_not_known_costs_nothing() -> None:
    truth = torch.zeros(2, 20, 20)
    truth[:, 5:15, 5:15] = 1
    log_odds = (truth * 2 - 1) * 30
    log_odds[:, :3] *= -1
    known = torch.ones_like(truth)
    known[:, :3] = 0
    assert float(segmentation_loss(log_odds, truth)) > 0.1
    assert float(segmentation_loss(log_odds, truth, known)) < 1e-6
    everywhere = torch.ones_like(truth)
    assert float(segmentation_loss(log_odds, truth, everywhere)) == pytest.approx(
        float(segmentation_loss(log_odds, truth))
    )
    assert float(segmentation_loss(log_odds, truth, 0 * known)) < 1e-6, "nothing is known"


def test_objects_are_labelled_as_wholes_where_geometry_and_appearance_agree() -> None:
    odds, salient = np.full((1, 60, 80), -4, np.float32), np.full((1, 60, 80), -3, np.float32)
    salient[0, 10:30, 10:30] = 4  # moves: most of it surely does
    odds[0, 10:24, 10:30], odds[0, 24:30, 10:30] = 4, 0
    salient[0, 10:30, 40:60] = 4  # rests
    salient[0, 40:55, 10:30] = 4  # half of it
    odds[0, 40:47, 10:30] = 4
    odds[0, 40:55, 50:70] = 4  # moves, says geometry alone: water
    odds[0, :5, :] = 0  # nobody is sure
    truth, known = labels(odds, salient)
    assert truth[0, 10:30, 10:30].all() and truth.sum() == 20 * 20
    assert known[0, 10:30, 10:30].all() and known[0, 10:30, 40:60].all()
    assert not known[0, 40:55, 10:30].any() and not known[0, 40:55, 50:70].any()
    assert not known[0, :5].any() and known[0, 36:40].all()
    assert not known[0, 31:33, 10:30].any(), "beside what moves nothing is known to stand still"


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, mover=True, noise_px=0.2)


@pytest.fixture
def video(scene: SyntheticScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pictures of a scene, whose flow and cameras are found exactly; appearance sees its mover and what stands."""
    folder = tmp_path / "videos/walk"
    for frame, image in enumerate(scene.video.images):
        write_image(folder / f"{frame:03d}.png", np.ascontiguousarray(image[..., ::-1]))
    seen = outlines(scene.is_dynamic).probability > 0.5
    seen[:, 10:24, 4:18] = True
    small = [shrink(image).astype(int) for image in scene.video.images]

    def told(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
        apart = [np.abs(shrink(image).astype(int) - each).sum() for each in small]
        return np.where(seen[int(np.argmin(apart))], 4, -3).astype(np.float32)

    def exact(images: np.ndarray, intrinsics: None, folder: Path, threads: int) -> Front:
        assert np.array_equal(images, scene.video.images), "PNG files lose nothing"
        shown = np.stack([shrink(image) for image in images])
        return Front(scene.video, shown, scene.flow, scene.scene, AlignOptions(threads=1))

    monkeypatch.setattr(own_labels, "salient_log_odds", told)
    monkeypatch.setattr(own_labels, "look", exact)
    return folder


def test_a_video_with_parallax_labels_what_moves_in_it(
    video: Path, scene: SyntheticScene, tmp_path: Path
) -> None:
    library._own(tmp_path / "clips", 0, video)
    (name,) = (path.name for path in (tmp_path / "clips").iterdir())
    assert name == library._own_name(video)
    clip = load_stage(tmp_path / "clips" / name, Samples)
    assert clip.known is not None and len(clip.images) >= FRAMES // 2
    truth, known = np.asarray(clip.truth) > 0, np.asarray(clip.known) > 0
    assert known.mean() > 0.4 and truth[known].any()
    frames = [
        int(np.argmin(np.abs(scene.video.images.astype(int) - image).sum((1, 2, 3))))
        for image in np.asarray(clip.images).astype(int)
    ]
    exact = outlines(scene.is_dynamic).probability[frames]
    sure = known & ((exact < 0.01) | (exact > 0.99))
    assert (truth[sure] == (exact[sure] > 0.5)).mean() > 0.97
    assert clip.maps.shape[0] == len(clip.images) and clip.truth.shape == clip.known.shape


def test_a_video_without_labels_is_left_out_and_said(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_labels, "has_parallax", lambda scene: False)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(InputError, match="walk labels nothing"):
        own_samples(video, 0, tmp_path / "scratch")
    (tmp_path / "clips").mkdir()
    library._own(tmp_path / "clips", 0, video)
    assert "walk is left out" in caplog.text
    assert not [p for p in (tmp_path / "clips").iterdir() if not p.name.endswith(".growing")]


def test_a_camera_that_only_turns_has_no_parallax(scene: SyntheticScene) -> None:
    found = scene.scene
    assert own_labels.has_parallax(found)
    nothing = np.full_like(found.inverse_depth_std, np.inf)
    assert not own_labels.has_parallax(dataclasses.replace(found, inverse_depth_std=nothing))
    assert not own_labels.has_parallax(dataclasses.replace(found, is_order_unsure=True))
    lost = found.is_posed.copy()
    lost[2] = False
    assert not own_labels.has_parallax(dataclasses.replace(found, is_posed=lost))


def test_videos_are_files_and_folders_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    write_image(tmp_path / "b/0.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "c").mkdir()
    assert videos_in(tmp_path) == (tmp_path / "a.mp4", tmp_path / "b")
    assert videos_in(tmp_path / "b") == (tmp_path / "b",)
    for wrong, said in ((tmp_path / "c", "holds neither"), (tmp_path / "d", "is no folder")):
        with pytest.raises(InputError, match=said):
            videos_in(wrong)


def test_a_folder_without_videos_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "d2mif", "--out", str(tmp_path / "out"), "--imagenet", "no"]
    assert main([*words, "--videos", str(tmp_path / "nowhere"), "--workers", "1"]) == 2
    shown = capsys.readouterr().err
    assert "--videos" in shown and shown.count("\n") == 1


def test_training_and_calibration_take_known_pixels_alone() -> None:
    from recon4d.masks.d2mif.network import D2mif
    from tests.test_train_fit import CLIPS, TINY

    half = np.ones_like(CLIPS[0].truth)
    half[:, :, : half.shape[2] // 2] = 0
    wrong = CLIPS[0].truth.copy()
    wrong[half == 0] = 255 - wrong[half == 0]
    partly = [
        dataclasses.replace(CLIPS[0], known=half, truth=truth) for truth in (CLIPS[0].truth, wrong)
    ]
    torch.manual_seed(0)
    network = D2mif(TINY)
    same = [(validate(network, [clip]).loss, calibrate(network, [clip])) for clip in partly]
    assert same[0][0] == pytest.approx(same[1][0], rel=1e-6)
    assert np.allclose(list(vars(same[0][1]).values()), list(vars(same[1][1]).values()))
    mixed = random_batch([partly[0], CLIPS[1]], 6, np.random.default_rng(0))
    assert mixed.known is not None and mixed.known.shape == (6, CROP[0] // 2, CROP[1] // 2)
    assert 0 < float(mixed.known.mean()) < 1
    assert whole_frame(CLIPS[1], 0).known is None
