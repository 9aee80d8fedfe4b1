"""Reading folders of images and RGB-D folders."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.describe import describe_input
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.files import read_rgb, write_image
from recon4d.io.pictures.names import natural_key
from recon4d.io.read import read_video
from recon4d.io.resize import resize_nearest
from recon4d.io.rgbd.points import resized_depth
from tests import needs
from tests.media import textured_frames, write_images, write_tum_folder, write_video

FRAMES = textured_frames(4)
TIMES_S = (10.0, 10.1, 10.2, 10.3)


def read(source: Path, tmp_path: Path, **options: object) -> Video:
    folder = tmp_path / "stage"
    folder.mkdir(exist_ok=True)
    return read_video(source, ReadOptions(**options), folder)  # type: ignore[arg-type]


def depth_maps(count: int = 4) -> np.ndarray:
    """Depth in metres that is a multiple of the PNG's step and differs in every pixel of a row."""
    ramp = np.linspace(5000, 9000, 128).astype(int) / 5000
    return np.stack([np.tile(ramp, (96, 1)) + frame for frame in range(count)])


@pytest.fixture
def tum(tmp_path: Path) -> Path:
    return write_tum_folder(tmp_path / "tum", FRAMES, depth_maps(), TIMES_S)


def test_images_come_in_natural_order_at_30_per_second(tmp_path: Path) -> None:
    names = ["frame9.png", "frame10.png", "Frame8.png", "frame101.png"]
    write_images(tmp_path / "in", FRAMES, names)
    (tmp_path / "in/.hidden.png").write_bytes(b"not an image")
    (tmp_path / "in/notes.txt").write_text("not an image")
    video = read(tmp_path / "in", tmp_path)
    assert video.sources == ("Frame8.png", "frame9.png", "frame10.png", "frame101.png")
    np.testing.assert_array_equal(video.images, FRAMES[[2, 0, 1, 3]])
    np.testing.assert_allclose(video.timestamps_s, np.arange(4) / 30)


def test_natural_order_compares_numbers_as_numbers() -> None:
    names = ["a10b2", "a2b10", "a2b9", "b1", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a2b9", "a2b10", "a10b2", "b1"]


def test_an_image_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", FRAMES[0][..., ::-1])
    write_image(tmp_path / "no suffix", FRAMES[1][..., ::-1], suffix=".png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), FRAMES[0])
    np.testing.assert_array_equal(read_rgb(tmp_path / "no suffix"), FRAMES[1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_image_that_finds_no_room_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"a\.png cannot be written .*; free some space there"):
        write_image(tmp_path / "a.png", FRAMES[0])


def test_an_image_that_no_file_of_its_format_can_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of 70000x1 pixels cannot be stored in this format"):
        write_image(tmp_path / "a.jpg", np.zeros((1, 70000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_fps_states_the_rate_of_a_folder_and_drops_nothing(tmp_path: Path) -> None:
    video = read(write_images(tmp_path / "in", FRAMES), tmp_path, fps=5.0)
    np.testing.assert_allclose(video.timestamps_s, [0, 0.2, 0.4, 0.6])


def test_stride_and_start_keep_the_times_of_a_folder(tmp_path: Path) -> None:
    video = read(write_images(tmp_path / "in", FRAMES), tmp_path, stride=2, start=1 / 30)
    assert video.sources == ("0001.png", "0003.png") and video.source_indices == (1, 3)
    np.testing.assert_allclose(video.timestamps_s, [1 / 30, 3 / 30])


def test_names_with_a_decimal_point_are_times(tmp_path: Path) -> None:
    write_images(tmp_path / "in", FRAMES, ["0.5.png", "0.25.png", "10.0.png", "9.75.png"])
    video = read(tmp_path / "in", tmp_path)
    np.testing.assert_allclose(video.timestamps_s, [0.25, 0.5, 9.75, 10.0])
    np.testing.assert_array_equal(video.images, FRAMES[[1, 0, 3, 2]])


def test_two_images_of_one_time_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "in", FRAMES[:3], ["1.0.png", "1.00.png", "2.0.png"])
    with pytest.raises(InputError, match="same time 1 s"):
        read(tmp_path / "in", tmp_path)


def test_16_bit_images_keep_their_upper_bits(tmp_path: Path) -> None:
    write_images(tmp_path / "in", FRAMES.astype(np.uint16) * 256 + 128)
    np.testing.assert_array_equal(read(tmp_path / "in", tmp_path).images, FRAMES)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_become_rgb(tmp_path: Path, dtype: type) -> None:
    grey = FRAMES[..., 1]
    write_images(tmp_path / "in", grey.astype(dtype) * (257 if dtype is np.uint16 else 1))
    np.testing.assert_array_equal(
        read(tmp_path / "in", tmp_path).images, np.repeat(grey[..., None], 3, axis=-1)
    )


def test_opacity_is_ignored(tmp_path: Path) -> None:
    opacity = np.full((*FRAMES.shape[:3], 1), 40, np.uint8)
    write_images(tmp_path / "in", np.concatenate((FRAMES, opacity), axis=-1))
    np.testing.assert_array_equal(read(tmp_path / "in", tmp_path).images, FRAMES)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".JPG", ".jpeg", ".webp", ".ppm"])
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path / "in", FRAMES, [f"{i}{suffix}" for i in range(4)])
    difference = read(tmp_path / "in", tmp_path).images.astype(float) - FRAMES
    assert np.abs(difference).mean() < 6  # grey levels: lossy formats at OpenCV's default quality


def test_portrait_images_stay_portrait(tmp_path: Path) -> None:
    frames = textured_frames(2, width=360, height=640)
    video = read(write_images(tmp_path / "in", frames), tmp_path)
    assert video.size == (288, 512) and video.source_size == (360, 640)


def test_images_of_different_sizes_are_refused_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "in", FRAMES)
    write_images(tmp_path / "in", textured_frames(1, width=64), ["0002.png"])
    with pytest.raises(InputError, match=r"0002\.png has 64x96 px.*0000\.png has 128x96 px"):
        read(tmp_path / "in", tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", FRAMES)
    (tmp_path / "in/0002.png").write_bytes(content)
    with pytest.raises(InputError, match=r"0002\.png is not an image"):
        read(tmp_path / "in", tmp_path)
    assert "OpenCV" not in capfd.readouterr().err


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="in holds no images; give a video file"):
        read(tmp_path / "in", tmp_path)


def test_a_folder_of_folders_says_which_one_to_give(tmp_path: Path) -> None:
    write_images(tmp_path / "in/rgb", FRAMES)
    with pytest.raises(InputError, match=r"folder rgb holds 4: give .*in/rgb"):
        read(tmp_path / "in", tmp_path)


def test_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 1 frame; recon4d needs at least 2"):
        read(write_images(tmp_path / "in", FRAMES[:1]), tmp_path)


def test_a_tum_folder_gives_times_and_intrinsics_but_depth_only_when_asked(
    tum: Path, tmp_path: Path
) -> None:
    (tum / "intrinsics.txt").write_text("# fx fy cx cy\n100 110 63 47\n")
    (tum / "depth/10.100000.png").unlink()
    video = read(tum, tmp_path)
    np.testing.assert_array_equal(video.images, FRAMES)
    np.testing.assert_allclose(video.timestamps_s, TIMES_S)
    assert video.sources[1] == "10.100000.png"
    assert video.sensor_depth is None
    assert video.intrinsics is not None
    np.testing.assert_allclose(video.intrinsics, [100, 110, 63.5, 47.5])


def test_intrinsics_of_the_user_come_before_those_of_the_folder(tum: Path, tmp_path: Path) -> None:
    (tum / "intrinsics.txt").write_text("100 110 63 47\n")
    video = read(tum, tmp_path, intrinsics="200,210,60,50")
    assert video.intrinsics is not None
    np.testing.assert_allclose(video.intrinsics, [200, 210, 60.5, 50.5])


def test_sensor_depth_is_metres_and_partners_are_near_in_time(tum: Path, tmp_path: Path) -> None:
    lines = [
        "10.019 depth/10.000000.png",  # 19 ms late: still the partner of 10.0
        "10.121 depth/10.100000.png",  # 21 ms late: nobody's
        "10.200 depth/10.200000.png",
        "10.299 depth/10.300000.png",
    ]
    (tum / "depth.txt").write_text("\n".join(lines))
    video = read(tum, tmp_path, with_depth=True)
    assert isinstance(video.sensor_depth, np.memmap) and video.sensor_depth.dtype == np.float32
    wanted = depth_maps()
    wanted[1] = 0
    np.testing.assert_allclose(video.sensor_depth, wanted, rtol=1e-6)
    assert [(n.code, n.frames) for n in video.notices] == [("frames_without_depth", (1,))]


def test_sensor_depth_is_resized_without_mixing(tmp_path: Path) -> None:
    depth_m = np.full((2, 480, 640), 1.0)
    depth_m[:, :, 320:] = 5.0
    frames = textured_frames(2, 640, 480)
    tum = write_tum_folder(tmp_path / "tum", frames, depth_m, TIMES_S[:2])
    video = read(tum, tmp_path, with_depth=True)
    assert video.sensor_depth is not None
    assert set(np.unique(video.sensor_depth)) == {1.0, 5.0}
    assert (video.sensor_depth[:, :, 255] == 1).all() and (video.sensor_depth[:, :, 256] == 5).all()


def test_nearest_resizing_takes_the_value_under_the_centre_of_the_pixel() -> None:
    values = np.arange(640, dtype=np.float32)[None].repeat(2, axis=0)
    centres = (np.arange(512) + 0.5) * 640 / 512
    np.testing.assert_array_equal(resize_nearest(values, (512, 2))[0], np.floor(centres))


def test_depth_that_is_not_16_bit_is_refused(tum: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tum / "depth/10.100000.png"), np.ones((96, 128), np.uint8))
    with pytest.raises(InputError, match=r"10\.100000\.png has 1 channels of uint8"):
        read(tum, tmp_path, with_depth=True)


def test_depth_of_another_shape_is_refused(tum: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tum / "depth/10.100000.png"), np.ones((96, 96), np.uint16))
    with pytest.raises(InputError, match=r"depth of frame 10\.100000\.png has 96x96 px"):
        read(tum, tmp_path, with_depth=True)


@pytest.mark.parametrize("kind", ["rgb", "depth"])
def test_a_listed_file_that_is_missing_is_named(tum: Path, tmp_path: Path, kind: str) -> None:
    (tum / kind / "10.200000.png").unlink()
    with pytest.raises(InputError, match=rf"{kind}\.txt, line 4 names {kind}/10\.200000\.png"):
        read(tum, tmp_path, with_depth=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [("ten rgb/a.png", "line 2.*rgb/a.png"), ("10.5", "line 2.*'timestamp filename'")],
)
def test_a_malformed_list_is_refused(tum: Path, tmp_path: Path, line: str, message: str) -> None:
    (tum / "rgb.txt").write_text(f"# timestamp filename\n{line}\n")
    with pytest.raises(InputError, match=message):
        read(tum, tmp_path)


def test_depth_of_another_clock_is_refused(tum: Path, tmp_path: Path) -> None:
    (tum / "depth.txt").write_text("99.0 depth/10.000000.png\n")
    with pytest.raises(InputError, match=r"no depth image is within 0\.02 s"):
        read(tum, tmp_path, with_depth=True)


def test_rgbd_without_depth_is_refused(tum: Path, tmp_path: Path) -> None:
    (tum / "depth.txt").unlink()
    assert read(tum, tmp_path).num_frames == 4
    for source in (tum, tum / "rgb", write_video(tmp_path / "a.mp4", FRAMES)):
        with pytest.raises(InputError, match="no sensor depth, which --geometry rgbd needs"):
            read(source, tmp_path, with_depth=True)


def test_fps_resamples_a_tum_folder_by_its_times(tum: Path, tmp_path: Path) -> None:
    video = read(tum, tmp_path, fps=5.0)
    np.testing.assert_allclose(video.timestamps_s, [10.0, 10.2])


def test_inputs_are_described(tum: Path, tmp_path: Path) -> None:
    (tum / "intrinsics.txt").write_text("100 110 63 47 -0.1 0.01 0 0\n")
    rgbd = describe_input(tum)
    assert rgbd["kind"] == "RGB-D folder (TUM layout)" and rgbd["depth"] is True
    assert rgbd["intrinsics"] == [100, 110, 63, 47] and rgbd["distortion"] == [-0.1, 0.01, 0, 0]
    assert rgbd["fps"] == pytest.approx(10) and rgbd["duration_s"] == pytest.approx(0.3)
    video = describe_input(write_video(tmp_path / "a.mp4", FRAMES))
    assert (video["frames"], video["width"], video["height"]) == (4, 128, 96)
    assert video["kind"] == "video file" and video["fps"] == pytest.approx(25)
    assert video["intrinsics"] is None and video["depth"] is False
    images = describe_input(tum / "rgb")
    assert images["times"] == "file" and images["frames"] == 4


def test_a_shared_rgbd_sequence_is_read_with_depth(tmp_path: Path) -> None:
    video = read(needs.shared("data/exact_static"), tmp_path, with_depth=True, max_frames=3)
    assert video.size == (512, 384) and video.intrinsics is not None
    np.testing.assert_allclose(video.intrinsics, [420, 420, 256.4, 192.4])
    assert video.sensor_depth is not None and np.median(video.sensor_depth) > 0.5


def test_points_of_a_laser_scanner_tell_the_surface_between_them() -> None:
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:120, :160] + 0.5
    truth = (1 / (0.05 + 0.001 * v + 0.0005 * u)).astype(np.float32)
    truth[:, 100:] = 40.0  # another surface, far behind
    scan = np.where((v % 5 < 1) & (rng.random(truth.shape) < 0.4), truth, 0).astype(np.float32)
    found = resized_depth(scan, (80, 60))
    assert (found > 0).mean() > 0.6 > 5 * (resize_nearest(scan, (80, 60)) > 0).mean()
    # points around agree within 5 %, and a pixel holds 1 % of the slope
    wanted = resize_nearest(truth, (80, 60))
    assert abs(found / wanted - 1)[:, :48][found[:, :48] > 0].max() < 0.06
    assert np.median(abs(found / wanted - 1)[found > 0]) < 0.01
    assert not found[:, 49:51].all()  # nothing is made up between the two
    np.testing.assert_array_equal(resized_depth(truth, (80, 60)), wanted)  # areas are not
    assert not resized_depth(0 * truth, (80, 60)).any()
