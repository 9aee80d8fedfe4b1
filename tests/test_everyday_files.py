"""Pictures and videos as people have them, through the real command: what is read, and what is said about it."""

import json
import os
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorTrc

from recon4d import cli
from recon4d.io.hdr import TO_BT709, standard_range
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.names import times_of
from recon4d.io.read import read_video
from recon4d.results.folder import read_result
from tests.media import textured_frames, write_images, write_video
from tests.test_run_refused import INTRINSICS, refused

QUICK = ("--masks", "residual", "--loop", "0", "--readout", "0", *INTRINSICS)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def warnings(folder: str = "out") -> dict[str, str]:
    """Messages of a result by their code."""
    run = json.loads(Path(folder, "run.json").read_text())
    return {warning["code"]: warning["message"] for warning in run["warnings"]}


@pytest.mark.parametrize(
    "ending", ["mkv", *(pytest.param(x, marks=pytest.mark.slow) for x in ("mp4", "avi"))]
)
def test_a_title_that_is_not_utf8_does_not_matter(
    ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"in.{ending}")
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "CAFEXMARKER"
        stream = container.add_stream("mpeg4", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.bit_rate = 128, 96, 8_000_000
        for pixels in textured_frames(6):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"CAFEXMARKER" in data
    path.write_bytes(data.replace(b"CAFEXMARKER", b"CAF\xc9 \xfc\xdf\xe4 1"))
    assert cli.main(["info", str(path)]) == 0
    assert cli.main(["run", str(path), "--out", "out", *QUICK]) == 0
    assert len(read_result(Path("out")).sources) == 6


STRANGE = (b"caf\xe9", b"two\nlines", "a\u2028b".encode(), b" leading and trailing ", b'"quoted"')


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_strange_names_are_read_written_and_read_back(
    name: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(os.fsdecode(b"in " + name))
    names = [os.fsdecode(name + b"%d.png" % index) for index in range(4)]
    write_images(Path("plain"), textured_frames(4))
    folder.mkdir()
    for source, wanted in zip(sorted(Path("plain").iterdir()), names, strict=True):
        source.rename(folder / wanted)
    out = os.fsdecode(b"out " + name)
    assert cli.main(["run", str(folder), "--out", out, *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "\n lines" not in shown and "\u2028" not in shown and "\udce9" not in shown
    result = read_result(Path(out))
    assert result.sources == tuple(names)
    for words in (["info", out], ["export", out, "--to", "nerfstudio"]):
        assert cli.main(words) == 0
    if name != STRANGE[0]:
        return  # the others are ordinary text in TOML
    assert cli.main(["export", out, "--to", "nerfstudio", "--depth-size", "original"]) == 0
    again = ["run", "--config", os.path.join(out, "config.toml"), "--out", "again"]
    assert cli.main(again) == 0
    assert read_result(Path("again")).sources == tuple(names)


def test_heic_among_jpeg_is_read_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    frames = textured_frames(4)
    write_images(Path("in"), frames, [f"IMG_{index}.jpg" for index in range(4)])
    for index in (1, 3):
        Path(f"in/IMG_{index}.jpg").unlink()
        image = pillow_heif.from_bytes(
            "RGB", (128, 96), np.ascontiguousarray(frames[index]).tobytes()
        )
        image.save(f"in/IMG_{index}.HEIC", quality=95)
    assert cli.main(["run", "in", "--out", "out", *QUICK]) == 0
    result = read_result(Path("out"))
    assert result.sources == ("IMG_0.jpg", "IMG_1.HEIC", "IMG_2.jpg", "IMG_3.HEIC")
    # lossy twice; another picture would differ by more than 30
    assert np.abs(result.images.astype(int) - frames).mean() < 6


def test_a_jpeg_that_is_called_heic_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(3), [f"IMG_{index}.jpg" for index in range(3)])
    Path("in/IMG_1.jpg").rename("in/IMG_1.HEIC")
    assert cli.main(["info", "in"]) == 0
    video = read_video(Path("in"), ReadOptions(), made("stage"))
    assert video.sources == ("IMG_0.jpg", "IMG_1.HEIC", "IMG_2.jpg")


def test_heic_without_its_package_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    write_images(Path("in"), textured_frames(3), ["a0.jpg", "a2.jpg", "a3.jpg"])
    Path("in/a1.heic").write_bytes(b"....ftypheic")
    assert "pip install 'recon4d[heic]'" in refused(["run", "in"], capsys)


def test_pictures_that_are_not_read_are_named_and_raw_beside_jpeg_is_the_same_picture() -> None:
    write_images(Path("in"), textured_frames(4), [f"P{index}.jpg" for index in range(4)])
    Path("in/P1.CR3").write_bytes(b"raw")
    Path("in/Q.dng").write_bytes(b"raw")
    assert cli.main(["run", "in", "--out", "out", *QUICK]) == 0
    said = warnings()["pictures_left_out"]
    assert "1 pictures of in" in said and "Q.dng" in said and "CR3" not in said


@pytest.mark.parametrize("bits", [12, *(pytest.param(x, marks=pytest.mark.slow) for x in (10, 14))])
def test_values_of_fewer_bits_in_16_bit_pictures_are_stretched(bits: int) -> None:
    frames = textured_frames(4)
    write_images(Path("in"), frames.astype(np.uint16) << (bits - 8))
    assert cli.main(["run", "in", "--out", "out", *QUICK]) == 0
    assert f"use {bits}" in warnings()["bits_stretched"]
    video = read_video(Path("in"), ReadOptions(), made("stage"))
    np.testing.assert_array_equal(video.images, frames)


def made(name: str) -> Path:
    Path(name).mkdir()
    return Path(name)


@pytest.mark.parametrize(
    ("stems", "times"),
    [
        (
            ["1403636579763555584", "1403636579813555456"],
            [1403636579.763555584, 1403636579.813555456],
        ),
        (["1403636579763555", "1403636579813555"], [1403636579.763555, 1403636579.813555]),
        (["1403636579763", "1403636579813"], [1403636579.763, 1403636579.813]),
        (["1305031102.175304", "1305031102.2"], [1305031102.175304, 1305031102.2]),
        (["0.1", "0.2", "0.25"], [0.1, 0.2, 0.25]),
        ([f"1.{index}" for index in range(1, 13)], None),
        ([f"1.{index}" for index in range(8, 13)], None),
        ([f"1.{index}" for index in range(8, 18) if index not in (10, 13)], None),
        ([f"{take}.{index}" for take in (1, 2) for index in range(7, 12)], None),
        (["0.1", "0.15", "0.2", "0.25"], [0.1, 0.15, 0.2, 0.25]),
        (["0.5", "1.25", "1.75"], [0.5, 1.25, 1.75]),
        ([f"{index:019d}" for index in range(3)], None),
        ([f"{index:016d}" for index in range(3)], None),
        (["frame1", "frame2"], None),
        (["0001", "0002"], None),
    ],
)
def test_names_are_times_or_counters(stems: list[str], times: list[float] | None) -> None:
    assert times_of(stems) == pytest.approx(times, abs=1e-6) if times else times_of(stems) is None


def test_counted_takes_are_in_their_order() -> None:
    names = [f"1.{index}.png" for index in range(1, 13)]
    write_images(Path("in"), textured_frames(12), names)
    video = read_video(Path("in"), ReadOptions(), made("stage"))
    assert video.sources == tuple(names)
    np.testing.assert_allclose(np.diff(video.timestamps_s), 1 / 30)


def nanoseconds(count: int) -> list[str]:
    return [f"{1403636579763555584 + 50_000_000 * index}.png" for index in range(count)]


def test_stamps_in_nanoseconds_are_times() -> None:
    write_images(Path("in"), textured_frames(4), nanoseconds(4))
    video = read_video(Path("in"), ReadOptions(), made("stage"))
    np.testing.assert_allclose(np.diff(video.timestamps_s), 0.05, atol=1e-6)


@pytest.mark.parametrize(
    ("transfer", "white"), [(ColorTrc.SMPTE2084, 0.58), (ColorTrc.ARIB_STD_B67, 0.75)]
)
def test_high_dynamic_range_is_tone_mapped_and_said(transfer: ColorTrc, white: float) -> None:
    """A grey ramp up to diffuse white keeps its order, white is bright, and black is black."""
    signal = np.linspace(0, white, 128)
    ramp = np.repeat((signal * 255).astype(np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    with av.open("in.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
        stream.codec_context.color_trc = int(transfer)
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(ramp, format="rgb24")
            frame.color_trc = int(transfer)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = read_video(Path("in.mp4"), ReadOptions(), made("stage"))
    assert [notice.code for notice in video.notices] == ["tone_mapped"]
    row = video.images[0, 48].mean(-1)
    assert row[:3].mean() < 12 and row[-3:].mean() > 150
    assert (np.diff(np.convolve(row, np.ones(5) / 5, "valid")) > -3).all()


def test_colours_of_hlg_get_the_gamma_of_their_luminance() -> None:
    """BT.2100-2, table 5: F = 1000 Y^0.2 E, so that ratios between the channels stay those of the scene."""
    signal = np.array([0.6, 0.3, 0.2])
    y = signal @ (0.2627, 0.6780, 0.0593)
    chroma = (signal[[2, 0]] - y) / (1.8814, 1.4746)  # BT.2020's Cb and Cr
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, level in zip(frame.planes, (219 * y + 16, *(224 * chroma + 128)), strict=True):
        plane.update(np.full(plane.buffer_size // 2, round(4 * level), np.uint16).tobytes())
    frame.colorspace, frame.color_range, frame.color_trc = 9, 1, int(ColorTrc.ARIB_STD_B67)
    scene = np.where(signal <= 0.5, signal**2 / 3, 0)
    scene[0] = (np.exp((0.6 - 0.55991073) / 0.17883277) + 0.28466892) / 12
    light = TO_BT709 @ scene
    shown = standard_range(frame)[32, 32].astype(float) / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear / linear.sum(), light / light.sum(), atol=0.01)


def test_a_picture_that_claims_too_many_pixels_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(2))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    data = Path("in/0001.png").read_bytes()
    Path("in/0001.png").write_bytes(data[:8] + chunk + data[33:])
    sentence = refused(["run", "in"], capsys)
    assert "0001.png cannot be decoded" in sentence and "2^30" in sentence


def test_a_matroska_duration_that_is_no_time_does_not_matter() -> None:
    path = write_video(Path("in.mkv"), textured_frames(6))
    data = path.read_bytes()
    at = data.index(b"00:00:0")
    path.write_bytes(data[:at] + b"soon:ish" + data[at + 8 :])
    video = read_video(path, ReadOptions(), made("stage"))
    assert video.num_frames == 6


@pytest.mark.parametrize("kind", ["loop", "long name", "long path"])
def test_inputs_that_no_file_system_has_are_refused_in_a_sentence(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "loop":
        Path("loop").symlink_to("loop")
    path = {"loop": "loop", "long name": "n" * 300, "long path": "d/" * 3000}[kind]
    sentence = refused(["run", path], capsys)
    assert "recon4d: error: " in sentence and "OpenCV" not in sentence
