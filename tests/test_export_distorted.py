"""Exports with the images as they came: camera model, masks and depth are theirs, lens and all."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d import cli
from recon4d.core.errors import ConfigError
from recon4d.export import ExportOptions, export_result
from recon4d.export.distorted import Lens
from recon4d.export.upsample import Layers
from recon4d.io.camera import Camera
from recon4d.io.lens import undistortion
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.files import read_image, read_rgb
from recon4d.io.read import read_video
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from tests import needs
from tests.media import textured_frames, write_images

SIZE = (256, 192)
RADIAL = Camera(200.0, 200.0, 126.0, 97.0, (-0.2, 0.03, 0.0, 0.0))
FULL = Camera(200.0, 198.0, 126.0, 97.0, (-0.2, 0.03, 0.002, -0.001, 0.01))
FISHEYE = Camera(110.0, 110.0, 128.0, 96.0, (0.02, -0.01, 0.0, 0.0), True)
CAMERAS = {
    "pinhole": Camera(200.0, 198.0, 126.0, 97.0),
    "simple": replace(RADIAL, distortion=(-0.2, 0.0, 0.0, 0.0)),
    "radial": RADIAL,
    "full": FULL,
    "fisheye": FISHEYE,
}


def lens_of(camera: Camera) -> Lens:
    straight = camera if camera.is_pinhole else undistortion(camera, SIZE).camera
    return Lens(camera, straight, SIZE)


def a_result(folder: Path, camera: Camera, longer: float) -> Path:
    """A run at half the size that found or was told a lens, with focal lengths that it corrected."""
    source = write_images(folder / "in", textured_frames(2, *SIZE))
    fx, fy, cx, cy, *terms = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
    head = f"1 {'OPENCV_FISHEYE' if camera.is_fisheye else 'FULL_OPENCV'} {SIZE[0]} {SIZE[1]}"
    terms += [0.0] * ((4 if camera.is_fisheye else 8) - len(terms))
    (folder / "camera.txt").write_text(f"{head} {' '.join(map(repr, (fx, fy, cx, cy, *terms)))}\n")
    options = ReadOptions(size=128, intrinsics=str(folder / "camera.txt"))
    (folder / "read").mkdir()
    video = read_video(source, options, folder / "read")
    shape = video.images.shape[:3]
    depth = np.full(shape, 2.0, np.float32)
    depth[..., : shape[2] // 3] = 1.0
    assert video.intrinsics is not None
    poses = np.repeat(np.eye(4)[None], 2, axis=0)
    poses[1, 0, 3] = 0.05
    made = Reconstruction(
        world_from_cam=poses,
        intrinsics=np.repeat([video.intrinsics * [longer, longer, 1, 1]], 2, axis=0),
        timestamps_s=np.array(video.timestamps_s),
        sources=video.sources,
        images=np.array(video.images),
        depth=depth,
        confidence=np.full(shape, 255, np.uint8),
        is_dynamic=depth == 1.0,
        is_metric=False,
        run={},
        config_toml=f'input = "{source}"\nsize = 128\nintrinsics = "{folder / "camera.txt"}"\n',
    )
    write_result(made, folder / "result")
    return folder / "result"


@pytest.mark.parametrize("name", list(CAMERAS))
@pytest.mark.parametrize("longer", [1.0, 1.03])
def test_colmap_reads_the_lens_and_sees_the_points_through_it(
    tmp_path: Path, name: str, longer: float
) -> None:
    pycolmap = needs.package("pycolmap", "dev")
    result = a_result(tmp_path, CAMERAS[name], longer)
    command = ["export", str(result), "--to", "colmap", "--images", "distorted"]
    assert cli.main(command) == 0
    folder = result / "export/colmap"
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    (camera,) = model.cameras.values()
    models = {"pinhole": "PINHOLE", "simple": "SIMPLE_RADIAL", "radial": "OPENCV"}
    models |= {"full": "FULL_OPENCV", "fisheye": "OPENCV_FISHEYE"}
    assert camera.model_name == models[name]
    assert camera.focal_length_x == pytest.approx(longer * CAMERAS[name].fx)
    off, count = 0.0, 0
    for image in model.images.values():
        picture = read_rgb(folder / "images" / image.name).astype(float)
        came = textured_frames(2, *SIZE)[int(image.name[:6])]
        assert (
            np.abs(picture - came).mean() < 5
        )  # JPEG of fine colours; undistorted ones are off by 20
        for point in image.points2D:
            xyz = model.points3D[point.point3D_id].xyz
            seen = camera.img_from_cam(image.cam_from_world() * xyz)
            off, count = max(off, float(np.abs(seen - point.xy).max())), count + 1
    assert count > 1000 and off < 0.01, (off, count)


@pytest.mark.parametrize("name", ["simple", "radial", "full", "fisheye"])
def test_depth_and_masks_are_where_the_lens_shows_them(tmp_path: Path, name: str) -> None:
    camera = CAMERAS[name]
    result = a_result(tmp_path, camera, 1.0)
    options = ExportOptions(images="distorted")
    folder = export_result(result, "colmap", options=options)
    used = read_image(folder / "masks/000000.jpg.png", cv2.IMREAD_UNCHANGED) > 0
    depth = np.load(folder / "depth/000000.npy")
    assert (used == (depth > 1.5)).all()
    lens = lens_of(camera)
    places = np.stack(np.meshgrid(np.arange(256.0), np.arange(192.0)), -1).reshape(-1, 2) + 0.5
    seen = lens.bent(places)
    col, row = np.floor(seen).astype(int).T
    inside = (col >= 0) & (col < SIZE[0]) & (row >= 0) & (row < SIZE[1])
    wanted = np.where(places[:, 0] < 2 * (128 // 3), 1.0, 2.0)
    near_edge = np.abs(places[:, 0] - 2 * (128 // 3)) < 3
    chosen = inside & ~near_edge
    found = depth[row[chosen], col[chosen]]
    # the zoom that hides a blank border leaves undistorted pixels at the rim whose nearest neighbour lies outside
    assert (found == wanted[chosen]).mean() > 0.97 and inside.mean() > 0.98


def test_bending_undoes_the_undistortion() -> None:
    for camera in (RADIAL, FULL, FISHEYE):
        made = undistortion(camera, SIZE)
        v, u = np.mgrid[0:192:16, 0:256:16]
        straight = np.stack((u.ravel() + 0.5, v.ravel() + 0.5), -1)
        wanted = np.stack((made.map_u[v, u].ravel(), made.map_v[v, u].ravel()), -1) + 0.5
        assert np.abs(lens_of(camera).bent(straight) - wanted).max() < 1e-3


def test_what_the_undistorted_images_do_not_show_has_no_layers() -> None:
    strong = replace(RADIAL, distortion=(0.3, 0.0, 0.0, 0.0))
    shape = SIZE[::-1]
    every = Layers(np.ones(shape, np.float32), np.full(shape, 255, np.uint8), np.ones(shape, bool))
    found = lens_of(strong).layers(every)
    assert found.depth[96, 128] == 1 and found.is_dynamic[96, 128]
    assert not found.depth[0, 128] and not found.confidence[0, 128]


@pytest.mark.parametrize(("name", "model"), [("radial", "OPENCV"), ("fisheye", "OPENCV_FISHEYE")])
def test_nerfstudio_gets_the_lens(tmp_path: Path, name: str, model: str) -> None:
    result = a_result(tmp_path, CAMERAS[name], 1.0)
    folder = export_result(result, "nerfstudio", options=ExportOptions(images="distorted"))
    told = json.loads((folder / "transforms.json").read_text())
    keys = ("k1", "k2", "k3", "k4") if name == "fisheye" else ("k1", "k2", "p1", "p2")
    assert told["camera_model"] == model and told["w"] == SIZE[0]
    assert [told[key] for key in keys] == pytest.approx(CAMERAS[name].distortion, abs=1e-9)
    assert told["fl_x"] == pytest.approx(CAMERAS[name].fx)


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("ply", ExportOptions(images="distorted"), "--images distorted is for exports with images"),
        ("colmap", ExportOptions(images="distorted", unrolls=True), "leave --images distorted out"),
        ("colmap", ExportOptions(images="bent"), "images cannot be 'bent'; available: undistorted"),
    ],
)
def test_images_that_there_are_not_are_refused(
    to: str, options: ExportOptions, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        options.check(to)


def test_a_lens_that_nerfstudio_does_not_know_is_refused(tmp_path: Path) -> None:
    rational = replace(RADIAL, distortion=(-0.2, 0.03, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0))
    result = a_result(tmp_path, rational, 1.0)
    with pytest.raises(ConfigError, match="k4, k5 and k6, which nerfstudio does not know"):
        export_result(result, "nerfstudio", options=ExportOptions(images="distorted"))
