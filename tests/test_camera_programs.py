"""Calibrations as other programs write them, all of the same camera."""

import struct
from pathlib import Path

import numpy as np
import pytest

from recon4d.core.errors import InputError
from recon4d.io.camera import Camera
from recon4d.io.camera_files import parse_intrinsics
from recon4d.io.options import ReadOptions
from recon4d.io.read import camera_of, open_source
from tests import needs
from tests.media import textured_frames, write_images

RADIAL = Camera(260.0, 250.0, 158.5, 122.5, (-0.1, 0.02, 0.001, -0.002), size=(320, 240))
FISHEYE = Camera(260.0, 250.0, 158.5, 122.5, (0.1, 0.02, 0.0, 0.0), True, size=(320, 240))

OPENCV = """%YAML:1.0
---
calibration_time: "Thu 1 Jan"
image_width: 320
image_height: 240
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 2.6e+02, 0., 158., 0.,
       250., 122., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 4
   dt: d
   data: [ -0.1, 0.02, 0.001, -0.002 ]
"""
ROS = """image_width: 320
image_height: 240
camera_name: narrow_stereo   # as launched
camera_matrix:
  rows: 3
  cols: 3
  data: [260, 0, 158, 0, 250, 122, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 4
  data: [-0.1, 0.02, 0.001, -0.002]
projection_matrix:
  rows: 3
  cols: 4
  data: [1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0]
"""
KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.1, 0.02, 0.001, -0.002]
  distortion_model: radtan
  intrinsics:
  - 260.0
  - 250.0
  - 158.0
  - 122.0
  resolution: [320, 240]
  rostopic: /cam0/image_raw
"""
EQUIDISTANT = KALIBR.replace("radtan", "equidistant").replace(
    "-0.1, 0.02, 0.001, -0.002", "0.1, 0.02, 0, 0"
)


def colmap(*models: tuple[int, tuple[float, ...]]) -> bytes:
    cameras = [
        struct.pack(f"<iiQQ{len(values)}d", number, model, 320, 240, *values)
        for number, (model, values) in enumerate(models, start=1)
    ]
    return struct.pack("<Q", len(models)) + b"".join(cameras)


BINARY = 4, (260.0, 250.0, 158.5, 122.5, -0.1, 0.02, 0.001, -0.002)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("camera.yml", OPENCV, RADIAL),
        ("camera", OPENCV, RADIAL),
        ("camera_info.yaml", ROS, RADIAL),
        ("camchain.yaml", KALIBR, RADIAL),
        ("camchain.yaml", KALIBR + KALIBR.replace("cam0:", "cam1:"), RADIAL),
        ("camchain.yaml", EQUIDISTANT, FISHEYE),
        ("cameras.bin", colmap(BINARY), RADIAL),
        ("cameras.bin", colmap(BINARY, BINARY), RADIAL),
        (
            "cameras.bin",
            colmap((5, (260.0, 250.0, 158.5, 122.5, 0.1, 0.02, 0.0, 0.0))),
            FISHEYE,
        ),
    ],
)
def test_a_calibration_is_read(
    tmp_path: Path, name: str, content: str | bytes, wanted: Camera
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    camera = parse_intrinsics(str(path))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (260, 250, 158.5, 122.5)
    assert camera.distortion == wanted.distortion and camera.is_fisheye is wanted.is_fisheye
    assert camera.size == (320, 240)


def test_a_calibration_without_distortion_is_a_pinhole(tmp_path: Path) -> None:
    path = tmp_path / "camera_info.yaml"
    path.write_text(ROS.replace("[-0.1, 0.02, 0.001, -0.002]", "[0, 0, 0, 0, 0]"))
    assert parse_intrinsics(str(path)).is_pinhole


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", "frame_rate: 30\n", "has no camera that is known; camera_matrix with 9 numbers"),
        ("a.yaml", ROS.replace("260, 0, 158, ", ""), "camera_matrix: found 6 numbers, needed 9"),
        ("a.yaml", ROS.replace("plumb_bob", "double_sphere"), "distortion model double_sphere"),
        ("a.yaml", ROS.replace("0.001, ", ""), "found 3 lens coefficients, needed 0, 4, 5 or 8"),
        ("a.yaml", ROS.replace("[260", "[x"), "found 'x', a number was needed"),
        ("a.yaml", KALIBR.replace("pinhole", "omni"), "found camera model omni with 4"),
        (
            "a.yaml",
            KALIBR + KALIBR.replace("cam0:", "cam1:").replace("260.0", "261.0"),
            "has 2 cameras, and those of cam0 and cam1 differ",
        ),
        ("a.bin", b"abc", "is no cameras.bin of COLMAP"),
        ("a.bin", colmap(BINARY)[:-1], "is no cameras.bin of COLMAP"),
        ("a.bin", colmap((77, ())), "is no cameras.bin of COLMAP"),
        ("a.bin", colmap((7, (1.0,) * 5)), "found camera model FOV, needed one of"),
        ("a.bin", colmap(), "has no camera"),
    ],
)
def test_a_calibration_that_is_none_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        parse_intrinsics(str(path))


def colmap_model(folder: Path, images: dict[str, int], *, binary: bool) -> Path:
    """Cameras 3 and 5 with focal lengths of 260 and 300 px, and which of them took which image."""
    pycolmap = needs.package("pycolmap", "dev")
    folder.mkdir()
    model = pycolmap.Reconstruction()
    for number, focal in ((3, 260.0), (5, 300.0)):
        lens = [focal, 64.0, 48.0, -0.1]
        camera = pycolmap.Camera(
            model="SIMPLE_RADIAL", width=128, height=96, params=lens, camera_id=number
        )
        model.add_camera_with_trivial_rig(camera)
    for number, (name, camera_id) in enumerate(images.items(), start=1):
        image = pycolmap.Image(name=name, camera_id=camera_id, image_id=number)
        if number % 2:
            image.points2D = [pycolmap.Point2D(np.array([10.0, 20.0]))]
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    (model.write_binary if binary else model.write_text)(str(folder))
    return folder / ("cameras.bin" if binary else "cameras.txt")


@pytest.mark.parametrize("binary", [False, True])
def test_of_several_cameras_of_colmap_that_of_the_input_s_images_is_taken(
    tmp_path: Path, binary: bool
) -> None:
    images = {f"a/{n:04d}.png": 3 for n in range(3)} | {f"b/{n:04d}.png": 5 for n in range(3)}
    for name in ("a", "b"):
        write_images(tmp_path / name, textured_frames(4))
    path = colmap_model(tmp_path / "model", images | {"0003.png": 5}, binary=binary)
    for name, focal in (("b", 300.0), ("a", 260.0)):
        opened = open_source(tmp_path / name, ReadOptions())
        # frames that are not kept have no say
        camera = camera_of(opened, ReadOptions(intrinsics=str(path), max_frames=3))
        assert camera is not None and (camera.fx, camera.distortion[0]) == (focal, -0.1)
    with pytest.raises(InputError, match=r"has 2 cameras, and those of .* differ"):
        camera_of(opened, ReadOptions(intrinsics=str(path)))


@pytest.mark.parametrize("binary", [False, True])
def test_images_of_colmap_that_are_damaged_or_others_are_refused_in_one_sentence(
    tmp_path: Path, binary: bool
) -> None:
    path = colmap_model(tmp_path / "model", {"0000.png": 3, "0001.png": 5}, binary=binary)
    frames = [tmp_path / "in" / "0000.png"]
    assert parse_intrinsics(str(path), lambda: frames).fx == 260
    with pytest.raises(InputError, match=r"has no image 7\.png, and .* several cameras; leave"):
        parse_intrinsics(str(path), lambda: [tmp_path / "7.png"])
    with pytest.raises(InputError, match="has 2 cameras"):
        parse_intrinsics(str(path))
    listed = path.with_name(f"images{path.suffix}")
    listed.write_bytes(listed.read_bytes()[:40] if binary else b"a few words\n")
    with pytest.raises(InputError, match=f"is no images{path.suffix} of COLMAP, or is damaged"):
        parse_intrinsics(str(path), lambda: frames)
    listed.unlink()
    with pytest.raises(InputError, match="has 2 cameras"):
        parse_intrinsics(str(path), lambda: frames)
