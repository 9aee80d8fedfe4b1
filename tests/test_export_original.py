"""Exports at the input's own size: the input is read again, depth and masks follow its edges."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Bool, Float32

from recon4d import cli
from recon4d.export.upsample import Layers, upsample
from recon4d.io.options import ReadOptions
from recon4d.io.originals import open_originals
from recon4d.io.pictures.files import read_image, read_rgb
from recon4d.io.read import read_video
from recon4d.results.folder import read_result, write_result
from recon4d.results.reconstruction import Reconstruction
from tests import needs
from tests.media import textured_frames, write_images, write_video
from tests.results import exact_result, listing
from tests.synthetic import SyntheticScene, make_scene

FULL = (640, 480)
FACTOR = 4
FRAMES = 3


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    """The truth at the input's size."""
    return make_scene(FRAMES, FULL, seed=9, mover=True)


def coarse(result: Reconstruction, source: Path) -> Reconstruction:
    """The exact result of a run at a quarter of the size."""
    samples = (slice(None), slice(FACTOR // 2, None, FACTOR), slice(FACTOR // 2, None, FACTOR))
    small = [
        cv2.resize(i, None, fx=1 / FACTOR, fy=1 / FACTOR, interpolation=cv2.INTER_AREA)
        for i in result.images
    ]
    return dataclasses.replace(
        result,
        images=np.stack(small),
        intrinsics=result.intrinsics / FACTOR,
        depth=result.depth[samples].copy(),
        confidence=np.ascontiguousarray(result.confidence[samples]),
        is_dynamic=np.ascontiguousarray(result.is_dynamic[samples]),
        sources=tuple(f"{i:04d}.png" for i in range(FRAMES)),
        config_toml=f'input = "{source}"\nsize = {FULL[0] // FACTOR}\n',
    )


@pytest.fixture
def result(scene: SyntheticScene, tmp_path: Path) -> Path:
    source = write_images(tmp_path / "in", np.asarray(scene.video.images))
    write_result(coarse(exact_result(scene), source), tmp_path / "result")
    return tmp_path / "result"


def export(result: Path, to: str, size: str = "original") -> int:
    return cli.main(["export", str(result), "--to", to, "--depth-size", size])


def is_flying(
    depth: Float32[np.ndarray, "height width"], truth: Float32[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Known pixels whose depth no true surface within a working pixel has."""
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(truth, FACTOR, mode="edge"), (2 * FACTOR + 1, 2 * FACTOR + 1)
    )
    is_near = np.abs(around - depth[..., None, None]) < 0.04 * around
    return np.asarray((depth > 0) & ~is_near.any((2, 3)))


def test_a_colmap_project_is_at_the_inputs_size(result: Path, scene: SyntheticScene) -> None:
    pycolmap = needs.package("pycolmap", "dev")
    assert export(result, "colmap") == 0
    folder, wanted = result / "export/colmap", read_result(result)
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    for image in model.images.values():
        frame = int(image.name.removesuffix(".jpg"))
        camera = model.cameras[image.camera_id]
        assert (camera.width, camera.height) == FULL
        assert np.abs(camera.params - scene.scene.intrinsics[frame]).max() < 1e-6
        centre = wanted.world_from_cam[frame, :3, 3]
        assert np.abs(image.projection_center() - centre).max() < 1e-9
        picture = read_rgb(folder / "images" / image.name).astype(float)
        assert np.abs(picture - scene.video.images[frame]).mean() < 3  # JPEG
        for point in list(image.points2D)[::50]:
            xyz = model.points3D[point.point3D_id].xyz
            assert np.abs(camera.img_from_cam(image.cam_from_world() * xyz) - point.xy).max() < 1e-6


def test_depth_and_masks_follow_the_images_edges(result: Path, scene: SyntheticScene) -> None:
    assert export(result, "colmap") == 0
    folder, working = result / "export/colmap", read_result(result)
    for frame in range(FRAMES):
        depth = np.load(folder / f"depth/{frame:06d}.npy")
        truth = scene.depth[frame]
        nearest = cv2.resize(working.depth[frame], FULL, interpolation=cv2.INTER_NEAREST_EXACT)
        linear = cv2.resize(working.depth[frame], FULL, interpolation=cv2.INTER_LINEAR)
        wrong, blocky = (np.abs(d / truth - 1) > 0.05 for d in (depth, nearest))
        assert wrong.mean() < 0.75 * blocky.mean()  # samples are half a pixel off their centres
        assert is_flying(linear, truth).mean() > 0.01
        assert is_flying(depth, truth).mean() < 0.0003
        moving = read_image(folder / f"masks/{frame:06d}.jpg.png", cv2.IMREAD_UNCHANGED) == 0
        true_moving = scene.is_dynamic[frame]
        assert (moving & true_moving).sum() > 0.985 * (moving | true_moving).sum()


def test_nerfstudio_and_overlay_are_at_the_inputs_size(result: Path, scene: SyntheticScene) -> None:
    assert export(result, "nerfstudio") == 0 and export(result, "overlay") == 0
    folder = result / "export/nerfstudio"
    transforms = json.loads((folder / "transforms.json").read_text())
    found = [transforms[key] for key in ("fl_x", "fl_y", "cx", "cy")]
    assert np.abs(np.array(found) - scene.scene.intrinsics[0]).max() < 1e-6
    assert (transforms["w"], transforms["h"]) == FULL
    for entry in transforms["frames"]:
        assert np.load(folder / entry["depth_file_path"]).shape == FULL[::-1]
        assert read_image(folder / entry["mask_path"], cv2.IMREAD_UNCHANGED).shape == FULL[::-1]
    assert read_rgb(result / "export/overlay/000000.png").shape[1::-1] == FULL


def test_each_axis_has_its_own_factor(tmp_path: Path) -> None:
    source = write_images(tmp_path / "in", textured_frames(2, 333, 251))
    options = ReadOptions(size=160, intrinsics="300,310,150,120")
    video = read_video(source, options, tmp_path)
    assert video.size == (160, 120)
    count, shape = 2, (2, 120, 160)
    made = Reconstruction(
        world_from_cam=np.repeat(np.eye(4)[None], count, axis=0),
        intrinsics=np.repeat(np.asarray(video.intrinsics)[None], count, axis=0),
        timestamps_s=np.array(video.timestamps_s),
        sources=video.sources,
        images=np.array(video.images),
        depth=np.ones(shape, np.float32),
        confidence=np.full(shape, 255, np.uint8),
        is_dynamic=np.zeros(shape, np.bool_),
        is_metric=False,
        config_toml=f'input = "{source}"\nsize = 160\nintrinsics = "300,310,150,120"\n',
    )
    write_result(made, tmp_path / "result")
    assert export(tmp_path / "result", "nerfstudio") == 0
    transforms = json.loads((tmp_path / "result/export/nerfstudio/transforms.json").read_text())
    found = [transforms[key] for key in ("w", "h", "fl_x", "fl_y", "cx", "cy")]
    assert np.allclose(found, [333, 251, 300, 310, 150.5, 120.5], atol=1e-6)
    assert export(tmp_path / "result", "overlay") == 0  # sides that are odd


def test_the_frames_and_the_undistortion_are_those_of_the_run(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", textured_frames(20, 320, 240))
    camera = tmp_path / "camera.txt"
    camera.write_text("300 300 160 120 -0.2 0.05 0.001 0\n")
    options = ReadOptions(size=160, stride=3, start=0.1, max_frames=4, intrinsics=str(camera))
    video = read_video(source, options, tmp_path)
    originals = open_originals(source, options)
    assert originals.size == (320, 240)
    frames = list(originals.frames())
    assert tuple(frame.name for frame in frames) == video.sources
    for frame, image in zip(frames, video.images, strict=True):
        small = cv2.resize(frame.image, video.size, interpolation=cv2.INTER_AREA)
        assert (small == image).all()


def test_a_plane_stays_one_and_the_same_size_stays_as_it_is() -> None:
    v, u = np.mgrid[:48, :64] + 0.5
    inverse = (0.2 + 0.01 * u + 0.004 * v).astype(np.float32)
    layers = Layers(1 / inverse, np.full((48, 64), 200, np.uint8), u > 40)
    rng = np.random.default_rng(0)
    fine = upsample(layers, rng.integers(0, 255, (144, 192, 3), dtype=np.uint8))
    fine_v, fine_u = (np.mgrid[:144, :192] + 0.5) / 3
    truth = 1 / (0.2 + 0.01 * fine_u + 0.004 * fine_v)
    inner = (slice(12, -12), slice(12, -12))  # what bends at the border is taken for an edge
    assert np.abs(fine.depth / truth - 1)[inner].max() < 1e-5
    assert (fine.confidence == 200).all()
    assert upsample(layers, rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) is layers


def test_what_is_unknown_stays_unknown() -> None:
    depth = np.full((48, 64), 2.0, np.float32)
    depth[10:30, 20:50] = 0
    image = np.full((192, 256, 3), 200, np.uint8)
    image[40:120, 80:200] = 30
    layers = Layers(depth, np.full(depth.shape, 255, np.uint8), depth > 9)
    fine = upsample(layers, image)
    assert ((fine.depth == 0) | (np.abs(fine.depth - 2) < 1e-5)).all()
    assert ((fine.depth == 0) == (image[..., 0] == 30)).all()
    assert (fine.confidence[fine.depth == 0] == 0).all()
    nothing = dataclasses.replace(layers, depth=np.zeros_like(depth))
    assert (upsample(nothing, image).depth == 0).all()


def changed_names(source: Path) -> None:
    (source / "0001.png").rename(source / "0000b.png")


def fewer_frames(source: Path) -> None:
    (source / "0002.png").unlink()


def other_images(source: Path) -> None:
    for path in source.iterdir():
        cv2.imwrite(str(path), 255 - np.asarray(cv2.imread(str(path))))


def other_size(source: Path) -> None:
    for path in source.iterdir():
        cv2.imwrite(str(path), np.asarray(cv2.imread(str(path)))[:300])


def gone(source: Path) -> None:
    source.rename(source.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (gone, "does not exist any more; it is needed"),
        (changed_names, "frame 1 is 0000b.png, but 0001.png in the result"),
        (fewer_frames, "has 2 frames for the 3 of the result"),
        (other_images, "frame 0 (0000.png) does not show what the result has"),
        (other_size, "640x300 px, which do not become the 160x120 px of the result"),
    ],
)
def test_an_input_that_is_not_what_it_was_is_refused(
    change: Callable[[Path], None], said: str, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(result.parent / "in")
    before = listing(result)
    assert export(result, "colmap") == 2
    message = capsys.readouterr().err
    assert said in message and "leave --depth-size original out" in message
    assert message.count("\n") == 1
    assert listing(result) == before and not (result / "export").exists()
    assert export(result, "colmap", "working") == 0


def test_a_camera_file_that_is_gone_is_named(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (result / "config.toml").open("a") as config:
        config.write('intrinsics = "/gone/camera.txt"\n')
    assert export(result, "colmap") == 2
    assert "/gone/camera.txt, which the result was made from" in capsys.readouterr().err


def test_a_result_that_names_no_input_is_refused(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (result / "config.toml").unlink()
    assert export(result, "nerfstudio") == 2
    assert "does not name its input" in capsys.readouterr().err
