"""RGB-D recordings as phones and capture apps leave them: `recon4d run` finds the unit, the partners, and says so."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

import recon4d
from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.io.rgbd.captures import match_depth
from recon4d.io.rgbd.unit import find_depth_unit, guess_depth_unit
from tests.media import textured_frames, write_images
from tests.paths import centres, similarity
from tests.synthetic import SyntheticScene, make_scene

COUNT, SIZE = 8, (160, 120)
FAST = ("--masks", "none", "--loop", "0")
"""What is about reading needs no masks."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def world() -> SyntheticScene:
    return make_scene(COUNT, SIZE, seed=6)


def intrinsics() -> str:
    known = world().video.intrinsics
    assert known is not None
    fx, fy, cx, cy = known
    return f"{fx} {fy} {cx - 0.5} {cy - 0.5}"


def small_depth() -> np.ndarray:
    """A quarter of the pixels, each the depth at its centre: the mean of four neighbours' inverse depth."""
    inverse = 1 / world().depth
    return np.asarray(1 / inverse.reshape(COUNT, SIZE[1] // 2, 2, SIZE[0] // 2, 2).mean((2, 4)))


def write_capture(folder: Path, factor: float, *, lists: bool = True, depth: str = "depth") -> None:
    """A recording whose depth images have a quarter of the colour's pixels."""
    names = [f"{index / 15:.6f}.png" for index in range(COUNT)]
    write_images(folder / "rgb", world().video.images, names)
    stored = np.round(small_depth() * factor).astype(np.uint16)
    write_images(folder / depth, stored, names)
    (folder / "intrinsics.txt").write_text(intrinsics())
    for kind in ("rgb", "depth") if lists else ():
        (folder / f"{kind}.txt").write_text("".join(f"{n[:-4]} {kind}/{n}\n" for n in names))


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    result: recon4d.Reconstruction
    screen: str

    @property
    def warnings(self) -> dict[str, str]:
        found = self.result.run["warnings"]
        assert isinstance(found, list)
        return {warning["code"]: warning["message"] for warning in found}

    @property
    def scale(self) -> float:
        """Truth over result, of the depth; the path of so small a video is less exact."""
        found, truth = self.result.world_from_cam, world().scene.world_from_cam
        assert similarity(centres(found), centres(truth))[0] == pytest.approx(1, abs=0.15)
        return float(np.median(world().depth / self.result.depth))


def done(capsys: pytest.CaptureFixture[str], *argv: str) -> Done:
    code = cli.main(["run", "in", "--out", "out", *FAST, *argv])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in", "out"]
    return Done(recon4d.load("out"), out)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    code = cli.main(["run", "in", "--out", "out", *FAST, *argv])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert [path.name for path in Path.cwd().iterdir()] == ["in"]
    return err.splitlines()[-1]


def test_millimetres_are_found_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(Path("in"), 1000)
    run = done(capsys, "--geometry", "rgbd")
    assert run.scale == pytest.approx(1, abs=0.01)
    assert "taken for 1000 to the metre" in run.warnings["depth_unit"]
    assert "--depth-factor" in run.warnings["depth_unit"]
    assert f"warning:    {run.warnings['depth_unit']}" in run.screen
    assert "scale:      metres, depth images 1000 to the metre\n" in run.screen
    assert run.result.run["depth_factor"] == 1000


def test_a_stated_factor_is_used_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(Path("in"), 2500)
    run = done(capsys, "--geometry", "rgbd", "--depth-factor", "2500")
    assert run.scale == pytest.approx(1, abs=0.01)
    assert "depth_unit" not in run.warnings
    assert json.loads(Path("out/run.json").read_text())["depth_factor"] == 2500


def test_the_benchmark_s_own_unit_stays_the_one_without_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_capture(Path("in"), 5000)
    run = done(capsys, "--geometry", "rgbd", "--depth-factor", "auto")
    assert run.scale == pytest.approx(1, abs=0.01)
    assert "depth_unit" not in run.warnings


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--geometry", "rgbd", "--depth-factor", "0"], "depth_factor must be from 0.001 to 1e+06"),
        (
            ["--geometry", "rgbd", "--depth-factor", "mm"],
            "depth_factor must be a number or auto, got 'mm'",
        ),
        (["--depth-factor", "1000"], "--geometry parallax does not read; add --geometry rgbd"),
    ],
)
def test_a_factor_that_means_nothing_is_refused(
    options: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    assert answer in refused(capsys, *options)


def test_depth_that_is_not_used_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(Path("in"), 1000)
    run = done(capsys)
    assert (
        "in has depth images, which are not used; --geometry rgbd" in run.warnings["depth_not_used"]
    )
    assert run.result.run["depth_factor"] is None


def test_folders_without_lists_are_read_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(Path("in"), 1000, lists=False)
    Path("in/depth/0.200000.png").unlink()
    run = done(capsys, "--geometry", "rgbd")
    assert run.scale == pytest.approx(1, abs=0.01)
    assert run.result.sources[2] == "0.133333.png"
    assert "1 of 8 colour images have no depth image" in run.warnings["frames_without_depth"]


@pytest.mark.parametrize(("colour", "depth"), [("color", "Depth"), ("images", "depths")])
def test_the_usual_names_of_such_folders_are_known(
    colour: str, depth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_capture(Path("in"), 1000, lists=False, depth=depth)
    Path("in/rgb").rename(f"in/{colour}")
    assert cli.main(["info", "in"]) == 0
    assert "depth:      sensor depth, used by --geometry rgbd" in capsys.readouterr().out


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in/depth"), np.ones((3, 96, 128), np.uint16))
    sentence = refused(capsys)
    assert "its folder depth holds depth images: colour images are needed" in sentence
    write_images(Path("in/rgb"), textured_frames(4), ["a.png", "b.png", "c.png", "d.png"])
    sentence = refused(capsys, "--geometry", "rgbd")
    assert "4 colour images (a.png, ...) and 3 depth images (0000.png, ...)" in sentence
    assert "name them alike, or write rgb.txt and depth.txt" in sentence
    for path in Path("in/depth").iterdir():
        path.rename(path.with_suffix(".exr"))
    sentence = refused(capsys, "--geometry", "rgbd")
    assert "in/depth holds .exr files, but no depth images; 16-bit PNG files" in sentence


def test_a_folder_of_colour_is_advised_before_others(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in/confidence"), textured_frames(2))
    write_images(Path("in/rgb"), textured_frames(2))
    assert "its folder rgb holds 2: give in/rgb" in refused(capsys)


@pytest.mark.parametrize(
    ("names", "depths", "expected"),
    [
        (["a.jpg", "b.jpg"], ["b.png"], [None, 0]),
        (["rgb_1.jpg", "rgb_2.jpg"], ["depth_0001.png", "depth_0002.png"], [0, 1]),
        (["1.jpg", "2.jpg"], ["2_depth.png"], [None, 0]),
        (["c1.jpg", "c2.jpg"], ["d0.png", "d1.png"], [0, 1]),  # counted from another number
        (["x.jpg", "y.jpg"], ["p.png", "q.png"], [0, 1]),
    ],
)
def test_depth_finds_its_colour(
    names: list[str], depths: list[str], expected: list[int | None]
) -> None:
    paths = [Path(name) for name in depths]
    found = match_depth(names, paths, Path("in"))
    assert found == [None if index is None else paths[index] for index in expected]


def room(near: float, middle: float, far: float) -> np.ndarray:
    """Depth in metres with these 5, 50 and 95 % points."""
    parts = np.linspace(0, 1, 10_001)
    return np.interp(parts, (0, 0.05, 0.5, 0.95, 1), (near, near, middle, far, far))


@pytest.mark.parametrize(
    "points", [(0.5, 0.9, 1.6), (0.6, 1.8, 4.0), (0.9, 2.2, 2.8), (0.5, 1.0, 2.5), (0.9, 2.1, 3.1)]
)
@pytest.mark.parametrize("factor", [1000, 5000])
def test_the_unit_of_usual_scenes_is_told_by_their_values(
    points: tuple[float, float, float], factor: int
) -> None:
    values = np.round(room(*points) * factor).astype(np.uint16)
    assert guess_depth_unit(values).factor == factor


def test_millimetres_times_five_are_known_whatever_they_show() -> None:
    values = 5 * np.round(room(0.3, 0.4, 0.6) * 1000).astype(np.uint16)
    assert guess_depth_unit(values).factor == 5000
    assert guess_depth_unit(values + 1).factor == 1000


def test_a_doubtful_unit_is_said() -> None:
    unit = guess_depth_unit(np.round(room(0.6, 1.8, 4.0) * 2400 + 1).astype(np.uint16))
    assert unit.factor == 5000 and "which is doubtful" in unit.notices[0].message
    assert guess_depth_unit(np.zeros(0, np.uint16)).factor == 5000


def test_the_unit_is_decided_once_for_all_images(tmp_path: Path) -> None:
    """A hand that comes near in some images does not change it."""
    for index, metres in enumerate((0.3, 2.0, 2.5, 3.0)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((4, 4), metres * 5000, np.uint16))
    paths = sorted(tmp_path.iterdir())
    assert find_depth_unit(paths, None).factor == 5000
    assert find_depth_unit(paths, 300.0).factor == 300
    cv2.imwrite(str(tmp_path / "0.png"), np.full((4, 4), 9, np.uint8))
    with pytest.raises(InputError, match=r"0\.png has 1 channels of uint8: a picture of depth"):
        find_depth_unit(paths, None)
