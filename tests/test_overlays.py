"""What sticks to the picture is found over time, and counts as neither static nor moving."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Bool, UInt8

import recon4d
from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.core.scene import Flow, MotionMasks, Overlay
from recon4d.flow.overlay import without_overlay
from recon4d.masks import FinalMasks, MaskMethod, Seen
from recon4d.masks.overlay import final_outside, outside_overlay
from recon4d.optim.dense import densify
from recon4d.optim.setting import AlignOptions
from recon4d.run.overlays import find_overlay
from recon4d.run.overlays.paint import paint_over
from tests.media import write_images
from tests.results import exact_result
from tests.synthetic import make_scene

WIDTH, HEIGHT = 256, 192
Images = UInt8[np.ndarray, "frames height width 3"]
Area = Bool[np.ndarray, "height width"]


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Coarse and fine."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3)).astype(np.float32)
    parts = (detail_px * cv2.GaussianBlur(noise, (0, 0), detail_px) for detail_px in (1.5, 4, 10))
    return np.asarray(np.clip(128 + 100 * sum(parts), 0, 255), np.float32)


def moving_picture(count: int = 40, seed: int = 0) -> Images:
    """A camera that is carried over a textured wall, with sensor noise."""
    wall, rng = texture(HEIGHT + 160, WIDTH + 160, seed), np.random.default_rng(seed + 1)
    steps = np.cumsum(rng.normal((1.5, 0.7), 1.2, (count, 2)), axis=0)
    at = np.clip(np.rint(steps), 0, 150).astype(int)
    frames = np.stack([wall[y : y + HEIGHT, x : x + WIDTH] for x, y in at])
    return (frames + rng.normal(0, 2, frames.shape)).clip(0, 255).astype(np.uint8)


def burnt_in(images: Images, frames: slice = slice(None), at: tuple[int, int] = (8, 140)) -> Area:
    """Draw a lower third with text into some frames; the pixels that it covers."""
    area = np.zeros(images.shape[1:3], np.uint8)
    left, top = at
    cv2.rectangle(area, (left, top), (left + 130, top + 26), 1, -1)
    for image in images[frames]:
        image[area > 0] = (30, 40, 160)
        place = (left + 6, top + 19)
        cv2.putText(image, "LIVE TODAY", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 2)
    return area > 0


def iou(found: Area, truth: Area) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_what_is_burnt_in_is_found() -> None:
    images = moving_picture()
    truth = burnt_in(images)
    found = find_overlay(images)
    assert found is not None and found.frames is None
    assert iou(found.area, truth) > 0.8


def test_subtitles_are_found_in_their_frames() -> None:
    images = moving_picture(72)
    truth = burnt_in(images, slice(20, 50), at=(60, 150))
    found = find_overlay(images)
    assert found is not None and found.frames is not None
    assert iou(found.area, truth) > 0.8
    assert abs(found.frames[0] - 20) <= 2 and abs(found.frames[-1] - 49) <= 2
    assert iou(found.at(35), truth) > 0.8 and not found.at(5).any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_picture_that_moves_has_none(seed: int) -> None:
    assert find_overlay(moving_picture(seed=seed)) is None


@pytest.mark.parametrize("wavers_px", [0.4, 1.0])
def test_neither_has_a_thing_that_the_camera_follows(wavers_px: float) -> None:
    images, rng = moving_picture(), np.random.default_rng(5)
    thing = texture(60, 80, 9)
    for image in images:
        place = np.array([[1, 0, 90], [0, 1, 60]], np.float32)
        place[:, 2] += rng.normal(0, wavers_px, 2)
        size = (WIDTH, HEIGHT)
        seen = cv2.warpAffine(thing, place, size)
        inside = cv2.warpAffine(np.ones((60, 80), np.float32), place, size)[..., None]
        image[:] = (inside * seen + (1 - inside) * image).astype(np.uint8)
    assert find_overlay(images) is None


def test_nor_has_the_scene_of_a_camera_on_a_tripod() -> None:
    images = np.repeat(moving_picture(1), 40, axis=0)
    walker = moving_picture(40, seed=3)
    for at, image in enumerate(images):
        image[40:180, 5 * at : 5 * at + 50] = walker[at, 40:180, 5 * at : 5 * at + 50]
    assert find_overlay(images) is None


@pytest.mark.parametrize("still", [14, 16, 18])
def test_nor_has_it_where_the_tripod_pans_at_last(still: int) -> None:
    wall = np.repeat(texture(HEIGHT, WIDTH + 160, 2)[:, ::8], 8, axis=1)[:, : WIDTH + 160]
    wall = cv2.GaussianBlur(wall, (0, 0), 1)
    rng = np.random.default_rng(4)
    at = [*[0] * still, *(8 * np.arange(1, 25 - still))]
    frames = np.stack([wall[:, x : x + WIDTH] for x in at])
    images = (frames + rng.normal(0, 2, frames.shape)).clip(0, 255).astype(np.uint8)
    assert find_overlay(images) is None


@pytest.mark.parametrize("still", [False, True])
def test_black_bars_are_found_whether_the_picture_moves_or_not(still: bool) -> None:
    images = moving_picture(1 if still else 12)
    images = np.repeat(images, 12, axis=0) if still else images
    images[:, :20], images[:, -17:] = 1, 0
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[:20], truth[-17:] = True, True
    found = find_overlay(images)
    assert found is not None
    np.testing.assert_array_equal(found.area, truth)


def test_the_dark_of_a_night_is_no_bar() -> None:
    images = moving_picture(12)
    uneven = 30 + 12 * np.sin(np.arange(WIDTH) / 9)
    images[:, np.arange(HEIGHT)[:, None] < uneven] = 3
    assert find_overlay(images) is None
    assert find_overlay(np.zeros_like(images)) is None


def test_it_is_painted_over_with_what_is_around() -> None:
    ramp = np.repeat(np.linspace(0, 200, WIDTH)[None], HEIGHT, axis=0)
    image = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    drawn = image.copy()
    area = burnt_in(drawn[None])
    painted = paint_over(drawn, area)
    assert np.abs(painted.astype(int) - image)[area].mean() < 12
    beside = ~(cv2.dilate(area.astype(np.uint8), np.ones((3, 3))) > 0)
    np.testing.assert_array_equal(painted[beside], image[beside])


def test_flow_from_and_to_it_has_no_confidence() -> None:
    area = np.zeros((64, 96), bool)
    area[16:32, 40:56] = True
    overlay = Overlay(area[None], np.array([[1, 1]]), 2)
    flow_px = np.zeros((2, 32, 48, 2), np.float16)
    flow_px[0, ..., 0], flow_px[1, ..., 0] = 16, -16
    sure = np.full((2, 32, 48), 255, np.uint8)
    found = without_overlay(Flow(np.array([[0, 1], [1, 0]]), flow_px, sure), overlay).confidence
    assert not found[1, 8:16, 20:28].any() and found[1, 12, 2] == 255
    assert not found[0, 8:16, 12:20].any() and found[0, 12, 36] == 255


def test_masks_say_nothing_of_it() -> None:
    area = np.zeros((8, 12), bool)
    area[2:4, 4:8] = True
    overlay = Overlay(area[None], np.array([[1, 2]]), 3)
    everything = MotionMasks(np.ones((3, 4, 6), np.float32))
    made = make_scene(3, (32, 24), seed=0)
    method = MaskMethod(lambda seen, scene: everything, depends_on_scene=False)
    masks = outside_overlay(method, overlay).masks(Seen(made.video, made.flow), made.scene)
    assert masks.probability[0].all() and not masks.probability[1:, 1, 2:4].any()
    assert masks.probability[1:].sum() == 2 * (24 - 2)
    final = final_outside(FinalMasks(np.ones((3, 8, 12), bool)), overlay)
    np.testing.assert_array_equal(final.is_dynamic[1], ~area)
    assert final.is_dynamic[0].all()


def test_it_has_no_depth() -> None:
    made = make_scene(8, (128, 96), seed=2)
    area = np.zeros((96, 128), bool)
    area[10:30, 20:60] = True
    video = dataclasses.replace(made.video, overlay=Overlay(area[None], np.array([[2, 7]]), 8))
    nothing = MotionMasks(np.zeros(made.flow.confidence.shape[1:], np.float32)[None].repeat(8, 0))
    options = AlignOptions(threads=1)
    dense = densify(video, made.flow, made.scene, nothing, options, only=range(1, 8))
    assert (dense.depth[0] > 0).all()
    assert not dense.depth[1:, area].any() and not dense.confidence[1:, area].any()
    assert (dense.depth[1:, ~area] > 0).all()


def test_parts_of_a_video_have_their_part_of_it() -> None:
    parts = np.zeros((2, 4, 6), bool)
    parts[0, 0], parts[1, 3] = True, True
    overlay = Overlay(parts, np.array([[0, 9], [6, 8]]), 10)
    assert overlay.frames is None and overlay.share == 0.5
    some = overlay.of(np.array([1, 4, 7, 8, 9]))
    assert some is not None
    assert some.spans.tolist() == [[0, 4], [2, 3]] and some.num_frames == 5
    assert [some.at(k).sum() for k in range(5)] == [6, 6, 12, 12, 6]
    late = Overlay(parts[1:], np.array([[6, 8]]), 10)
    assert late.frames == (6, 7, 8) and late.of(np.arange(5)) is None


def test_a_result_keeps_it(tmp_path: Path) -> None:
    made = make_scene(3, (32, 24), seed=0)
    area = np.zeros((24, 32), bool)
    area[:5] = True
    result = dataclasses.replace(exact_result(made), overlay=area)
    result.save(tmp_path / "out")
    assert set(np.unique(np.asarray(cv2.imread(str(tmp_path / "out/overlay.png"), -1)))) == {0, 255}
    read = recon4d.load(tmp_path / "out")
    assert read.overlay is not None
    np.testing.assert_array_equal(read.overlay, area)
    read.save(tmp_path / "out", overwrite=True)
    (tmp_path / "out/overlay.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"overlay\.png"):
        recon4d.load(tmp_path / "out")
    exact_result(made).save(tmp_path / "plain")
    assert not (tmp_path / "plain/overlay.png").exists()
    assert recon4d.load(tmp_path / "plain").overlay is None


def test_a_run_leaves_it_out_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_scene(8, (160, 120), seed=5)
    images = np.array(made.video.images)
    images[:, :14], images[:, -14:] = 0, 0
    write_images(Path("in"), images)
    argv = ["run", "in", "--masks", "residual", "--loop", "1", "--intrinsics", "140,140,79.5,59.5"]
    assert cli.main(argv) == 0
    said = json.loads(Path("in_recon4d/run.json").read_text())
    (found,) = [warning for warning in said["warnings"] if warning["code"] == "overlay"]
    assert f"warning:    {found['message']}" in capsys.readouterr().out
    result = recon4d.load("in_recon4d")
    assert result.overlay is not None
    bars = np.zeros((120, 160), bool)
    bars[:14], bars[-14:] = True, True
    np.testing.assert_array_equal(result.overlay, bars)
    assert said["overlay"] == {"share": pytest.approx(bars.mean())}
    assert not result.is_dynamic[:, bars].any() and not result.depth[:, bars].any()
    assert not result.confidence[:, bars].any()
    assert result.images[:, bars].mean() < 5  # shown as they are
