"""Dissolves between two places are named as cuts."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.run.dissolves import find_dissolves
from tests.media import write_images
from tests.synthetic import make_scene

SIZE, BLENDED = (160, 120), 8


@cache
def clip(seed: int, count: int = 16) -> np.ndarray:
    return make_scene(count, SIZE, seed=seed).video.images


def dissolve(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`BLENDED` frames of both are blended: 8 frames, then frames 8 to 15, then 8 more."""
    share = (np.arange(BLENDED) + 1)[:, None, None, None] / (BLENDED + 1)
    mixed = (1 - share) * before[-BLENDED:] + share * after[:BLENDED]
    parts = (before[:-BLENDED], mixed.round().astype(np.uint8), after[BLENDED:])
    return np.concatenate(parts)


def test_a_dissolve_is_named_with_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), dissolve(clip(5)[3:], clip(77)[:13]))
    argv = ["run", "in", "--masks", "none", "--loop", "0", "--intrinsics", "140,140,79.5,59.5"]
    assert cli.main(argv) == 0
    warnings = json.loads(Path("in_recon4d/run.json").read_text())["warnings"]
    (found,) = [warning for warning in warnings if warning["code"] == "dissolve"]
    assert set(found["frames"]) <= set(range(4, 14)) and len(found["frames"]) >= 3
    assert (
        f"Frames {found['frames'][0]} to {found['frames'][-1]} blend one place" in found["message"]
    )
    assert f"warning:    {found['message']}" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", [(5, 3), (3, 8), (8, 77)])
def test_dissolves_are_found(seeds: tuple[int, int]) -> None:
    assert len(find_dissolves(dissolve(clip(seeds[0]), clip(seeds[1])))) == 1


@pytest.mark.parametrize("seed", [3, 5, 8, 77])
def test_a_camera_in_one_place_shows_none(seed: int) -> None:
    assert find_dissolves(clip(seed)) == []


def test_neither_do_cuts_turns_and_blank_frames() -> None:
    assert find_dissolves(np.concatenate((clip(5), clip(77)))) == []
    turning = make_scene(16, SIZE, seed=4, path="turning").video.images
    assert find_dissolves(turning) == []
    assert find_dissolves(np.zeros((12, 96, 128, 3), np.uint8)) == []
    assert find_dissolves(clip(5)[:2]) == []
    noise = np.random.default_rng(0).integers(0, 255, (16, 96, 128, 3), np.uint8)
    assert find_dissolves(noise) == []
