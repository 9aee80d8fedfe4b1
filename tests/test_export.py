"""Results in the formats of other programs, read back by them."""

import resource
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon4d import cli
from recon4d.io.pictures.files import read_rgb
from recon4d.results.cloud import static_cloud
from recon4d.results.folder import write_result
from recon4d.results.overlay import MOVING_COLOR
from recon4d.results.preview import draw_preview
from recon4d.results.reconstruction import Reconstruction
from tests import needs
from tests.ply import read_ply
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import SyntheticScene, make_scene


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=9, mover=True)


@pytest.fixture(scope="module")
def exact(scene: SyntheticScene) -> Reconstruction:
    return exact_result(scene)


@pytest.fixture
def result(exact: Reconstruction, tmp_path: Path) -> Path:
    write_result(exact, tmp_path / "result")
    return tmp_path / "result"


def true_points(scene: SyntheticScene, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points, colours and motion of all pixels of a frame."""
    fx, fy, cx, cy = scene.scene.intrinsics[frame]
    v, u = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    z = scene.depth[frame]
    in_cam = np.stack(((u - cx) / fx * z, (v - cy) / fy * z, z), axis=-1).reshape(-1, 3)
    pose = scene.scene.world_from_cam[frame]
    points = in_cam @ pose[:3, :3].T + pose[:3, 3]
    return points, scene.video.images[frame].reshape(-1, 3), scene.is_dynamic[frame].ravel()


def test_the_static_cloud_has_the_worlds_places_and_colours(
    result: Path, scene: SyntheticScene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(result), "--to", "ply"]) == 0
    assert "export/ply" in capsys.readouterr().out
    points, colors = read_ply(result / "export/ply/static.ply")
    assert len(points) > 3000
    parts = [true_points(scene, frame) for frame in range(FRAMES)]
    every = np.concatenate([p[0] for p in parts])
    shades = np.concatenate([p[1] for p in parts])
    moving = np.concatenate([p[2] for p in parts])
    distance, nearest = map(np.asarray, cKDTree(every).query(points))
    # Points are means over voxels of 1.3 pixels; a pixel covers 2 cm at 3 m.
    assert np.median(distance) < 0.01 and distance.max() < 0.1
    assert np.abs(colors - shades[nearest]).mean() < 12  # images are JPEG files, voxels blur
    assert moving[nearest].mean() < 0.002


def test_the_movers_of_each_frame_are_a_cloud_of_their_own(
    result: Path, scene: SyntheticScene
) -> None:
    assert cli.main(["export", str(result), "--to", "ply", "--out", str(result / "mine")]) == 0
    files = sorted((result / "mine/moving").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.ply" for i in range(FRAMES)]
    for frame in (0, FRAMES - 1):
        written, _ = read_ply(files[frame])
        points, _, moving = true_points(scene, frame)
        distance = np.asarray(cKDTree(points[moving]).query(written)[0])
        assert len(distance) > 0.7 * moving.sum()
        assert distance.max() < 1e-4  # float32


def test_open3d_reads_the_same_points_and_colours(result: Path) -> None:
    o3d = needs.open3d()
    assert cli.main(["export", str(result), "--to", "ply"]) == 0
    file = result / "export/ply/static.ply"
    cloud, (points, colors) = o3d.io.read_point_cloud(str(file)), read_ply(file)
    np.testing.assert_array_equal(np.asarray(cloud.points), points)
    np.testing.assert_allclose(np.asarray(cloud.colors) * 255, colors)


def test_points_of_little_confidence_are_left_out(
    exact: Reconstruction, scene: SyntheticScene
) -> None:
    sure = static_cloud(exact)
    every = static_cloud(exact, min_confidence=0)
    assert sure.confidence.min() > 10
    assert every.num_points > 1.1 * sure.num_points


def test_the_overlay_tints_what_moves(result: Path, exact: Reconstruction) -> None:
    assert cli.main(["export", str(result), "--to", "overlay"]) == 0
    folder = result / "export/overlay"
    with av.open(str(folder / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == FRAMES
    for frame in (0, FRAMES - 1):
        picture = read_rgb(folder / f"{frame:06d}.png")
        moving = exact.is_dynamic[frame]
        toward = np.abs(picture - MOVING_COLOR).sum(-1)
        before = np.abs(exact.images[frame] - MOVING_COLOR).sum(-1)
        assert toward[moving].mean() < 0.8 * before[moving].mean()
        outside = cv2.dilate(moving.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
        assert np.abs(toward - before)[outside].mean() < 20  # JPEG


def test_an_overlay_that_finds_no_room_is_an_error_and_leaves_nothing(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "overlay"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        code = cli.main(["export", str(result), "--to", "overlay", "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert "000000.png cannot be written (File too large)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "plyy"), "did you mean 'ply'"),
        (("--to", "obj"), "available: ply, colmap, nerfstudio, glb, tracks, overlay"),
        (("--to", "ply", "--depth-size", "original"), "colmap, nerfstudio, overlay), and ply has"),
        (("--to", "glb", "--depth-size", "original"), "leave it out"),
        (("--to", "colmap", "--depth-size", "full"), "available: working, original"),
    ],
)
def test_what_cannot_be_exported_is_said(
    words: tuple[str, ...], said: str, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(result), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (result / "export").exists()


def test_the_preview_shows_images_masks_and_depth(exact: Reconstruction) -> None:
    picture = draw_preview(exact)
    assert picture.ndim == 3 and picture.shape[2] == 3
    assert picture.shape[1] >= 600
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    assert (saturation > 80).mean() > 0.1  # the colours of depth
    still = draw_preview(
        Reconstruction(**{**vars(exact), "is_dynamic": np.zeros_like(exact.is_dynamic)})
    )
    assert (still != picture).any()  # the masks are in it


def test_the_preview_of_an_unknown_depth_is_drawn(exact: Reconstruction) -> None:
    nothing = {"depth": np.zeros_like(exact.depth), "confidence": np.zeros_like(exact.confidence)}
    assert draw_preview(Reconstruction(**{**vars(exact), **nothing})).std() > 5
