"""The demo's truth is true, and its folders are safe."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d import demo
from recon4d.core.errors import InputError
from recon4d.core.progress import no_progress
from recon4d.demo.render import Camera, Solid, World, cast, follow, pixel_grid
from recon4d.demo.world import make_camera, make_world
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from recon4d.io.rgbd.tum import read_depth_m, read_list
from tests import needs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "input"
    begin_s = time.process_time()
    demo.render_demo(folder, seed=0)
    assert time.process_time() - begin_s < 20, "rendering takes about 5 s of one core"
    return folder


def read(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    image = cv2.imread(str(path), flags)
    assert image is not None
    return np.asarray(image)


def pictures(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).iterdir())


def test_the_video_has_the_times_and_the_pictures_of_the_truth(
    folder: Path, tmp_path: Path
) -> None:
    video = read_video(folder / "demo.mp4", ReadOptions(), tmp_path, no_progress)
    times_s = [time_s for time_s, _ in read_list(folder / "rgb.txt")]
    np.testing.assert_allclose(video.timestamps_s, times_s, atol=1e-6)
    assert video.size == demo.SIZE
    for index in (0, len(times_s) - 1):
        stored = read(pictures(folder, "rgb")[index])[..., ::-1]
        assert np.abs(video.images[index].astype(float) - stored).mean() < 6  # chroma subsampling


def test_the_moving_object_fills_a_fair_part_of_every_picture(folder: Path) -> None:
    shares = [(read(path, 0) == 255).mean() for path in pictures(folder, "mask")]
    assert len(shares) == demo.FRAMES
    assert min(shares) > 0.06
    assert max(shares) < 0.16


def warped(folder: Path, source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the source's pixels, and those of the target where truth says that they are seen."""
    poses = np.loadtxt(folder / "groundtruth.txt")
    fx, fy, cx, cy = np.loadtxt(folder / "intrinsics.txt")
    k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    images = [read(pictures(folder, "rgb")[i]) for i in (source, target)]
    depths = [read_depth_m(pictures(folder, "depth")[i]) for i in (source, target)]
    still = [read(pictures(folder, "mask")[i], 0) == 0 for i in (source, target)]
    a, b = (pose_matrix(poses[i]) for i in (source, target))
    v, u = np.mgrid[: demo.SIZE[1], : demo.SIZE[0]]
    rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(k).T
    points = (rays * depths[0][..., None]) @ a[:3, :3].T + a[:3, 3]
    in_target = (points - b[:3, 3]) @ b[:3, :3]
    seen = in_target @ k.T
    uv = (seen[..., :2] / seen[..., 2:]).astype(np.float32)
    there = cv2.remap(images[1], uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
    depth_there = cv2.remap(depths[1], uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
    still_there = cv2.remap(still[1].astype(np.float32), uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
    visible = still[0] & (still_there > 0.99) & (np.abs(depth_there / in_target[..., 2] - 1) < 0.01)
    return images[0][visible].astype(float), there[visible].astype(float)


def pose_matrix(line: np.ndarray) -> np.ndarray:
    x, y, z, w = line[4:]
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = line[1:4]
    return pose


@pytest.mark.parametrize("target", [3, 12])
def test_depth_and_poses_carry_the_colours_from_frame_to_frame(folder: Path, target: int) -> None:
    here, there = warped(folder, 0, target)
    assert len(here) > 0.4 * demo.SIZE[0] * demo.SIZE[1]
    apart = np.abs(here - there).mean()
    shuffled = np.abs(here - np.roll(there, 3, axis=0)).mean()  # 3 px aside
    assert apart < 8  # noise 1.2 twice, and two resamplings of sharp textures
    assert apart < 0.4 * shuffled


def test_the_camera_translates_enough_to_see_depth(folder: Path) -> None:
    poses = np.loadtxt(folder / "groundtruth.txt")
    assert np.linalg.norm(poses[-1, 1:4] - poses[0, 1:4]) > 0.8
    steps = np.linalg.norm(np.diff(poses[:, 1:4], axis=0), axis=1)
    assert steps.max() < 0.1


def test_the_robot_moves_as_a_rigid_body_that_the_ray_caster_can_follow() -> None:
    world = make_world(0)
    source, target = (make_camera(i, demo.FRAMES, demo.FPS, demo.SIZE) for i in (5, 6))
    uv = pixel_grid((56, 42)) * 8
    hits = cast(world, source, uv)
    there = follow(world, source, target, uv, hits)
    moving = world.is_moving[hits.solid]
    assert moving.any()
    seen = cast(world, target, there[moving][None, :, :2])
    agrees = np.abs(seen.depth[0] / there[moving][:, 2] - 1) < 1e-6
    assert agrees.mean() > 0.9  # the rest is hidden by the robot itself or the picture's border


def test_nearer_solids_hide_farther_ones() -> None:
    texture = np.full((8, 48, 3), 200, np.uint8)
    ball = Solid("ellipsoid", at(3.0), np.ones(3), texture)
    wall = Solid("box", at(6.0), np.array([9.0, 9.0, 1.0]), texture)
    camera = Camera(np.eye(4), np.array([64.0, 64.0, 32.0, 32.0]), 0.0)
    hits = cast(World((wall, ball), lambda _: np.eye(4)), camera, pixel_grid((64, 64)))
    assert hits.solid[32, 32] == 1
    assert hits.depth[32, 32] == pytest.approx(2.0, abs=1e-3)  # half a pixel off the axis
    assert hits.solid[0, 0] == 0
    assert hits.depth[0, 0] == pytest.approx(5.0)


def at(z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[2, 3] = z
    return pose


def test_the_same_seed_renders_the_same_world() -> None:
    first, second, other = (make_world(seed).solids[0].texture for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_folder_that_is_not_the_demos_own_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_input").mkdir()
    (tmp_path / "mine_input" / "thesis.txt").write_text("three years")
    with pytest.raises(InputError, match="never overwritten"):
        demo.run_demo(tmp_path / "mine", no_progress)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine_input", "thesis.txt"]


def test_an_interrupted_rendering_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(folder: Path, **_: Callable[..., object]) -> Path:
        raise KeyboardInterrupt

    old = tmp_path / "mine_input"
    old.mkdir()
    (old / demo.MARK).write_text(demo.ABOUT)
    monkeypatch.setattr(demo, "render_demo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "mine", no_progress)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine_input", demo.MARK]


@pytest.mark.slow
def test_the_demo_runs_twice_and_its_errors_are_small(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.package("evo", "eval")

    def copy(target: Path, **_: object) -> Path:
        return Path(shutil.copytree(folder, target, dirs_exist_ok=True)) / demo.VIDEO_NAME

    monkeypatch.setattr(demo, "render_demo", copy)
    out = tmp_path / "out" / "demo_recon4d"
    for _ in range(2):
        text = demo.run_demo(out, no_progress)
    figures = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.strip()}
    assert float(figures["ATE"]) < 0.005  # measured 0.0008 m on a path of 1.3 m
    assert float(figures["static"]) < 0.03  # Abs Rel, measured 0.0115
    assert float(figures["J"]) > 0.8  # measured 0.94
    assert (out / "preview.png").is_file()
    assert str(out / "preview.png") in text
    assert sorted(p.name for p in out.parent.iterdir()) == ["demo_recon4d", "demo_recon4d_input"]
