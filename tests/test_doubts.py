"""What of a finished result is doubtful is said, and what holds is not doubted."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.core.scene import DenseDepth, Notice, Scene
from recon4d.core.text import spans
from recon4d.flow.dis import Dis
from recon4d.run.check import by_frame, check_flow
from recon4d.run.doubts import DOUBTS, Finished, doubts, step_errors_px
from recon4d.run.figures import TIES, FrameFigures, frame_figures, join_figures
from tests.media import textured_frames, write_images
from tests.synthetic import SyntheticScene, make_scene

SIZE = (160, 120)
FRAMES = 12


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, mover=True)


def residual(frames: int) -> np.ndarray:
    return np.full(frames, 0.1)


def figures_of(made: SyntheticScene, **known: np.ndarray) -> FrameFigures:
    sure = np.full(made.depth.shape, 255, np.uint8)
    found = frame_figures(
        made.flow, DenseDepth(made.depth, sure), made.is_dynamic, residual(FRAMES)
    )
    return dataclasses.replace(found, **known)


def finished(made: SyntheticScene, scene: Scene | None = None, **known: np.ndarray) -> Finished:
    figures = figures_of(made, **known)
    return Finished(scene or made.scene, figures, SIZE, "estimated", {"1": 0.1, "10": 4.2})


def said(result: Finished, *before: Notice) -> dict[str, tuple[int, ...]]:
    """Codes and frames."""
    return {notice.code: notice.frames for notice in doubts(result, before)}


def message_of(result: Finished) -> str:
    (notice,) = doubts(result, ())
    return notice.message


def jumped(made: SyntheticScene, frame: int, by: float) -> Scene:
    """The cameras from a frame on are somewhere else."""
    poses = made.scene.world_from_cam.copy()
    poses[frame:, 0, 3] += by
    return dataclasses.replace(made.scene, world_from_cam=poses)


def test_a_result_that_holds_is_not_doubted(made: SyntheticScene) -> None:
    assert said(finished(made)) == {}
    errors = step_errors_px(made.scene, figures_of(made))
    assert np.isnan(errors[-1]) and errors[:-1].max() < 0.05


def test_cameras_that_jump_are_torn_apart_where_they_do(made: SyntheticScene) -> None:
    result = finished(made, jumped(made, 5, 0.3))
    assert said(result) == {"cameras_torn": (4,)}
    doubled = dataclasses.replace(
        result, in_input=lambda frames: (2 * frames[0], 2 * frames[0] + 1)
    )
    assert said(doubled) == {"cameras_torn": (8, 9)}
    assert "frames 8 to 9" in message_of(doubled)
    assert message_of(result).startswith(
        "After frame 4, the cameras move otherwise than the pictures"
    )


def test_a_jump_between_pieces_that_nothing_connects_is_none(made: SyntheticScene) -> None:
    cut = dataclasses.replace(jumped(made, 5, 0.3), component=np.repeat([0, 1], [5, FRAMES - 5]))
    assert said(finished(made, cut)) == {}
    lost = np.zeros(FRAMES, int)
    lost[4] = -1
    assert said(finished(made, dataclasses.replace(jumped(made, 5, 0.3), component=lost))) == {}


def test_cameras_that_contradict_the_flow_everywhere_are_not_torn(made: SyntheticScene) -> None:
    k = made.scene.intrinsics * np.array((1.5, 1.5, 1, 1))
    assert said(finished(made, dataclasses.replace(made.scene, intrinsics=k))) == {}


def test_a_static_residual_that_grows_is_said_with_its_figures(made: SyntheticScene) -> None:
    result = finished(made, residual_px=np.full(FRAMES, 4.2))
    assert said(result) == {"residual_grows": ()}
    message = message_of(result)
    assert message.startswith("In all frames, what is static moves up to 4.2 px otherwise than")
    assert "(medians of all: 0.10 px 1 frame apart, 4.20 px 10 apart)" in message
    some = finished(made, residual_px=np.repeat([0.3, 9.0, np.nan], 4))
    assert said(some) == {"residual_grows": (4, 5, 6, 7)}
    assert "In frames 4 to 7, what is static moves up to 9.0 px" in message_of(some)


@pytest.mark.parametrize(("focal", "is_odd"), [(0.3, True), (0.5, False), (5.0, False), (7, True)])
def test_focal_lengths_that_no_lens_has_are_named(
    focal: float, is_odd: bool, made: SyntheticScene
) -> None:
    k = made.scene.intrinsics.copy()
    k[:, :2] = focal * SIZE[0]
    one = dataclasses.replace(finished(made), scene=dataclasses.replace(made.scene, intrinsics=k))
    codes = said(one).keys() - {"cameras_torn"}
    assert codes == ({"odd_focal"} if is_odd else set())
    assert not said(dataclasses.replace(one, focal_source="given")).keys() & {"odd_focal"}
    assumed = Notice("focal_assumed", "it is assumed")
    assert "odd_focal" not in said(one, assumed)


def test_too_much_that_moves_is_named(made: SyntheticScene) -> None:
    passing = np.repeat([0.1, 0.9], (9, 3)).astype(np.float32)
    assert said(finished(made, moving=passing)) == {}
    result = finished(made, moving=np.full(FRAMES, 0.7, np.float32))
    assert said(result) == {"much_moving": ()}
    assert "Around all frames, up to 70% of all pixels" in message_of(result)


def test_too_much_in_a_part_of_a_long_video_is_named(made: SyntheticScene) -> None:
    share = np.repeat([0.1, 0.9], (200, 100)).astype(np.float32)
    few = figures_of(made)
    many = {key: np.repeat(value, 25, axis=0) for key, value in vars(few).items()}
    figures = FrameFigures(**(many | {"moving": share}))
    (row,) = [doubt for doubt in DOUBTS if doubt.code == "much_moving"]
    beyond = np.flatnonzero(row.value(Finished(made.scene, figures, SIZE, "given")) > row.limits[1])
    assert beyond[0] in range(200, 210) and beyond[-1] == 299


def test_a_range_of_depth_that_no_scene_has_is_named(made: SyntheticScene) -> None:
    depth = figures_of(made).depth.copy()
    depth[:, 50:] *= 1e5
    result = finished(made, depth=depth)
    assert said(result) == {"depth_range": ()}
    assert ",000 times as far as what is near" in message_of(result)
    assert said(finished(made, depth=np.full_like(depth, np.nan))) == {}


def test_frames_without_depth_are_named_unless_they_are_already(made: SyntheticScene) -> None:
    flat = np.isin(np.arange(FRAMES), (4, 5, 6, 9))
    result = finished(made, is_flat=flat)
    assert said(result) == {"flat_depth": (4, 5, 6, 9)}
    assert message_of(result).startswith("The depth of frames 4 to 6, 9 is not known")
    assert said(result, Notice("lost_frames", "x", (4, 5))) == {"flat_depth": (6, 9)}
    assert said(result, Notice("no_parallax", "x")) == {}


def test_flat_and_unsure_frames_are_found(made: SyntheticScene) -> None:
    depth, sure = made.depth.copy(), np.full(made.depth.shape, 255, np.uint8)
    depth[2], sure[3], sure[4, :, :5] = 1.0, 0, 0
    found = frame_figures(made.flow, DenseDepth(depth, sure), made.is_dynamic, residual(FRAMES))
    assert np.flatnonzero(found.is_flat).tolist() == [2, 3]
    assert np.isnan(found.depth[3]).all() and np.isfinite(found.depth[4]).all()


def test_figures_of_two_parts_are_those_of_the_whole(made: SyntheticScene) -> None:
    """The step from one part to the next is among the ties of the first, whose flow reaches beyond it."""
    whole, parts = figures_of(made), []
    for first, last in ((0, 5), (5, FRAMES)):
        flow = dataclasses.replace(made.flow, edges=made.flow.edges - first)
        depth = made.depth[first:last]
        dense = DenseDepth(depth, np.full(depth.shape, 255, np.uint8))
        parts.append(
            frame_figures(flow, dense, made.is_dynamic[first:last], residual(last - first))
        )
    joined = join_figures(parts)
    for each in dataclasses.fields(FrameFigures):
        np.testing.assert_array_equal(getattr(joined, each.name), getattr(whole, each.name))
    assert np.isfinite(joined.ties[4]).all() and joined.ties.shape == (FRAMES, TIES, 5)


def test_flow_between_pictures_that_share_nothing_is_no_residual(made: SyntheticScene) -> None:
    """It seems to be consistent here and there by chance, hundreds of pixels from anything."""
    images = made.video.images.copy()
    images[6:] = make_scene(FRAMES, SIZE, seed=8).video.images[6:]
    video = dataclasses.replace(made.video, images=images)
    none = dataclasses.replace(
        made.flow,
        edges=np.zeros((0, 2), np.int64),
        flow_px=made.flow.flow_px[:0],
        confidence=made.flow.confidence[:0],
    )
    dense = DenseDepth(made.depth, np.full(made.depth.shape, 255, np.uint8))
    found = check_flow(video, none, made.scene, dense, made.is_dynamic, Dis(), 1)
    assert found.residual_px["1"] < 2 and "10" not in found.residual_px


def test_the_residual_of_a_frame_is_that_of_the_pairs_that_begin_beside_it(
    made: SyntheticScene,
) -> None:
    bad, good, none = np.array([1.0, 8.0, 9.0]), np.array([0.5]), np.zeros(0)
    starts = np.arange(0, 40, 4)
    errors = [good, good, bad, good, none, good, good, bad, bad, bad]
    found = by_frame(starts, errors, 44)
    assert (found[:22] == 0.5).all() and (found[28:] == 8).all(), "not of single pairs"
    assert np.isnan(by_frame(starts, [none] * 10, 44)).all()
    dense = DenseDepth(made.depth, np.full(made.depth.shape, 255, np.uint8))
    torn = jumped(made, 10, 0.5)  # between the frames of both pairs that are 10 apart
    check = check_flow(made.video, made.flow, torn, dense, made.is_dynamic, Dis(), 1)
    assert check.residual_px["1"] < 1 < 3 < check.residual_px["10"]
    assert (check.figures.residual_px > 3).all()


def test_a_step_whose_flow_is_chance_is_not_judged(made: SyntheticScene) -> None:
    edge = next(e for e, (a, b) in enumerate(made.flow.edges) if (a, b) == (5, 6))
    confidence = made.flow.confidence.copy()
    kept = np.random.default_rng(0).random(confidence[edge].shape) < 0.05
    confidence[edge] = np.where(kept, 255, 0)
    flow = dataclasses.replace(made.flow, confidence=confidence)
    dense = DenseDepth(made.depth, np.full(made.depth.shape, 255, np.uint8))
    ties = frame_figures(flow, dense, made.is_dynamic, residual(FRAMES)).ties
    assert np.isnan(ties).all(axis=(1, 2)).tolist() == [at in (5, 11) for at in range(FRAMES)]


def test_spans_of_frames_are_short() -> None:
    assert spans(()) == "all frames"
    assert spans((3,)) == "frame 3"
    assert spans((3, 4, 5, 9)) == "frames 3 to 5, 9"
    assert spans(tuple(range(0, 20, 2))) == "frames 0, 2, 4, 6 and 6 more spans"


def test_every_check_has_a_name_and_one_sentence() -> None:
    assert len({doubt.code for doubt in DOUBTS}) == len(DOUBTS)
    for doubt in DOUBTS:
        assert doubt.sentence.endswith(".") and ". " not in doubt.sentence
        assert "; " in doubt.sentence, "what to do follows"


def test_a_doubt_is_on_screen_in_run_json_and_on_the_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(4))
    masks = np.zeros((4, 96, 128), np.uint8)
    masks[:, :68] = 255
    write_images(Path("own"), masks[..., None].repeat(3, axis=3))
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "recon4d.results.preview._write_codes", lambda _, codes: drawn.append(codes)
    )
    assert cli.main(["run", "in", "--masks", "own", "--loop", "0", "--out", "out"]) == 0
    warnings = json.loads(Path("out/run.json").read_text())["warnings"]
    (found,) = [each for each in warnings if each["code"] == "much_moving"]
    assert found["frames"] == [] and "up to 71% of all pixels" in found["message"]
    assert f"warning:    {found['message']}" in capsys.readouterr().out
    assert drawn and "much_moving" in drawn[0]
