"""`recon4d info`: what an input, a result and a weight file hold, in words."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from recon4d import cli
from recon4d.cli.info import describe, format_rows
from recon4d.core.errors import InputError
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction

FRAMES, HEIGHT, WIDTH = 3, 64, 96


def small_result(run: dict[str, object], is_metric: bool = False) -> Reconstruction:
    shape = (FRAMES, HEIGHT, WIDTH)
    return Reconstruction(
        world_from_cam=np.tile(np.eye(4), (FRAMES, 1, 1)),
        intrinsics=np.tile([80.0, 80.0, 48.0, 32.0], (FRAMES, 1)),
        timestamps_s=np.arange(FRAMES) / 10,
        sources=tuple(f"{index}.png" for index in range(FRAMES)),
        images=np.zeros((*shape, 3), np.uint8),
        depth=np.ones(shape, np.float32),
        confidence=np.zeros(shape, np.uint8),
        is_dynamic=np.zeros(shape, bool),
        is_metric=is_metric,
        run=run,
    )


def test_a_result_is_summed_up(tmp_path: Path) -> None:
    run: dict[str, object] = {
        "posed": 2,
        "geometry": "parallax",
        "flow": "dis",
        "masks": "residual",
        "stages": {"read": {"seconds": 0.5}, "optimise_0": {"seconds": 2.0}},
        "warnings": [{"code": "interpolated", "message": "frame 1 is black", "frames": [1]}],
    }
    write_result(small_result(run), tmp_path / "out")
    text = describe(tmp_path / "out")
    assert "frames:     3, 2 posed from the images\n" in text
    assert "focal:      80.0 px\n" in text and "size:       96x64 px\n" in text
    assert "scale:      relative\n" in text
    assert "methods:    geometry parallax, flow dis, masks residual\n" in text
    assert "time:       2.5 s (read 0.5, optimise_0 2.0)\n" in text
    assert text.endswith("warning:    frame 1 is black")


def test_a_metric_result_says_so_and_needs_no_record_of_the_run(tmp_path: Path) -> None:
    write_result(small_result({}, is_metric=True), tmp_path / "out")
    text = describe(tmp_path / "out")
    assert "scale:      metres" in text and "3, all posed from the images" in text
    assert "time:" not in text and "warning" not in text


def test_a_result_without_its_run_file_is_no_folder_of_images(tmp_path: Path) -> None:
    write_result(small_result({}), tmp_path / "out")
    (tmp_path / "out/run.json").unlink()
    with pytest.raises(InputError, match=r"out looks like a result folder whose run\.json is miss"):
        describe(tmp_path / "out")
    assert "folder of images" in describe(tmp_path / "out/images")


@pytest.mark.parametrize("name", ["a.npy", "a.txt", "a.mp4"])
def test_what_info_takes_is_said_of_a_file_that_is_none_of_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("some words\n" * 5)
    assert cli.main(["info", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{name} is not a video that can be read" in said
    assert (
        "info also takes a folder of images, an RGB-D folder, a result folder, and weights ("
        in said
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["info", "/dev/zero"], "/dev/zero is a device or a pipe, no file; a video file, a folder"),
        (["run", "/dev/null"], "/dev/null is a device or a pipe, no file; a video file, a folder"),
        (["eval", "{}", "--gt", "/dev/null"], "/dev/null is a device, no text file"),
        (["eval", "/dev/zero", "--gt", "{}/poses.txt"], "/dev/zero is a device, no text file"),
    ],
)
def test_devices_are_told_from_what_is_not_there(
    words: list[str], answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(small_result({}), tmp_path / "out")
    assert cli.main([word.format(tmp_path / "out") for word in words]) == 2
    assert answer in capsys.readouterr().err


def test_a_folder_of_images_is_described(tmp_path: Path) -> None:
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((128, 160, 3), 90, np.uint8))
    text = describe(tmp_path)
    assert "folder of images" in text and "size:       160x128 px, worked on at 160x128 px" in text
    assert "4, 0.10 s at 30 per second (assumed; --fps states another rate)" in text
    assert "unknown, will be estimated" in text


def test_a_weight_file_is_listed_without_its_data(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {f"block{i:02d}.weight": np.zeros((3, 4), np.float32) for i in range(45)}
    save_file(tensors, path, metadata={"licence": "Apache-2.0"})
    text = describe(path)
    assert "45 tensors" in text and "  licence = Apache-2.0" in text
    assert "  block00.weight: F32 3x4\n" in text and text.endswith("and 5 more")


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "w.safetensors"
    broken.write_text("not a header at all")
    with pytest.raises(InputError, match=r"is not a safetensors file"):
        describe(broken)
    with pytest.raises(InputError, match=r"absent does not exist"):
        describe(tmp_path / "absent")


def test_rows_without_text_are_left_out() -> None:
    assert format_rows({"a": "1", "b": "", "c": "3"}) == "a:          1\nc:          3"
