"""Pictures of two cameras in one folder, told apart by COLMAP's images.txt: shown as one pinhole camera sees them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.evaluate.poses import pose_errors
from recon4d.io.camera import Camera, camera_from_array
from recon4d.io.lens import onto
from recon4d.io.options import ReadOptions
from recon4d.io.originals import open_originals
from recon4d.io.poses.trajectory import Trajectory
from recon4d.io.read import open_source, read_video
from recon4d.results.folder import read_result
from tests.media import textured_frames, write_images
from tests.synthetic import make_scene

WIDE = Camera(240.0, 240.0, 160.0, 120.0, size=(320, 240))
"""A pinhole, whose pictures the others are resampled from."""
ONE = Camera(210.0, 210.0, 125.0, 94.0, (-0.1, 0.0, 0.0, 0.0), size=(256, 192))
OTHER = Camera(270.0, 270.0, 150.0, 124.0, (0.05, 0.0, 0.0, 0.0), size=(312, 240))


def seen_by(
    camera: Camera, images: UInt8[np.ndarray, "frames height width 3"]
) -> UInt8[np.ndarray, "frames rows columns 3"]:
    """Pictures of `WIDE` as a camera that sees less of the same place would have taken them."""
    assert camera.size is not None
    width, height = camera.size
    v, u = np.mgrid[:height, :width].astype(np.float64)
    own = np.array([[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1.0]])
    wide = np.array([[WIDE.fx, 0, WIDE.cx - 0.5], [0, WIDE.fy, WIDE.cy - 0.5], [0, 0, 1.0]])
    pixels = np.stack((u, v), axis=-1).reshape(-1, 1, 2)
    there = cv2.undistortPoints(pixels, own, np.array(camera.distortion), P=wide)
    lookup = there.reshape(height, width, 2).astype(np.float32)
    u, v = lookup[..., 0].copy(), lookup[..., 1].copy()
    return np.stack([cv2.remap(image, u, v, cv2.INTER_CUBIC) for image in images]).astype(np.uint8)


def model(folder: Path, cameras: Sequence[Camera], took: dict[str, int]) -> Path:
    """COLMAP's two text files: cameras that are numbered from 1, and which took which image."""
    folder.mkdir(exist_ok=True)
    lines = [
        f"{at} RADIAL {c.size[0]} {c.size[1]} {c.fx} {c.cx} {c.cy} {c.distortion[0]} 0"
        for at, c in enumerate(cameras, start=1)
        if c.size is not None
    ]
    images = [
        f"{at} 1 0 0 0 0 0 0 {camera} {name}\n" for at, (name, camera) in enumerate(took.items())
    ]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    return folder / "cameras.txt"


def by_two(folder: Path, images: UInt8[np.ndarray, "frames height width 3"]) -> tuple[Path, Path]:
    """A folder whose pictures two cameras took in turns, and the file that says so."""
    shown = [seen_by(camera, images) for camera in (ONE, OTHER)]
    for at in range(len(images)):
        write_images(folder / "one", shown[at % 2][at : at + 1])
        (folder / "in").mkdir(exist_ok=True)
        (folder / "one" / "0000.png").rename(folder / "in" / f"{at:04d}.png")
    took = {f"{at:04d}.png": at % 2 + 1 for at in range(len(images))}
    return folder / "in", model(folder / "model", (ONE, OTHER), took)


def read(source: Path, cameras: Path, folder: Path, stride: int = 1) -> Video:
    folder.mkdir()
    return read_video(source, ReadOptions(1000, stride=stride, intrinsics=str(cameras)), folder)


def test_both_cameras_are_shown_as_one_that_sees_what_both_see(tmp_path: Path) -> None:
    picture = textured_frames(1, 320, 240)
    source, cameras = by_two(tmp_path, np.repeat(picture, 4, axis=0))
    video = read(source, cameras, tmp_path / "work")
    fx, fy, cx, cy = video.intrinsics.tolist() if video.intrinsics is not None else [0.0] * 4
    assert min(fx, fy) > 250 and video.lens is None
    apart = np.abs(video.images[::2].astype(int) - video.images[1::2])[:, 2:-2, 2:-2]
    assert apart.mean() < 2  # of a texture that was resampled twice; 20 with the other's camera
    pinhole = Camera(fx, fy, cx, cy, size=video.size)
    true = onto(WIDE, (320, 240), pinhole, video.size).image(picture[0])
    assert np.abs(video.images[0].astype(int) - true)[2:-2, 2:-2].mean() < 2
    assert [notice.code for notice in video.notices] == ["several_cameras"]
    originals = open_originals(source, ReadOptions(intrinsics=str(cameras)))
    assert originals.size == video.source_size and originals.straight == originals.camera


def test_frames_that_are_not_kept_have_no_say(tmp_path: Path) -> None:
    source, cameras = by_two(tmp_path, textured_frames(4, 320, 240))
    video = read(source, cameras, tmp_path / "work", stride=2)
    assert video.source_size == ONE.size and video.lens is not None
    assert not video.notices


def test_a_picture_that_the_file_does_not_name_is_refused(tmp_path: Path) -> None:
    source, cameras = by_two(tmp_path, textured_frames(3, 320, 240))
    write_images(tmp_path / "more", textured_frames(1))
    (tmp_path / "more" / "0000.png").rename(source / "0007.png")
    with pytest.raises(InputError, match=r"images\.txt has no image 0007\.png, and .*leave"):
        open_source(source, ReadOptions(intrinsics=str(cameras)))


def test_a_file_of_images_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    source, cameras = by_two(tmp_path, textured_frames(2, 320, 240))
    took = {"0000.png": 1, "0001.png": 7}
    model(tmp_path / "model", (ONE, OTHER), took)
    with pytest.raises(InputError, match=r"0001\.png is of a camera that it does not have"):
        open_source(source, ReadOptions(intrinsics=str(cameras)))
    model(tmp_path / "model", (ONE, OTHER), {"a/0000.png": 1, "b/0000.png": 2, "0001.png": 1})
    with pytest.raises(InputError, match=r"0000\.png is of several cameras"):
        open_source(source, ReadOptions(intrinsics=str(cameras)))
    model(tmp_path / "model", (ONE, OTHER), {"0000.png": 2, "0001.png": 1})
    with pytest.raises(InputError, match=r"0000\.png is for images of 312x240 px, but the input"):
        read(source, cameras, tmp_path / "work")


def test_cameras_that_see_other_places_are_refused(tmp_path: Path) -> None:
    source, cameras = by_two(tmp_path, textured_frames(2, 320, 240))
    aside = Camera(900.0, 900.0, -600.0, 120.0, (0.0,), size=(312, 240))
    model(tmp_path / "model", (ONE, aside), {"0000.png": 1, "0001.png": 2})
    with pytest.raises(InputError, match="see too little in common"):
        open_source(source, ReadOptions(intrinsics=str(cameras)))


def test_masks_of_one_s_own_are_refused_with_several_cameras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, cameras = by_two(tmp_path, textured_frames(2, 320, 240))
    words = ["run", str(source), "--out", str(tmp_path / "out"), "--intrinsics", str(cameras)]
    assert cli.main([*words, "--masks", str(source)]) == 2
    assert "pictures of several cameras" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_over_pictures_of_two_cameras_finds_their_poses(tmp_path: Path) -> None:
    scene = make_scene(9, (320, 240), seed=3, plain_lens=True)
    known = scene.video.intrinsics
    assert known is not None
    images = np.asarray(scene.video.images)
    wide = onto(camera_from_array(np.insert(known, 4, 0.0)), (320, 240), WIDE, (320, 240))
    source, cameras = by_two(tmp_path, np.stack([wide.image(image) for image in images]))
    words = ["--masks", "none", "--loop", "0", "--workers", "1", "--intrinsics", str(cameras)]
    assert cli.main(["run", str(source), "--out", str(tmp_path / "out"), *words]) == 0
    result = read_result(tmp_path / "out")
    found, true = (
        Trajectory(result.timestamps_s, poses)
        for poses in (result.world_from_cam, scene.scene.world_from_cam)
    )
    errors = pose_errors(found, true, "sim3", 0.01)
    assert errors.matched == 9 and errors.ate is not None
    assert errors.ate < 0.02 * errors.path
