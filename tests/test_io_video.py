"""Reading video files."""

import math
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from recon4d import cli
from recon4d.core.errors import ConfigError, InputError
from recon4d.core.scene import DepthPrior, KnownPoses, Notice, Video
from recon4d.core.stages import drop_damaged, run_stage
from recon4d.io import video as video_file
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from recon4d.io.resize import working_size
from recon4d.settings.text import build
from tests.media import (
    ask_for_clockwise_quarter_turn,
    cut_off,
    quadrant_frames,
    textured_frames,
    write_video,
)

CODEC_ERROR = 12
"""Grey levels: largest mean error of a test video after 4:2:0 colour and quantisation."""


def read(source: Path, tmp_path: Path, **options: object) -> Video:
    folder = tmp_path / "stage"
    folder.mkdir(exist_ok=True)
    return read_video(source, ReadOptions(**options), folder)  # type: ignore[arg-type]


def test_a_written_video_is_read_back_with_its_times(tmp_path: Path) -> None:
    frames = textured_frames(5)
    video_file.write_video(tmp_path / "a.mp4", frames, Fraction(30000, 1001), {"crf": "10"})
    video = read(tmp_path / "a.mp4", tmp_path)
    assert np.abs(video.images.astype(float) - frames).mean() < CODEC_ERROR
    np.testing.assert_allclose(video.timestamps_s, np.arange(5) * 1001 / 30000, atol=1e-9)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_video_that_finds_no_room_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"a\.mp4 cannot be written .*; free some space there"):
        video_file.write_video(tmp_path / "a.mp4", textured_frames(5), Fraction(25), {})


@pytest.fixture
def video_path(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", textured_frames(10))


def test_frames_times_and_names_of_a_video_are_read(video_path: Path, tmp_path: Path) -> None:
    video = read(video_path, tmp_path)
    assert video.images.shape == (10, 96, 128, 3)
    assert np.abs(video.images.astype(float) - textured_frames(10)).mean() < CODEC_ERROR
    np.testing.assert_allclose(video.timestamps_s, np.arange(10) / 25, atol=1e-9)
    assert video.sources == tuple(str(i) for i in range(10))
    assert video.source_size == (128, 96)
    assert video.intrinsics is None and video.sensor_depth is None and video.notices == ()


def test_images_are_a_memory_map_that_the_checkpoint_keeps(
    video_path: Path, tmp_path: Path
) -> None:
    written: list[int] = []

    def compute(folder: Path) -> Video:
        video = read_video(video_path, ReadOptions(), folder)
        assert isinstance(video.images, np.memmap)
        written.append((folder / "images.npy").stat().st_ino)
        return video

    first = run_stage(tmp_path / "partial", "read", Video, compute)
    path = tmp_path / "partial/read/images.npy"
    assert path.stat().st_ino == written[0], "the array was written a second time"
    again = run_stage(tmp_path / "partial", "read", Video, compute)
    assert len(written) == 1
    np.testing.assert_array_equal(first.images, again.images)
    assert again.sources == first.sources and again.source_size == first.source_size


def test_a_phone_video_is_turned_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4", quadrant_frames(3))
    ask_for_clockwise_quarter_turn(path)
    video = read(path, tmp_path)
    assert video.source_size == (96, 128) and video.size == (96, 128)
    # clockwise: what was bottom left (blue) is now top left, what was top left (red) is now top right
    image = video.images[1].astype(int)
    np.testing.assert_allclose(image[30, 20], (0, 0, 255), atol=CODEC_ERROR)
    np.testing.assert_allclose(image[30, 70], (255, 0, 0), atol=CODEC_ERROR)
    np.testing.assert_allclose(image[100, 70], (0, 255, 0), atol=CODEC_ERROR)


def test_variable_frame_rate_keeps_the_true_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.040, 0.100, 0.320, 0.333, 1.0]
    path = write_video(tmp_path / "vfr.mp4", textured_frames(6), times_s)
    np.testing.assert_allclose(read(path, tmp_path).timestamps_s, times_s, atol=1e-9)


def test_fps_keeps_the_nearest_frames_and_invents_none(tmp_path: Path) -> None:
    times_s = [0.0, 0.040, 0.090, 0.130, 0.500, 0.520]
    path = write_video(tmp_path / "vfr.mp4", textured_frames(6), times_s)
    video = read(path, tmp_path, fps=10.0)
    # wanted 0, 0.1, 0.2, 0.3, 0.4, 0.5: the nearest are 0, 0.09, 0.13, 0.13, 0.5, 0.5
    assert video.sources == ("0", "2", "3", "4")
    assert video.source_indices == (0, 2, 3, 4)
    np.testing.assert_allclose(video.timestamps_s, [0.0, 0.090, 0.130, 0.500])


@pytest.mark.parametrize(
    ("fps", "count"), [(25.0, 50), (60.0, 50), (12.5, 25), (10.0, 20), (1.0, 2)]
)
def test_fps_of_a_steady_video_gives_that_many_frames(
    tmp_path: Path, fps: float, count: int
) -> None:
    path = write_video(tmp_path / "steady.mp4", textured_frames(50))
    assert read(path, tmp_path, fps=fps).num_frames == count


def test_a_video_with_poses_and_predicted_depth_is_stored_as_a_stage(
    video_path: Path, tmp_path: Path
) -> None:
    video = read(video_path, tmp_path)
    count, (width, height) = video.num_frames, video.size
    depth = np.ones((count, height, width), np.float32)
    known = KnownPoses(np.repeat(np.eye(4)[None], count, 0), np.ones(count, bool), 0.5)
    prior = DepthPrior(depth, True, focal_px=100.0, notices=(Notice("code", "what", (1,)),))
    video = replace(video, poses=known, predicted_depth=prior)
    for _ in range(2):  # computed, then found
        stored = run_stage(tmp_path / "partial", "all", Video, lambda _: video)
        assert stored.poses is not None and stored.predicted_depth is not None
        assert (stored.poses.is_given == known.is_given).all() and stored.poses.sigma == 0.5
        assert stored.predicted_depth.notices == prior.notices
        assert (stored.predicted_depth.depth == depth).all()
    assert drop_damaged(tmp_path / "partial") == []
    (array,) = (tmp_path / "partial/all/predicted_depth").glob("depth.npy")
    array.write_bytes(array.read_bytes()[:-8])
    assert drop_damaged(tmp_path / "partial") == ["all"]


def test_stride_start_and_max_frames_choose_frames(video_path: Path, tmp_path: Path) -> None:
    video = read(video_path, tmp_path, stride=3, start=0.08, max_frames=2)
    assert video.sources == ("2", "5")
    np.testing.assert_allclose(video.timestamps_s, [0.08, 0.2])


@pytest.mark.parametrize(
    "options",
    [
        {"fps": 5.0, "stride": 2},
        {"fps": 0.0},
        {"fps": math.nan},
        {"stride": 0},
        {"start": -1.0},
        {"max_frames": 1},
        {"size": 32},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        build({"input": "x.mp4", **options})


def test_the_part_of_a_truncated_video_that_is_not_used_is_not_warned_of(tmp_path: Path) -> None:
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "cut.mp4", textured_frames(40), container_options=options)
    assert read(cut_off(path, 0.6), tmp_path, max_frames=3).notices == ()


def test_anamorphic_video_gets_square_pixels_and_intrinsics_per_axis(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for pixels in textured_frames(3, 160, 160):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24"))
            )
        container.mux(stream.encode())
    video = read(path, tmp_path, intrinsics="100,200,79.5,79.5", size=160)
    assert video.size == (160, 80) and video.source_size == (160, 160)
    assert video.intrinsics is not None
    np.testing.assert_allclose(video.intrinsics, [100, 100, 80, 40])


def test_the_cover_of_a_song_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as target:
        sound = target.add_stream("aac", rate=44100)
        cover = target.add_stream("mjpeg", rate=1)
        assert isinstance(sound, av.AudioStream) and isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        target.mux(cover.encode(picture))
        target.mux(cover.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        target.mux(sound.encode(silence))
        target.mux(sound.encode())
    with pytest.raises(InputError, match=r"song\.mp4 holds no video"):
        read(path, tmp_path)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_truncated_video_gives_the_frames_that_decode(tmp_path: Path, codec: str) -> None:
    path = write_video(
        tmp_path / "cut.mp4",
        textured_frames(40),
        codec=codec,
        container_options={"movflags": "faststart"},
    )
    video = read(cut_off(path, 0.6), tmp_path)
    assert 2 <= video.num_frames < 40
    assert [notice.code for notice in video.notices] == ["truncated_video"]
    assert "cut.mp4" in video.notices[0].message
    wanted = textured_frames(40)[: video.num_frames]
    assert np.abs(video.images.astype(float) - wanted).mean() < CODEC_ERROR


def test_a_truncated_matroska_file_is_noticed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mkv", textured_frames(40))
    assert read(path, tmp_path).notices == ()
    video = read(cut_off(path, 0.6), tmp_path)
    assert [notice.code for notice in video.notices] == ["truncated_video"]


def test_a_video_with_damage_in_the_middle_goes_on_after_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "hit.mp4", textured_frames(60))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(data))
    video = read(path, tmp_path)
    assert [notice.code for notice in video.notices] == ["truncated_video"]
    assert 20 < video.num_frames < 60


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp4", b"This is not a video.\n" * 100),
        ("notes.txt", b"This is not a video.\n" * 100),
        ("junk.mp4", np.random.default_rng(0).bytes(20_000)),
        ("empty.mp4", b""),
        (
            "playlist.mp4",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://example.invalid/a.ts\n",
        ),
    ],
)
def test_what_is_not_a_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=name):
        read(path, tmp_path)


def test_a_video_whose_table_is_missing_is_refused(video_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.mp4 is not a video that can be read"):
        read(cut_off(video_path, 0.5), tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4 does not exist"):
        read(tmp_path / "nowhere.mp4", tmp_path)


def test_one_frame_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "one.mp4", textured_frames(1))
    with pytest.raises(InputError, match=r"one\.mp4 has 1 frame; recon4d needs at least 2"):
        read(path, tmp_path)


def test_options_that_leave_one_frame_are_named(video_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"10 frames, but .*--stride 30.* keep 1; .* at least 2"):
        read(video_path, tmp_path, stride=30)


def test_two_frames_are_enough(tmp_path: Path) -> None:
    assert read(write_video(tmp_path / "two.mp4", textured_frames(2)), tmp_path).num_frames == 2


def with_times(folder: Path, times_ms: Sequence[int]) -> Path:
    """A video of frames at times that no encoder would write."""
    even = write_video(folder / "even.mkv", textured_frames(len(times_ms)), codec="mjpeg")
    path = folder / "still.mkv"
    with av.open(str(even)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                packet.pts = packet.dts = times_ms[packet.pts // 40]
                target.mux(packet)
    return path


def test_a_video_whose_times_never_advance_is_told_from_a_short_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_times(tmp_path, (80,) * 5)
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "still.mkv has 5 frames whose times do not advance: all are at 0.080000 s" in said
    assert "convert it again with times that rise" in said and "longer" not in said


def test_frames_that_do_not_advance_in_time_are_left_out(tmp_path: Path) -> None:
    video = read(with_times(tmp_path, (0, 40, 40, 80, 120)), tmp_path)
    assert video.sources == ("0", "1", "3", "4")
    assert [notice.code for notice in video.notices] == ["repeated_timestamps"]


def test_a_4k_video_is_reduced_to_the_working_size(tmp_path: Path) -> None:
    frames = np.full((2, 2160, 3840, 3), 90, np.uint8)
    frames[:, :1080, :1920] = 200
    video = read(write_video(tmp_path / "4k.mp4", frames), tmp_path)
    assert video.size == (512, 288) and video.source_size == (3840, 2160)
    assert abs(int(video.images[0, 70, 100, 1]) - 200) < CODEC_ERROR
    assert abs(int(video.images[0, 200, 400, 1]) - 90) < CODEC_ERROR


@pytest.mark.parametrize(
    ("source", "size", "expected"),
    [
        ((640, 480), 512, (512, 384)),
        ((854, 480), 512, (512, 288)),
        ((480, 854), 512, (288, 512)),
        ((1242, 375), 512, (512, 152)),
        ((130, 100), 512, (128, 96)),  # not enlarged, and 100 not rounded up to 104
        ((3840, 2160), 640, (640, 360)),
        ((640, 480), 450, (448, 336)),
    ],
)
def test_the_working_size_is_a_multiple_of_8_and_never_larger_than_the_input(
    source: tuple[int, int], size: int, expected: tuple[int, int]
) -> None:
    assert working_size(source, size) == expected


def test_pixels_that_are_not_square_become_square() -> None:
    assert working_size((720, 576), 512, pixel_aspect=64 / 45) == (512, 288)


def test_frames_too_small_to_work_with_are_refused() -> None:
    with pytest.raises(InputError, match=r"48x400 px, .* at least 64 px: give larger frames$"):
        working_size((48, 400), 512)
    with pytest.raises(InputError, match=r"80x800 px, .* at least 64 px: give a larger --size$"):
        working_size((80, 800), 512)


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    frame_bytes = 96 * 128 * 3
    peaks = []
    for count in (20, 200):
        path = write_video(
            tmp_path / f"{count}.mp4", textured_frames(20).repeat(count // 20, axis=0)
        )
        tracemalloc.start()
        try:
            assert read(path, tmp_path).num_frames == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    # names and times take some bytes per frame; holding the 180 further frames would be 180 * frame_bytes
    assert peaks[1] - peaks[0] < 5 * frame_bytes
