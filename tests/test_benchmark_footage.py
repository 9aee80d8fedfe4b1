"""The benchmark of footage: its figures without truth, how clips are found, and what becomes of a run."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import footage
from benchmarks.measure.common import Measured
from benchmarks.scores import one_run
from benchmarks.scores.footage import (
    _followed,
    figures,
    path_over_depth,
    tracked,
    upright,
)
from benchmarks.scores.sheet import write_sheet
from benchmarks.sets.shots import find_shots
from recon4d.core.errors import InputError
from recon4d.evaluate.steady import steadiness
from recon4d.flow import flow_method
from recon4d.io.pictures.files import read_rgb
from recon4d.results.folder import write_result
from recon4d.results.preview import write_preview
from recon4d.results.reconstruction import Reconstruction
from tests import needs
from tests.mini_sets import write_image
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import make_scene

SCORES = "tools/score_result.py"
JPEG_PX = 0.02
"""What the script, which reads the images from JPEG files, may see differently of the median, pixels."""


@pytest.fixture(scope="module")
def exact() -> Reconstruction:
    return exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))


def shifted(result: Reconstruction, step: float) -> Reconstruction:
    """Every camera a step further to the right than the one before."""
    poses = result.world_from_cam.copy()
    poses[:, 0, 3] += step * np.arange(len(result))
    return dataclasses.replace(result, world_from_cam=poses)


def part(
    result: Reconstruction, frames: int, size: tuple[int, int], **known: Any
) -> Reconstruction:
    """The first frames, and the upper left corner of them; `known` takes the place of what they hold."""
    height, width = size
    cameras = ("world_from_cam", "intrinsics", "timestamps_s", "sources")
    pixels = ("images", "depth", "confidence", "is_dynamic")
    values = {key: getattr(result, key)[:frames] for key in cameras}
    values |= {key: getattr(result, key)[:frames, :height, :width] for key in pixels}
    return dataclasses.replace(result, **(values | known))


def test_corners_are_where_an_exact_result_predicts_them(exact: Reconstruction) -> None:
    found = tracked(exact, 1)
    assert found is not None and found.median_px < 0.15 and found.bad < 0.02
    wrong = tracked(shifted(exact, 0.2), 1)
    assert wrong is not None and wrong.median_px > 3 and wrong.bad > 0.5
    assert tracked(exact, FRAMES) is None


def test_corners_of_a_fast_pan_begin_from_matches() -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (200, 400)).astype(np.uint8), (0, 0), 2)
    first, second = (np.ascontiguousarray(texture[:, at : at + 280]) for at in (0, 120))
    start, end = _followed(first, second, np.ones(first.shape, bool))
    assert len(start) > 50
    moved = np.abs(end - start - [-120, 0]).max(axis=1)
    assert np.median(moved) < 0.1 and (moved < 0.5).mean() > 0.95


@needs.shared_file(SCORES)
def test_tracked_corners_agree_with_the_independent_script(
    exact: Reconstruction, tmp_path: Path
) -> None:
    result = shifted(exact, 0.02)
    write_result(result, tmp_path / "result")
    write_preview(result, tmp_path / "result/preview.png")
    command = [sys.executable, str(needs.shared(SCORES)), str(tmp_path / "result"), "--tracked"]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for step in (1, 5):
        found = tracked(result, step)
        assert found is not None
        assert found.median_px == pytest.approx(said[f"track{step}_px"], abs=JPEG_PX)
        assert found.p90_px == pytest.approx(said[f"track{step}_p90_px"], rel=0.1)


def test_masks_that_go_with_the_picture_are_steady(exact: Reconstruction) -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (120, 200, 3)).astype(np.uint8), (0, 0), 2)
    images = np.stack([texture[:, 4 * k : 4 * k + 160] for k in range(5)])
    goes = np.zeros((5, 120, 160), bool)
    for k in range(5):
        goes[k, 30:60, 60 - 4 * k : 90 - 4 * k] = True
    jumps = goes.copy()
    jumps[::2] = np.roll(goes[::2], 20, axis=2)

    def of(masks: np.ndarray) -> float | None:
        result = part(exact, 5, SIZE[::-1], images=images, is_dynamic=masks)
        return steadiness(result, flow_method("dis"), threads=1)

    steady, unsteady = of(goes), of(jumps)
    assert steady is not None and steady > 0.9
    assert unsteady is not None and unsteady < 0.5
    assert of(np.zeros_like(goes)) is None


def test_a_ground_that_is_nearer_at_the_bottom_is_upright(exact: Reconstruction) -> None:
    rows = np.linspace(3, 1, SIZE[1], dtype=np.float32)[:, None]
    depth = np.broadcast_to(rows, exact.depth.shape).copy()
    none = np.zeros_like(exact.is_dynamic)
    right = dataclasses.replace(exact, depth=depth, is_dynamic=none)
    assert upright(right) == 1
    half = depth.copy()
    half[: FRAMES // 2] = 1 / half[: FRAMES // 2]
    assert upright(dataclasses.replace(right, depth=half)) == 0.5
    assert upright(dataclasses.replace(right, depth=np.zeros_like(depth))) is None
    moving = none.copy()
    moving[:, SIZE[1] // 2 :] = True
    assert upright(dataclasses.replace(right, is_dynamic=moving)) is None


def test_the_path_is_in_depths(exact: Reconstruction) -> None:
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(FRAMES)
    walk = dataclasses.replace(exact, world_from_cam=poses, depth=np.full_like(exact.depth, 2.0))
    assert path_over_depth(walk) == pytest.approx(0.05 * (FRAMES - 1))
    nothing = np.zeros_like(exact.confidence)
    assert path_over_depth(dataclasses.replace(walk, confidence=nothing)) is None


def test_focal_lengths_are_over_the_width(exact: Reconstruction) -> None:
    k = exact.intrinsics.copy()
    k[:, 0] = np.linspace(160, 320, FRAMES)
    found = figures(dataclasses.replace(exact, intrinsics=k), flow_method("dis"), threads=1)
    assert (found.focal_low, found.focal_high) == (1.0, 2.0)
    assert set(found.tracked) == {"1", "5"}


def make_davis(root: Path, *names: str) -> None:
    for name in names:
        for i in range(4):
            write_image(
                root / f"JPEGImages/480p/{name}/{i:05d}.png", np.zeros((24, 32, 3), np.uint8)
            )
            moving = np.zeros((24, 32), np.uint8)
            moving[8:16, 4:12] = 255
            write_image(root / f"Annotations/480p/{name}/{i:05d}.png", moving)


def test_clips_are_found_in_davis_among_videos_and_in_folders(tmp_path: Path) -> None:
    make_davis(tmp_path / "davis", "goat", "bear")
    write_image(tmp_path / "mine/walk/1.png", np.zeros((24, 32, 3), np.uint8))
    (tmp_path / "mine/beach.MP4").write_text("")
    (tmp_path / "mine/notes.txt").write_text("")
    found = find_shots([tmp_path / "davis", tmp_path / "mine", tmp_path / "mine/walk"])
    names = [shot.name for shot in found]
    assert names == ["davis/bear", "davis/goat", "mine/beach.MP4", "mine/walk", "walk"]
    assert [shot.truth is not None for shot in found] == [True, True, False, False, False]
    with pytest.raises(InputError, match="both called davis/bear"):
        find_shots([tmp_path / "davis", tmp_path / "davis"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither videos nor folders of pictures"):
        find_shots([tmp_path / "empty"])
    with pytest.raises(InputError, match="is no folder"):
        find_shots([tmp_path / "nowhere"])


class FakeRuns:
    """Takes the place of the real command: writes a result that is exact, or fails."""

    def __init__(self, result: Reconstruction) -> None:
        self.result, self.commands = result, list[list[str]]()

    def __call__(self, command: Sequence[str]) -> Measured:
        self.commands.append(list(command))
        source, out = Path(command[command.index("run") + 1]), Path(command[-2])
        if source.name == "lost":
            return Measured(2, 1.5, 100.0, f"recon4d: error: nothing to track in {source}")
        write_result(self.result, out)
        write_preview(self.result, out / "preview.png")
        return Measured(0, 2.5, 200.0, "")


@pytest.fixture
def runs(exact: Reconstruction, monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    moving = np.zeros((4, 48, 64), bool)
    moving[:, 16:32, 8:16] = True  # the left half of the truth
    run = {"posed": 4, "frames": 4, "warnings": [{"code": "odd", "message": "x"}]}
    run |= {"motion": {"kind": "turning"}, "static_flow_residual_px": {"1": 0.25}}
    sources = tuple(f"{i:05d}.png" for i in range(4))
    result = part(exact, 4, (48, 64), is_dynamic=moving, sources=sources, run=run)
    fake = FakeRuns(result)
    monkeypatch.setattr(one_run, "measure", fake)
    return fake


def test_every_clip_is_a_row_and_its_preview_is_on_the_sheet(
    runs: FakeRuns, tmp_path: Path
) -> None:
    make_davis(tmp_path / "davis", "goat", "lost")
    out, keep = tmp_path / "page.md", tmp_path / "kept"
    words = ["--data", str(tmp_path / "davis"), "--out", str(out), "--keep", str(keep)]
    footage.main([*words, "--size", "64"])
    assert all(command[-5:-3] == ["--seed", "0"] for command in runs.commands)
    assert all("--size 64" in " ".join(command) for command in runs.commands)
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert rows["davis/goat"]["jaccard"] == 0.5 and rows["davis/goat"]["motion"] == "turning"
    assert str(tmp_path) not in out.read_text() + out.with_suffix(".json").read_text()
    page = out.read_text()
    assert "| davis/goat | 4/4 | turning | " in page and "| 0.25 / - / - |" in page
    assert "* davis/goat: odd" in page
    assert "davis/lost: **failed**: exit 2: recon4d: error: nothing to track" in page
    assert (keep / "davis/goat/run.json").is_file()
    sheet = read_rgb(keep / "previews.png")
    assert sheet[:, :960].std() > 10 and sheet[:, 972:].std() > 1

    make_davis(tmp_path / "davis", "bear")
    footage.main([*words, "--size", "64", "--only", "bear"])
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert list(rows) == ["davis/bear", "davis/goat", "davis/lost"]
    count = len(runs.commands)
    footage.main([*words, "--size", "64", "--resume", "--only", "goat"])
    assert len(runs.commands) == count, "goat was finished"
    with pytest.raises(SystemExit, match="holds results of other settings"):
        footage.main([*words, "--size", "96"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "moon"], r"no clip contains 'moon'; there are: davis/goat"),
        (["--resume", "--seed", "3"], "--seed is the benchmark's own"),
        (["--siez", "3"], "there is no option --siez"),
    ],
)
def test_what_would_fail_everywhere_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    make_davis(tmp_path / "davis", "goat")
    common = ["--data", str(tmp_path / "davis"), "--out", str(tmp_path / "p.md")]
    with pytest.raises(SystemExit, match=said):
        footage.main([*common, *words])
    assert [path.name for path in tmp_path.iterdir()] == ["davis"]


def test_a_sheet_has_two_previews_beside_each_other(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((50, 100, 3), 200, np.uint8))
    (tmp_path / "damaged.png").write_text("")
    shown: dict[str, Path | str] = {name: tmp_path / "a.png" for name in "abc"}
    write_sheet(tmp_path / "s.png", shown | {"bad": tmp_path / "damaged.png", "lost": "exit 2"})
    sheet = read_rgb(tmp_path / "s.png")
    assert sheet.shape[1] == 2 * 960 + 12
    assert (sheet[40:500, :960] == 200).mean() > 0.9 and (sheet[40:500, 972:] == 200).mean() > 0.9
