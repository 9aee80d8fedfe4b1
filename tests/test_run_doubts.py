"""What `recon4d run` doubts, it says: odd cameras, focal lengths that nothing tells, options to blame."""

import json
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.cli.info import describe
from recon4d.io.camera import Camera, camera_notices
from tests.media import textured_frames, write_images

FAST = ("--masks", "none", "--loop", "0", "--out", "out")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def warnings_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, str]:
    code = cli.main(["run", "in", *FAST, *argv])
    out, err = capsys.readouterr()
    assert code == 0, err
    found = json.loads(Path("out/run.json").read_text())["warnings"]
    assert all(f"warning:    {warning['message']}" in out for warning in found)
    return {warning["code"]: warning["message"] for warning in found}


def test_the_calibration_of_the_turned_picture_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(4, width=96, height=160))
    found = warnings_of(capsys, "--intrinsics", "150,150,79.5,47.5")
    message = found["turned_intrinsics"]
    assert "the principal point (79.5, 47.5)" in message and "in the middle of 160x96 px" in message
    assert "cx and cy change places" in message


@pytest.mark.parametrize(
    ("centre", "size", "codes"),
    [
        ((64, 48), (128, 96), []),
        ((60, 44), (128, 96), []),
        ((96, 160), (192, 320), []),
        ((160, 96), (192, 320), ["turned_intrinsics"]),
        ((320, 240), (480, 640), ["turned_intrinsics"]),
        ((240, 200), (400, 480), ["turned_intrinsics"]),
        ((80, 240), (400, 480), ["odd_principal_point"]),
        ((110, 240), (400, 480), []),  # a part of a wider picture
    ],
)
def test_principal_points_that_are_worth_a_word(
    centre: tuple[float, float], size: tuple[int, int], codes: list[str]
) -> None:
    camera = Camera(400.0, 400.0, float(centre[0]), float(centre[1]))
    assert [notice.code for notice in camera_notices(camera, size)] == codes


def test_the_focal_length_of_a_tripod_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    still = textured_frames(1).repeat(6, axis=0) + np.random.default_rng(0).normal(
        0, 2, (6, 96, 128, 3)
    )
    write_images(Path("in"), still.clip(0, 255).round().astype(np.uint8))
    found = warnings_of(capsys)
    run = json.loads(Path("out/run.json").read_text())
    assert run["focal_source"] == "assumed" and not run["focal_known"]
    assumed = f"{run['focal_px'][0]:.1f} px"
    assert f"focal:      not known (assumed {assumed})\n" in describe(Path("out"))
    assert "neither moves nor turns" in found["focal_assumed"]
    assert "--intrinsics" in found["focal_assumed"]


def test_a_focal_length_that_is_given_is_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(1).repeat(4, axis=0))
    assert "focal_assumed" not in warnings_of(capsys, "--intrinsics", "100,100,63.5,47.5")
    assert json.loads(Path("out/run.json").read_text())["focal_source"] == "given"
    assert "focal:      100.0 px\n" in describe(Path("out"))


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--size", "96"], ["working size of 96x72 px is likely too small (try --size 512)"]),
        (["--stride", "2"], ["the frames are 2 apart in the input (keep more of them, by --str"]),
        (["--size", "96", "--stride", "2"], ["2 apart in the input"]),
        ([], ["the frames show different places, or the camera is too fast"]),
    ],
)
def test_frames_without_relation_name_the_option_that_may_be_the_cause(
    options: list[str], answers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    unlike = [textured_frames(1, seed=seed)[0] for seed in range(4)]
    write_images(Path("in"), np.stack(unlike))
    assert cli.main(["run", "in", *FAST, "--intrinsics", "100,100,63.5,47.5", *options]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "no two of the" in sentence and all(answer in sentence for answer in answers)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in"]


def test_no_larger_size_is_advised_where_the_input_has_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sides are rounded to multiples of 8: the working size of 101x77 px is as large as it can be."""
    unlike = [textured_frames(1, 101, 77, seed=seed)[0] for seed in range(4)]
    write_images(Path("in"), np.stack(unlike))
    assert cli.main(["run", "in", *FAST, "--intrinsics", "100,100,50,38"]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "the frames show different places" in sentence and "--size" not in sentence
