"""Masks as the user's other tools write them: `recon4d run --masks FOLDER` takes what they mean, and says so."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Bool, UInt8

import recon4d
from recon4d import cli
from tests.media import write_images, write_video
from tests.synthetic import SyntheticScene, make_scene

COUNT = 5
FAST = ("--loop", "0", "--refine", "none", "--readout", "0", "--out", "out")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def world() -> SyntheticScene:
    return make_scene(COUNT, (128, 96), seed=6, plain_lens=True)


def moving() -> Bool[np.ndarray, "frames height width"]:
    out = np.zeros((COUNT, 96, 128), bool)
    for frame in range(COUNT):
        out[frame, 20:60, 20 + 2 * frame : 44 + 2 * frame] = True
    return out


def run(
    capsys: pytest.CaptureFixture[str], masks: np.ndarray, names: list[str], *argv: str
) -> tuple[Bool[np.ndarray, "frames height width"], dict[str, str]]:
    """Run on a folder of images; return the result's masks and the warnings."""
    write_images(Path("in"), world().video.images, [f"frame_{i + 1:05d}.jpg" for i in range(COUNT)])
    write_images(Path("masks"), masks, names)
    known = world().video.intrinsics
    assert known is not None
    camera = ",".join(str(value) for value in (*known[:2], known[2] - 0.5, known[3] - 0.5))
    code = cli.main(["run", "in", "--masks", "masks", "--intrinsics", camera, *FAST, *argv])
    out, err = capsys.readouterr()
    assert code == 0, err
    result = recon4d.load("out")
    warnings = result.run["warnings"]
    assert isinstance(warnings, list)
    assert all(f"warning:    {warning['message']}" in out for warning in warnings)
    return result.is_dynamic, {warning["code"]: warning["message"] for warning in warnings}


@pytest.mark.parametrize("factor", [0.5, 2])
def test_masks_of_another_resolution_are_taken(
    factor: float, capsys: pytest.CaptureFixture[str]
) -> None:
    step = round(1 / factor) or 1
    masks = (
        moving()[:, ::step, ::step].repeat(max(1, int(factor)), 1).repeat(max(1, int(factor)), 2)
    )
    found, _ = run(capsys, masks.astype(np.uint8) * 255, plain("frame_{:05d}.png"))
    assert masks.shape[1:] == (96 * factor, 128 * factor)
    np.testing.assert_array_equal(found, moving())


def plain(kind: str) -> list[str]:
    return [kind.format(i + 1) for i in range(COUNT)]


def white_cut_out() -> UInt8[np.ndarray, "frames height width 4"]:
    alpha = moving()[..., None] * np.uint8(255)
    return np.concatenate((np.full((*moving().shape, 3), 255, np.uint8), alpha), axis=-1)


def photograph_cut_out() -> UInt8[np.ndarray, "frames height width 4"]:
    alpha = moving()[..., None] * np.uint8(255)
    return np.concatenate((world().video.images, alpha), axis=-1)


def soft() -> UInt8[np.ndarray, "frames height width"]:
    """A network's sigmoid: the background is not 0."""
    noise = np.random.default_rng(0).integers(1, 20, moving().shape)
    return np.where(moving(), 255 - 5 * noise, noise).astype(np.uint8)


@pytest.mark.parametrize(
    ("make", "names", "code"),
    [
        (white_cut_out, "frame_{:05d}.png", "masks_by_opacity"),
        (photograph_cut_out, "frame_{:05d}.png", "masks_by_opacity"),
        (soft, "frame_{:05d}_mask.png", "masks_soft"),
    ],
)
def test_masks_of_other_tools_are_taken_as_they_are_meant(
    make: Callable[[], np.ndarray], names: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, warnings = run(capsys, make(), plain(names))
    np.testing.assert_array_equal(found, moving())
    assert code in warnings


def test_masks_that_say_what_is_static_are_refused_with_the_option_that_helps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ignore = (~moving()).astype(np.uint8) * 255
    write_images(Path("in"), world().video.images, plain("a{}.jpg"))
    write_images(Path("masks"), ignore, plain("a{}.jpg.png"))
    assert cli.main(["run", "in", "--masks", "masks", *FAST]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    share = f"{(~moving()).mean():.0%}"
    assert f"--masks masks: {share} of the pixels would be moving" in sentence
    assert "0 = ignore, as in COLMAP's masks), add --masks-mean static" in sentence
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in", "masks"]


def test_masks_that_say_what_is_static_are_turned_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ignore = (~moving()).astype(np.uint8) * 255
    names = plain("frame_{:05d}.jpg.png")
    found, warnings = run(capsys, ignore, names, "--masks-mean", "static")
    np.testing.assert_array_equal(found, moving())
    assert not warnings.keys() & {"masks_soft", "masks_by_opacity"}
    assert 'masks_mean = "static"' in Path("out/config.toml").read_text()


def test_right_masks_that_are_called_static_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), world().video.images)
    write_images(Path("masks"), moving().astype(np.uint8) * 255)
    assert cli.main(["run", "in", "--masks", "masks", "--masks-mean", "static", *FAST]) == 2
    assert "leave --masks-mean static out if non-zero means moving" in capsys.readouterr().err


def test_what_masks_mean_needs_masks(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), world().video.images)
    assert cli.main(["run", "in", "--masks-mean", "static"]) == 2
    assert "--masks is 'd2mif'; give the folder, or leave --masks-mean out" in (
        capsys.readouterr().err
    )
    assert cli.main(["run", "in", "--masks-mean", "statik"]) == 2
    assert "did you mean 'static'?" in capsys.readouterr().err


def test_masks_numbered_from_one_belong_to_a_video_s_frames(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_video(Path("in.mp4"), world().video.images)
    write_images(Path("masks"), moving().astype(np.uint8) * 255, plain("frame_{:05d}_mask.png"))
    camera = ("--intrinsics", "110.08,111.36,64.14,46.54")
    assert cli.main(["run", "in.mp4", "--masks", "masks", *camera, *FAST]) == 0
    assert "frame_00001_mask.png is taken for the video's first frame" in capsys.readouterr().out
    np.testing.assert_array_equal(recon4d.load("out").is_dynamic, moving())


def test_palettes_of_objects_are_taken_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    """DAVIS: every object has a dark colour of its own."""
    colours = np.where(moving()[..., None], np.array([128, 0, 0]), 0).astype(np.uint8)
    found, warnings = run(capsys, colours, plain("frame_{:05d}.png"))
    np.testing.assert_array_equal(found, moving())
    assert not warnings.keys() & {"masks_soft", "masks_by_opacity"}
