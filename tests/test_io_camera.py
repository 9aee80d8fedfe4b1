"""Intrinsics, and frames of a real lens."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import recon4d
from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.camera import (
    Camera,
    camera_from_array,
    camera_to_array,
    check_camera,
)
from recon4d.io.camera_files import parse_intrinsics, read_camera_file
from recon4d.io.lens import undistortion
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from tests.media import textured_frames, write_images, write_tum_folder

SIZE = (320, 240)
PINHOLE = (260.0, 250.0, 158.0, 122.0)
"""fx fy cx cy of a file: first pixel centre at (0, 0)."""


def read(source: Path, tmp_path: Path, **options: object) -> Video:
    folder = tmp_path / "stage"
    folder.mkdir(exist_ok=True)
    return read_video(source, ReadOptions(**options), folder)  # type: ignore[arg-type]


def distorted(frames: np.ndarray, camera: np.ndarray, fisheye: bool, k: list[float]) -> np.ndarray:
    """What a lens makes of pinhole images: looks up each of its pixels where the pinhole camera saw the same ray."""
    height, width = frames.shape[1:3]
    uv = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    uv = uv.reshape(-1, 1, 2).astype(np.float64)
    if fisheye:
        ideal = cv2.fisheye.undistortPoints(uv, camera, np.array(k), P=camera)
    else:
        exact = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        ideal = cv2.undistortPoints(uv, camera, np.array(k), P=camera, criteria=exact)
    maps = ideal.reshape(height, width, 2).astype(np.float32)
    return np.stack(
        [cv2.remap(frame, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC) for frame in frames]
    )


def matrix() -> np.ndarray:
    fx, fy, cx, cy = PINHOLE
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def test_user_intrinsics_are_moved_by_half_a_pixel_and_scaled_per_axis(tmp_path: Path) -> None:
    frames = textured_frames(2, width=330, height=250)
    write_images(tmp_path / "in", frames)
    video = read(tmp_path / "in", tmp_path, intrinsics="300,310,164.5,124.5", size=160)
    assert video.size == (160, 120)
    assert video.intrinsics is not None
    # the principal point in the middle of the input stays in the middle
    np.testing.assert_allclose(video.intrinsics, [300 * 160 / 330, 310 * 120 / 250, 80, 60])


@pytest.mark.parametrize(
    ("line", "fisheye", "k"),
    [
        ("260 250 158 122 -0.25 0.08 0.001 -0.002", False, (-0.25, 0.08, 0.001, -0.002)),
        ("260 250 158 122 -0.3 0.1 0 0 -0.02", False, (-0.3, 0.1, 0, 0, -0.02)),
        ("1 SIMPLE_PINHOLE 320 240 260 158.5 122.5", False, ()),
        ("1 PINHOLE 320 240 260 250 158.5 122.5", False, ()),
        ("1 SIMPLE_RADIAL 320 240 260 158.5 122.5 -0.1", False, (-0.1, 0, 0, 0)),
        ("1 RADIAL 320 240 260 158.5 122.5 -0.1 0.02", False, (-0.1, 0.02, 0, 0)),
        (
            "1 OPENCV 320 240 260 250 158.5 122.5 1e-1 2e-2 3e-3 4e-3",
            False,
            (0.1, 0.02, 0.003, 0.004),
        ),
        (
            "1 FULL_OPENCV 320 240 260 250 158.5 122.5 .1 .2 .3 .4 .5 .6 .7 .8",
            False,
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        ),
        ("1 OPENCV_FISHEYE 320 240 260 250 158.5 122.5 .1 .2 .3 .4", True, (0.1, 0.2, 0.3, 0.4)),
        ("1 SIMPLE_RADIAL_FISHEYE 320 240 260 158.5 122.5 .1", True, (0.1, 0, 0, 0)),
        ("1 RADIAL_FISHEYE 320 240 260 158.5 122.5 .1 .2", True, (0.1, 0.2, 0, 0)),
    ],
)
def test_camera_files_are_read(
    tmp_path: Path, line: str, fisheye: bool, k: tuple[float, ...]
) -> None:
    path = tmp_path / "camera.txt"
    path.write_text(f"# a comment\n\n{line}\n")
    camera = parse_intrinsics(str(path))
    assert (camera.cx, camera.cy) == (
        158.5,
        122.5,
    )  # COLMAP's convention is ours, the others' is not
    assert camera.fx == 260 and camera.fy in (250, 260)
    assert camera.distortion == k and camera.is_fisheye is fisheye
    again = camera_from_array(camera_to_array(camera))
    assert (again.fx, again.cy, again.distortion) == (camera.fx, camera.cy, k)
    assert again.is_fisheye is fisheye


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("500,500,320", "found 3 numbers, needed 4"),
        ("500,500,320,240,0.1", "found 5 numbers, needed 4"),
        ("500,five,320,240", "found 'five', a number was needed"),
        ("500,inf,320,240", "found 'inf', a finite number was needed"),
        ("camera.txt", "there is no such file"),
    ],
)
def test_malformed_intrinsics_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_intrinsics(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no camera; a line 'fx fy cx cy"),
        (b"1 2 3 4\n1 2 3 4\n1 2 3 5", "has 3 cameras, and those of line 1 and line 3 differ"),
        (b"1 PINHOLE 64 48 50 50 32 24\n2 PINHOLE 64 48 51 50 32 24", "has 2 cameras, and those"),
        (b"{", "is not valid JSON"),
        (b'{"camera_angle_x": 1}', "has no camera for all frames: fl_x"),
        (b'{"frames": [{"fl_x": 50, "cx": 32, "cy": 24}]}', "are taken from its top level"),
        (b'{"fl_x": 50, "cx": null, "cy": 24}', "cx is None, a finite number was needed"),
        (b'{"fl_x": 50, "cx": 3, "cy": 2, "camera_model": "EQUIRECTANGULAR"}', "not known"),
        (b'{"fl_x": 50, "cx": 3, "cy": 2, "k4": 1}', "not known .OPENCV with k4"),
        (b"1 2 3 4 5", "found 5 numbers, needed 4, 8 or 9"),
        (
            b"1 FOV 640 480 500 500 320 240 0.9",
            "found camera model FOV, needed one of SIMPLE_PINHOLE",
        ),
        (b"1 PINHOLE 640 480 500 320 240", "found 5 numbers after PINHOLE, needed 6"),
        (b"\xff\xfe\x00\x01", "is not text"),
    ],
)
def test_malformed_camera_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "camera.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_camera_file(path)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("# 320 240\n260 250 158 122\n260 250 158 122\n", Camera(260.0, 250.0, 158.5, 122.5)),
        (
            "1 PINHOLE 320 240 260 250 158.5 122.5\n2 PINHOLE 320 240 260 250 158.5 122.5\n",
            Camera(260.0, 250.0, 158.5, 122.5),
        ),
        (
            '{"fl_x": 260, "cx": 158.5, "cy": 122.5, "k1": 0.1, "k2": 0, "p1": 0, "p2": 0.2, "h": 240, "w": 320}',
            Camera(260.0, 260.0, 158.5, 122.5, (0.1, 0.0, 0.0, 0.2)),
        ),
        (
            '\n {"camera_model": "OPENCV_FISHEYE", "fl_x": 260.0, "fl_y": 250.0, "cx": 158.5, "cy": 122.5,'
            ' "w": 320, "h": 240, "k1": 0.1, "k4": 0.2, "frames": []}',
            Camera(260.0, 250.0, 158.5, 122.5, (0.1, 0.0, 0.0, 0.2), is_fisheye=True),
        ),
    ],
)
def test_one_camera_for_all_frames_is_found_in_the_files_of_other_programs(
    tmp_path: Path, content: str, wanted: Camera
) -> None:
    (tmp_path / "file").write_text(content)
    found = read_camera_file(tmp_path / "file")
    assert found.size == SIZE
    assert replace(found, size=None, origin=wanted.origin) == wanted


def test_the_intrinsics_of_a_result_and_of_its_export_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(4))
    run = ["run", "in", "--masks", "none", "--loop", "0"]
    assert cli.main([*run, "--out", "a", "--intrinsics", "100,101,63,47"]) == 0
    assert cli.main(["export", "a", "--to", "nerfstudio"]) == 0
    for file in ("a/intrinsics.txt", "a/export/nerfstudio/transforms.json"):
        assert cli.main([*run, "--out", "b", "--overwrite", "--intrinsics", file]) == 0
        np.testing.assert_allclose(recon4d.load("b").intrinsics[1], (100, 101, 63.5, 47.5))
    write_images(Path("large"), textured_frames(4, width=256, height=192))
    capsys.readouterr()
    assert cli.main(["run", "large", "--intrinsics", "a/intrinsics.txt"]) == 2
    assert "is for images of 128x96 px, but the input has 256x192 px" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["/dev/zero", "."])
def test_what_is_no_file_is_told_from_what_is_not_there(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(2))
    assert cli.main(["run", "in", "--intrinsics", what]) == 2
    kind = "a folder" if what == "." else "a device"
    assert f"{what} is {kind}, no text file; give a text file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (Camera(0.0, 500.0, 320.0, 240.0), "fx is 0 px"),
        (Camera(500.0, -500.0, 320.0, 240.0), "fy is -500 px"),
        (Camera(63.0, 500.0, 320.0, 240.0), "needed 64 to 12800"),
        (Camera(500.0, 12801.0, 320.0, 240.0), "fy is 12801 px"),
        (Camera(500.0, 500.0, 641.0, 240.0), "outside the image"),
        (Camera(500.0, 500.0, 320.0, -1.0), "outside the image"),
        (Camera(500.0, 500.0, 320.0, 240.0, size=(1280, 960)), "1280x960 px.*640x480 px"),
    ],
)
def test_cameras_outside_reason_are_refused(camera: Camera, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_camera(camera, (640, 480))


@pytest.mark.parametrize(
    ("fisheye", "k"),
    [
        (False, [-0.25, 0.08, 0.001, -0.002]),
        (False, [-0.2, 0.05, 0.0, 0.0, 0.002]),
        (True, [0.05, 0.01, 0.0, 0.0]),
    ],
)
def test_undistorted_frames_are_those_of_the_pinhole_camera(
    tmp_path: Path, fisheye: bool, k: list[float]
) -> None:
    frames = textured_frames(2, *SIZE)
    write_images(tmp_path / "in", distorted(frames, matrix(), fisheye, k))
    numbers = " ".join(map(str, (*PINHOLE, *k)))
    if fisheye:
        numbers = "1 OPENCV_FISHEYE 320 240 260 250 158.5 122.5 " + " ".join(map(str, k))
    (tmp_path / "camera.txt").write_text(numbers)
    video = read(tmp_path / "in", tmp_path, intrinsics=str(tmp_path / "camera.txt"))
    assert video.intrinsics is not None and video.lens is not None
    np.testing.assert_allclose(video.intrinsics, [260, 250, 158.5, 122.5])
    inner = (slice(None), slice(20, -20), slice(20, -20))
    difference = np.abs(video.images[inner].astype(float) - frames[inner])
    assert (
        difference.mean() < 1.5
    )  # grey levels of 2 interpolations; half a pixel off gives above 10
    shifted = np.abs(video.images[:, 20:-20, 21:-19].astype(float) - frames[inner]).mean()
    assert shifted > 5 * difference.mean()


def test_straight_lines_are_straight_again(tmp_path: Path) -> None:
    frames = np.zeros((2, 240, 320, 3), np.uint8)
    frames[:, :, 39:42] = 255
    k = [-0.3, 0.1, 0.0, 0.0]
    bent = distorted(frames, matrix(), False, k)
    (tmp_path / "camera.txt").write_text(" ".join(map(str, (*PINHOLE, *k))))
    write_images(tmp_path / "in", bent)
    straight = read(tmp_path / "in", tmp_path, intrinsics=str(tmp_path / "camera.txt")).images

    def sag_px(image: np.ndarray) -> float:
        columns = np.arange(20, 80)
        weight = image[20:-20, 20:80, 0].astype(float)
        centre = (weight * columns).sum(axis=1) / weight.sum(axis=1)
        return float(np.ptp(centre))

    assert sag_px(bent[0]) > 4
    assert sag_px(straight[0]) < 0.2


def test_a_pincushion_lens_is_zoomed_until_no_blank_border_is_left(tmp_path: Path) -> None:
    camera = Camera(260.0, 250.0, 158.5, 122.5, (0.2, 0.0, 0.0, 0.0))
    undo = undistortion(camera, SIZE)
    zoom = undo.camera.fx / camera.fx
    assert 1.02 < zoom < 1.3
    assert undo.camera.fy / camera.fy == pytest.approx(zoom)
    assert (undo.camera.cx, undo.camera.cy) == (158.5, 122.5)
    assert undo.map_u.min() >= -0.51 and undo.map_u.max() <= SIZE[0] - 0.49
    assert undo.map_v.min() >= -0.51 and undo.map_v.max() <= SIZE[1] - 0.49


def test_undistortion_follows_the_rays_of_the_lens() -> None:
    camera = Camera(260.0, 250.0, 158.5, 122.5, (0.2, -0.03, 0.001, 0.002))
    undo = undistortion(camera, SIZE)
    v, u = 200, 30
    ray = np.array(
        [
            (u + 0.5 - undo.camera.cx) / undo.camera.fx,
            (v + 0.5 - undo.camera.cy) / undo.camera.fy,
            1.0,
        ]
    )
    seen, _ = cv2.projectPoints(
        ray[None], np.zeros(3), np.zeros(3), matrix(), np.array(camera.distortion)
    )
    np.testing.assert_allclose([undo.map_u[v, u], undo.map_v[v, u]], seen.ravel(), atol=1e-3)


def test_a_lens_that_folds_the_image_is_refused() -> None:
    camera = Camera(260.0, 250.0, 158.5, 122.5, (-40.0, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="fold the image of 320x240 px over"):
        undistortion(camera, SIZE)


def test_sensor_depth_is_undistorted_with_the_images(tmp_path: Path) -> None:
    k = [-0.25, 0.08, 0.0, 0.0]
    frames = textured_frames(2, *SIZE)
    near = np.zeros((2, 240, 320, 3), np.uint8)
    near[:, :, 40:] = 255
    depth_m = np.where(distorted(near, matrix(), False, k)[..., 0] > 127, 2.0, 4.0)
    folder = write_tum_folder(tmp_path / "tum", frames, depth_m, (0.0, 0.1))
    (folder / "intrinsics.txt").write_text(" ".join(map(str, (*PINHOLE, *k))))
    video = read(folder, tmp_path, with_depth=True)
    assert video.sensor_depth is not None
    inner = video.sensor_depth[:, 4:-4]  # the distorting of this test has a border of its own
    assert (inner[:, :, 42:-4] == 2).all() and (inner[:, :, 5:38] == 4).all()
