"""Results in PyTorch3D's conventions, and pictures by its renderer.

CONTRIBUTING.md has the environment for the tests that need the package; elsewhere they are skipped.
"""

import dataclasses
import importlib
import logging
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from recon4d.core.errors import InputError, MissingDependencyError
from recon4d.demo.render import Camera
from recon4d.io.pictures.files import read_rgb
from recon4d.results.cloud import PointCloud, moving_cloud, static_cloud
from recon4d.results.folder import write_result
from recon4d.results.pytorch3d import PyTorch3DScene, import_pytorch3d
from recon4d.results.reconstruction import Reconstruction
from recon4d.viewer import render_png
from recon4d.viewer.drawer import point_drawer
from recon4d.viewer.gpu_points import RADIUS_PX, draw_points
from recon4d.viewer.headless import BACKGROUND, draw, splat
from tests import needs
from tests.results import exact_result
from tests.synthetic import make_scene

log = logging.getLogger(__name__)

FRAMES, SIZE = 4, (80, 60)
ENLARGED = 6.4
"""From the size of the test's pictures to 512 pixels, the default working size."""
SMALL = (32, 24)


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    return exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))


@pytest.fixture(scope="module")
def scene(result: Reconstruction) -> PyTorch3DScene:
    needs.package("pytorch3d", "pytorch3d")
    return result.to_pytorch3d()


def at_working_size(result: Reconstruction) -> Reconstruction:
    """The cameras of 512x384 images of the same scene; the images are blank."""
    shape = [FRAMES, *(round(ENLARGED * side) for side in reversed(SIZE))]
    return dataclasses.replace(
        result,
        intrinsics=ENLARGED * result.intrinsics,
        images=np.zeros((*shape, 3), np.uint8),
        depth=np.zeros(shape, np.float32),
        confidence=np.zeros(shape, np.uint8),
        is_dynamic=np.zeros(shape, bool),
    )


def our_pixels(result: Reconstruction, points: np.ndarray) -> np.ndarray:
    """(u, v) and z-depth of world points in every frame, in double precision."""
    cameras = zip(result.world_from_cam, result.intrinsics, strict=True)
    return np.stack([Camera(pose, k, 0.0).project(points) for pose, k in cameras])


# Cameras


def test_pytorch3d_projects_to_our_pixels(result: Reconstruction) -> None:
    needs.package("pytorch3d", "pytorch3d")
    large = at_working_size(result)
    height, width = large.depth.shape[1:]
    assert (width, height) == (512, 384)
    points = static_cloud(result).points
    ours = our_pixels(large, points.astype(np.float64))
    seen = ((ours[..., :2] >= 0) & (ours[..., :2] <= (width, height))).all(-1) & (ours[..., 2] > 0)
    assert seen.sum() > 5000
    cameras = large.to_pytorch3d().cameras
    theirs = cameras.transform_points_screen(torch.tensor(points)).numpy()
    error = np.abs(theirs - ours)[seen][:, :2]
    log.info("projection: max %.2e, rms %.2e px", error.max(), np.sqrt((error**2).mean()))
    assert error.max() < 1e-4  # the last digit of their single precision is 3e-5 at 512 pixels
    np.testing.assert_allclose(theirs[seen][:, 2] * ours[seen][:, 2], 1, rtol=1e-5)


def test_the_numbers_of_the_cameras_are_as_exact_as_single_precision(
    result: Reconstruction,
) -> None:
    needs.package("pytorch3d", "pytorch3d")
    large = at_working_size(result)
    cameras = large.to_pytorch3d().cameras
    points = static_cloud(result).points.astype(np.float64)
    names = ("R", "T", "focal_length", "principal_point")
    turn, shift, focal, centre = (getattr(cameras, name).double().numpy() for name in names)
    in_cam = points @ turn + shift[:, None]  # +X left, +Y up
    theirs = centre[:, None] - focal[:, None] * in_cam[..., :2] / in_cam[..., 2:]
    ours = our_pixels(large, points)
    error = np.abs(theirs - ours[..., :2])[ours[..., 2] > 0.1].max()
    log.info("numbers of the exported cameras: %.2e px", error)
    assert error < 5e-5


def test_cameras_are_where_ours_are(scene: PyTorch3DScene, result: Reconstruction) -> None:
    assert not scene.cameras.in_ndc()
    assert scene.cameras.image_size.tolist() == [[SIZE[1], SIZE[0]]] * FRAMES
    centres = scene.cameras.get_camera_center().numpy()
    np.testing.assert_allclose(centres, result.world_from_cam[:, :3, 3], atol=1e-6)


# Point clouds


def test_static_and_moving_points_are_apart_and_coloured(
    scene: PyTorch3DScene, result: Reconstruction
) -> None:
    pairs = [(scene.static, [static_cloud(result)])]
    pairs += [(scene.moving, [moving_cloud(result, frame) for frame in range(FRAMES)])]
    for theirs, ours in pairs:
        assert len(theirs) == len(ours)
        assert [cloud.num_points for cloud in ours] == theirs.num_points_per_cloud().tolist()
        for index, cloud in enumerate(ours):
            np.testing.assert_array_equal(theirs.points_list()[index], cloud.points)
            np.testing.assert_array_equal(theirs.normals_list()[index], cloud.normals)
            colors = 255 * theirs.features_list()[index].numpy()
            np.testing.assert_array_equal(np.rint(colors), cloud.colors)
    assert scene.static is scene.static  # made once


def test_a_frame_shows_the_static_world_and_what_moves_in_it(scene: PyTorch3DScene) -> None:
    for frame in (0, FRAMES - 1):
        there = scene.at(frame)
        assert len(there) == 1
        moving = scene.moving.points_list()[frame]
        assert len(moving)
        expected = torch.cat((scene.static.points_list()[0], moving))
        torch.testing.assert_close(there.points_list()[0], expected, rtol=0, atol=0)
    for frame in (-1, FRAMES):
        with pytest.raises(InputError, match=f"no frame {frame}"):
            scene.at(frame)


def test_a_world_where_nothing_moves_has_empty_clouds(result: Reconstruction) -> None:
    needs.package("pytorch3d", "pytorch3d")
    still = dataclasses.replace(result, is_dynamic=np.zeros_like(result.is_dynamic))
    scene = still.to_pytorch3d()
    assert scene.moving.num_points_per_cloud().tolist() == [0] * FRAMES
    assert len(scene.at(2).points_list()[0]) == len(scene.static.points_list()[0]) > 0


# Pictures


def cloud_of(points: np.ndarray, colors: np.ndarray) -> PointCloud:
    count = len(points)
    known = np.full(count, 255, np.uint8), np.full(count, 0.01, np.float32)
    return PointCloud(points, colors, np.zeros_like(points), *known)


def some_points() -> tuple[PointCloud, np.ndarray, np.ndarray, float]:
    """Points in the middle of pixels that are far apart, those pixels, and a view with its focal length."""
    rng, focal = np.random.default_rng(5), 30.0
    column, row = (grid.ravel() for grid in np.meshgrid(np.arange(4, 32, 6), np.arange(3, 24, 6)))
    z = rng.uniform(1, 3, len(row))
    view = np.eye(4)
    view[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    view[:3, :3] *= np.sign(np.linalg.det(view[:3, :3]))
    view[:3, 3] = rng.normal(size=3)
    u, v = column + 0.5 - SMALL[0] / 2, row + 0.5 - SMALL[1] / 2
    in_view = np.stack((u / focal * z, v / focal * z, z), axis=1)
    points = (in_view - view[:3, 3]) @ view[:3, :3]
    colors = rng.integers(0, 200, (len(row), 3)).astype(np.uint8)
    cloud = cloud_of(points.astype(np.float32), colors)
    return cloud, np.stack((row, column), axis=1), view, focal


def test_discs_are_where_the_squares_are() -> None:
    needs.package("pytorch3d", "pytorch3d")
    cloud, pixels, view, focal = some_points()
    picture = draw_points(cloud, view, focal, SMALL, BACKGROUND, "cpu")
    squares = splat(cloud, view, focal, SMALL)
    assert picture.shape == squares.shape == (SMALL[1], SMALL[0], 3)
    rows, columns = pixels.T
    np.testing.assert_allclose(picture[rows, columns].astype(int), cloud.colors, atol=1)
    np.testing.assert_array_equal(squares[rows, columns], cloud.colors)
    assert (picture[rows, columns + 3] == BACKGROUND).all()  # RADIUS_PX is 2
    assert RADIUS_PX < 3


def test_the_nearer_disc_hides_the_farther_and_what_is_behind_the_view_is_not_drawn() -> None:
    needs.package("pytorch3d", "pytorch3d")
    points = np.array([(0, 0, 2), (0, 0, 1), (0, 0, -1), (0, 0, 0)], np.float32)
    colors = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200), (0, 0, 200)], np.uint8)
    cloud = cloud_of(points, colors)
    view = np.eye(4)
    view[:2, 3] = 0.5 / 20  # to the middle of a pixel at depth 1
    picture = draw_points(cloud, view, 20.0, SMALL, BACKGROUND, "cpu")
    assert picture[SMALL[1] // 2, SMALL[0] // 2].tolist() == [0, 200, 0]
    assert not (picture == (0, 0, 200)).all(-1).any()
    nothing = draw_points(cloud.select(points[:, 2] < 0), view, 20.0, SMALL, BACKGROUND, "cpu")
    assert (nothing == BACKGROUND).all()


def test_a_surface_of_many_discs_is_opaque() -> None:
    needs.package("pytorch3d", "pytorch3d")
    column, row = (
        grid.ravel() / 60 for grid in np.meshgrid(np.arange(-40, 40), np.arange(-30, 30))
    )
    points = np.stack((column, row, np.ones_like(row)), axis=1).astype(np.float32)
    colors = np.full(points.shape, (10, 120, 30), np.uint8)
    cloud = cloud_of(points, colors)
    picture = draw_points(cloud, np.eye(4), 30.0, SMALL, BACKGROUND, "cpu")
    assert (np.abs(picture.astype(int) - (10, 120, 30)) <= 1).all()


def test_the_picture_of_a_result_is_the_same_thing_by_both(result: Reconstruction) -> None:
    needs.package("pytorch3d", "pytorch3d")
    by_pytorch3d = partial(draw_points, background=BACKGROUND, device="cpu")
    discs = draw(result, 3, (160, 120), draw_points=by_pytorch3d)
    squares = draw(result, 3, (160, 120))
    drawn, drawn_too = ((picture != BACKGROUND).any(-1) for picture in (squares, discs))
    assert drawn.mean() > 0.1 and (drawn == drawn_too).mean() > 0.97
    blurred, blurred_too = (cv2.blur(picture, (9, 9)).astype(int) for picture in (squares, discs))
    assert np.median(np.abs(blurred - blurred_too)[drawn]) < 20


# Where it is not


def folder_of(result: Reconstruction, tmp_path: Path) -> Path:
    write_result(result, tmp_path / "result")
    return tmp_path / "result"


def test_one_line_says_what_drew_the_points(result: Reconstruction, tmp_path: Path) -> None:
    said: list[str] = []
    render_png(folder_of(result, tmp_path), tmp_path / "picture.png", said.append, frame=1)
    assert len(said) == 1 and said[0].startswith("points drawn ")
    if not torch.cuda.is_available():
        assert said[0].startswith("points drawn on the CPU: ")
        assert (read_rgb(tmp_path / "picture.png") == draw_again(tmp_path)).all()


def draw_again(tmp_path: Path) -> np.ndarray:
    import recon4d

    return draw(recon4d.load(tmp_path / "result"), 1)


def test_a_gpu_that_fails_is_named_and_the_cpu_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, _, view, focal = some_points()
    said: list[str] = []

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore lines")

    monkeypatch.setattr("recon4d.viewer.drawer._gpu", lambda: "a card")
    monkeypatch.setattr("recon4d.viewer.gpu_points.draw_points", fail)
    picture = point_drawer(splat, BACKGROUND, said.append)(cloud, view, focal, SMALL)
    np.testing.assert_array_equal(picture, splat(cloud, view, focal, SMALL))
    assert said == ["points drawn on the CPU: CUDA out of memory."]


def test_a_gpu_that_works_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs.package("pytorch3d", "pytorch3d")
    cloud, _, view, focal = some_points()
    said: list[str] = []

    def on_cpu(
        cloud: PointCloud, view: Any, focal: float, size: Any, background: Any, device: str
    ) -> np.ndarray:
        assert device == "cuda"
        return draw_points(cloud, view, focal, size, background, "cpu")

    monkeypatch.setattr("recon4d.viewer.drawer._gpu", lambda: "a card")
    monkeypatch.setattr("recon4d.viewer.gpu_points.draw_points", on_cpu)
    point_drawer(splat, BACKGROUND, said.append)(cloud, view, focal, SMALL)
    assert said == ["points drawn by PyTorch3D on a card"]


@pytest.mark.gpu
@needs.cuda
def test_the_gpu_draws_what_the_cpu_does() -> None:
    needs.package("pytorch3d", "pytorch3d")
    cloud, _, view, focal = some_points()
    pictures = [draw_points(cloud, view, focal, SMALL, BACKGROUND, on) for on in ("cpu", "cuda")]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1


def test_without_pytorch3d_the_command_that_installs_it_is_named(
    result: Reconstruction, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def fail(name: str, package: str | None = None) -> Any:
        if name.startswith("pytorch3d"):
            raise ImportError("libc10_cuda.so: cannot open shared object file\nmore")
        return real(name, package)

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(MissingDependencyError) as raised:
        result.to_pytorch3d()
    assert 'pip install "recon4d[pytorch3d]"' in str(raised.value)
    assert "libc10_cuda.so" in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(MissingDependencyError):
        import_pytorch3d("structures")
