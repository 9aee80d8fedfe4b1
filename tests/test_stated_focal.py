"""A focal length in millimetres, of the user or of EXIF: where the search for it begins, no truth."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d import cli
from recon4d.core.errors import ConfigError
from recon4d.io.camera import Camera, stated_focal
from recon4d.io.frames import Source
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.exif import focal_35mm
from recon4d.io.read import open_source, read_opened, read_video
from recon4d.optim.setting import expected_focal_px
from recon4d.run.focal_source import focal_notices
from recon4d.settings.text import build
from tests.media import textured_frames, write_images
from tests.test_uncertainty import wall

FILM = 26
"""Millimetres that the pictures state: a phone's."""
PIXELS = 26 / 43.27 * 160
"""Of pictures of 128x96 px."""


def exif(focal: int, order: str = "<") -> bytes:
    """As TIFF has it: a directory with the place of EXIF's, and that with one entry of another kind before ours."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    first = struct.pack(f"{order}HHHIII", 1, 0x8769, 4, 1, 26, 0)
    focals = struct.pack(f"{order}HHIHH", 0xA405, 3, 1, focal, 0)
    other = struct.pack(f"{order}HHII", 0x829A, 5, 1, 0)
    return head + first + struct.pack(f"{order}H", 2) + other + focals + struct.pack(f"{order}I", 0)


def photograph(path: Path, focal: int, order: str = "<", frame: int = 0) -> Path:
    stated = np.frombuffer(exif(focal, order), np.uint8)
    pixels = np.ascontiguousarray(textured_frames(3)[frame])
    kind = [cv2.IMAGE_METADATA_EXIF]
    assert cv2.imwriteWithMetadata(str(path), pixels, kind, [stated])
    return path


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for index in range(3):
        photograph(folder / f"{index}.jpg", FILM, frame=index)
    return folder


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_tells_the_focal_length_for_35_mm_film(
    tmp_path: Path, suffix: str, order: str
) -> None:
    assert focal_35mm(photograph(tmp_path / f"a.{suffix}", FILM, order)) == FILM


def test_a_tiff_and_a_heif_have_it_in_places_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(exif(FILM))
    assert focal_35mm(tmp_path / "a.tif") == FILM
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    image = heif.from_bytes("RGB", (128, 96), textured_frames(1)[0].tobytes())
    image.save(tmp_path / "a.heic", exif=exif(FILM))
    assert focal_35mm(tmp_path / "a.heic") == FILM


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", exif(0), exif(9999), exif(FILM)[:30], b"II*\0" + b"\xff" * 40]
)
def test_what_tells_none_is_no_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.tif", "a.jpg", "a.heic"):
        (tmp_path / name).write_bytes(content)
        assert focal_35mm(tmp_path / name) is None
    assert focal_35mm(write_images(tmp_path / "in", textured_frames(1)) / "0000.png") is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((None, None, None), None),
        ((None, None, 26.0), 26 / 43.2666 * 500),
        ((50.0, None, 26.0), 50 / 43.2666 * 500),
        ((4.2, 5.6, 26.0), 300.0),
    ],
)
def test_millimetres_become_pixels(
    given: tuple[float | None, float | None, float | None], wanted: float | None
) -> None:
    for size in ((400, 300), (300, 400)):
        assert stated_focal(size, *given) == (wanted and pytest.approx(wanted, rel=1e-4))


def test_the_search_begins_where_pictures_or_user_say(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in")
    for name, options, wanted in (
        ("a", ReadOptions(), PIXELS),
        ("b", ReadOptions(focal_mm=4.0, sensor_mm=8.0), 64.0),
    ):
        (tmp_path / name).mkdir()
        video = read_video(folder, options, tmp_path / name)
        assert video.intrinsics is None and expected_focal_px(video) == pytest.approx(wanted)
    (tmp_path / "c").mkdir()
    known = read_video(folder, ReadOptions(intrinsics="90,90,63.5,47.5"), tmp_path / "c")
    assert known.stated_focal_px is None


def test_a_lens_that_was_found_enlarges_it_with_the_pictures(tmp_path: Path) -> None:
    opened: Source = open_source(photographs(tmp_path / "in"), ReadOptions())
    lens = Camera(100.0, 100.0, 64.0, 48.0, (0.2, 0.0, 0.0, 0.0))
    (tmp_path / "read").mkdir()
    video = read_opened(opened, ReadOptions(), tmp_path / "read", found=lens)
    assert video.stated_focal_px is not None and video.stated_focal_px > 1.02 * PIXELS


def test_a_camera_that_stands_still_has_what_is_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 2, (5, 96, 128, 3))
    still = (textured_frames(1) + noise).clip(0, 255).astype(np.uint8)
    write_images(Path("in"), still)
    fast = ("--masks", "none", "--loop", "0", "--lens", "pinhole", "--readout", "0", "--out", "out")
    assert cli.main(["run", "in", *fast, "--focal-mm", "4", "--sensor-mm", "5"]) == 0
    run = json.loads(Path("out/run.json").read_text())
    assert run["focal_source"] == "assumed" and run["focal_stated_px"] == pytest.approx(102.4)
    assert run["focal_px"][0] == pytest.approx(102.4, rel=0.02)


def test_another_focal_length_than_the_stated_one_is_said() -> None:
    scene = wall(0)[0]
    found = float(scene.intrinsics[0, 0])
    assert not focal_notices("estimated", scene, 1.1 * found)
    (notice,) = focal_notices("estimated", scene, 1.4 * found)
    assert notice.code == "focal_not_as_stated" and f"{1.4 * found:.0f} px" in notice.message
    (notice,) = focal_notices("estimated", replace(scene, focal_std=0.5), 1.4 * found)
    assert notice.code == "focal_unsure" and f"is {1.4 * found:.0f} px" in notice.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensor_mm": 5}, "--sensor-mm 5 is the sensor of a focal length in millimetres"),
        ({"focal_mm": 5, "intrinsics": "1,1,1,1"}, "--focal-mm 5 is where the search for it"),
        ({"focal_mm": 0}, "focal_mm must be from 0.1"),
        ({"readout": "abc"}, "readout must be a number or auto, got 'abc'"),
    ],
)
def test_millimetres_that_say_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build({"input": "in", **options})
    assert message in str(caught.value)


def test_a_focal_length_that_no_camera_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(3))
    assert cli.main(["run", "in", "--focal-mm", "500", "--sensor-mm", "5"]) == 2
    assert "100 times as long as the images are wide, needed 0.1 to 20" in capsys.readouterr().err
