"""`recon4d run --depth`: what the result has of it, in one piece and in clips, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import recon4d
from benchmarks.measure.simulated_depth import Errors, simulated
from recon4d import cli
from recon4d.cli.info import describe as info
from tests.media import textured_frames, write_images
from tests.synthetic import SyntheticScene, make_scene

SIZE = (128, 96)
INTRINSICS = "110.08,111.36,64.14,46.54"
"""Of the synthetic scenes, with the first pixel's centre at (0, 0)."""
CAMERA = ("--intrinsics", INTRINSICS, "--readout", "0")
USUAL = ("--masks", "residual", "--loop", "0", "--workers", "1", *CAMERA)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(scene: SyntheticScene, scale: str, errors: Errors) -> None:
    """The input, and one file with the depth of all frames."""
    write_images(Path("in"), scene.video.images)
    np.save("depth.npy", simulated(scene.depth, scene.is_dynamic, scale, seed=0, errors=errors))


def done(capsys: pytest.CaptureFixture[str], *options: str) -> recon4d.Reconstruction:
    code = cli.main(["run", "in", "--depth", "depth.npy", "--out", "out", *USUAL, *options])
    out, err = capsys.readouterr()
    assert code == 0, err
    facts = json.loads(Path("out/run.json").read_text())
    for warning in facts["warnings"]:
        assert warning["message"] in out
    return recon4d.load("out")


def warned(result: recon4d.Reconstruction) -> dict[str, str]:
    warnings = result.run["warnings"]
    assert isinstance(warnings, list)
    return {each["code"]: each["message"] for each in warnings}


def off(depth: np.ndarray, truth: np.ndarray) -> float:
    """Median relative error after one factor."""
    return float(np.median(np.abs(np.median(truth / depth) * depth / truth - 1)))


def test_of_a_camera_that_turns_the_given_depth_is_the_depth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = make_scene(10, SIZE, seed=3, path="turning")
    given(scene, "relative", Errors(warp=0.02))
    result = done(capsys)
    assert off(result.depth, scene.depth) < 0.04
    assert 0.3 < np.median(result.depth) < 3
    assert "depth is that of --depth" in warned(result)["no_parallax"]
    assert "depth up to a factor in each frame" in warned(result)["given_depth"]
    assert "given: relative depth" in info(Path("out"))
    assert result.run["given_depth"] == {"kind": "depth", "scale": "relative", "array": ""}
    assert result.run["scale"] == "relative"
    assert result.confidence.min() > 0 and result.confidence.max() < 128
    assert np.ptp(result.world_from_cam[:, :3, 3], axis=0).max() == 0


def test_cameras_are_what_they_are_without(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(8, SIZE, seed=4)
    given(scene, "affine", Errors())
    result = done(capsys, "--depth-kind", "disparity")
    assert off(result.depth, scene.depth) < 0.03
    assert cli.main(["run", "in", "--out", "without", *USUAL]) == 0
    without = recon4d.load("without")
    np.testing.assert_array_equal(result.world_from_cam, without.world_from_cam)


def test_depth_in_metres_gives_metres(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(8, SIZE, seed=4)
    given(scene, "metric", Errors())
    result = done(capsys, "--depth-scale", "metric")
    assert result.is_metric
    assert abs(np.median(result.depth / scene.depth) - 1) < 0.03
    path = np.linalg.norm(np.diff(result.world_from_cam[:, :3, 3], axis=0), axis=1).sum()
    truth = np.linalg.norm(np.diff(scene.scene.world_from_cam[:, :3, 3], axis=0), axis=1).sum()
    assert abs(path / truth - 1) < 0.08


@pytest.mark.slow
def test_clips_of_a_long_video_have_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(20, SIZE, seed=5)
    given(scene, "affine", Errors())
    clips = ("optim.clip_frames=12", "optim.clip_overlap=5", "optim.whole_frames=12")
    sets = [word for each in clips for word in ("--set", each)]
    result = done(capsys, "--depth-kind", "disparity", *sets)
    assert len(result.run["clips"]) > 1  # type: ignore[arg-type]
    assert off(result.depth, scene.depth) < 0.03
    assert "given_depth" in warned(result)


@pytest.mark.slow
def test_frames_that_are_left_out_have_no_part(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(14, SIZE, seed=3, path="turning")
    given(scene, "relative", Errors(warp=0.02))
    result = done(capsys, "--stride", "2", "--max-frames", "6")
    assert off(result.depth, scene.depth[:12:2]) < 0.04


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--geometry", "rgbd"), "both tell the depth; give one of the two"),
        (("--depth-factor", "1000"), "add --depth-scale metric, or leave --depth-factor out"),
        (("--depth-kind", "shape"), "depth_kind cannot be 'shape'"),
    ],
)
def test_options_that_contradict_are_refused(
    options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(3))
    np.save("depth.npy", np.ones((3, 96, 128), np.float32))
    assert sentence in refused(capsys, "--depth", "depth.npy", *options)


def test_the_kind_of_no_depth_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(3))
    assert "add --depth FOLDER" in refused(capsys, "--depth-scale", "affine")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.ones((2, 96, 128)), "holds depth of 2 frames, and the input has 3"),
        (np.ones((3, 96, 96)), "the shape of the input, 128x96"),
        (np.zeros((3, 96, 128)), "knows nothing"),
        (np.full((3, 96, 128), np.nan), "knows nothing"),
        (np.full((3, 96, 128), -1.0), "has negative values"),
    ],
)
def test_depth_that_cannot_be_is_refused(
    values: np.ndarray, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(3))
    np.save("depth.npy", values)
    assert sentence in refused(capsys, "--depth", "depth.npy")


def test_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(3))
    Path("depth.npy").write_text("not an array")
    assert "cannot be read" in refused(capsys, "--depth", "depth.npy")


def test_depth_as_an_array_is_refused_in_python() -> None:
    with pytest.raises(recon4d.ConfigError, match=r"depth is of type ndarray.*save them there"):
        recon4d.reconstruct("in", depth=np.ones((3, 96, 128)))  # type: ignore[arg-type]


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Exit code 2, one sentence, nothing left."""
    before = sorted(Path.cwd().iterdir())
    assert cli.main(["run", "in", *options]) == 2
    _, err = capsys.readouterr()
    assert sorted(Path.cwd().iterdir()) == before
    last = err.splitlines()[-1]
    assert last.startswith("recon4d: error: ")
    return last
