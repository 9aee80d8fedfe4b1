"""The benchmark of given depth: its network errs as it says, and its maps lie where `recon4d run` looks for them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import depth_guides
from benchmarks.measure.simulated_depth import Errors, simulated
from recon4d.io.depth_maps import depth_maps

SHAPE = (6, 48, 64)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A slanted wall, a mover before it, and a corner that is not known."""
    depth = np.broadcast_to(np.linspace(2, 4, 64, dtype=np.float32), SHAPE).copy()
    moving = np.zeros(SHAPE, bool)
    moving[:, 20:40, 20:40] = True
    depth[moving] = 1.5
    depth[:, :4, :4] = 0
    return depth, moving


def test_errors_are_as_large_as_stated() -> None:
    depth, moving = (np.repeat(each, 20, axis=0) for each in scene())
    maps = simulated(depth, moving, "metric", 0)
    assert (maps[depth == 0] == 0).all()
    inside = np.zeros(depth.shape, bool)
    inside[:, 25:35, 25:35] = True
    off = np.abs(np.log(maps[inside] / depth[inside]))
    assert 0.17 < off.mean() < 0.27  # 0.2 of the mover's, and the warp
    beside = np.zeros(depth.shape, bool)
    beside[:, :, 50:] = True
    assert 0.07 < np.log(maps[beside] / depth[beside]).std() < 0.13


def test_frames_of_no_known_scale_have_factors_of_their_own() -> None:
    depth, moving = scene()
    exact = Errors(warp=0, movers=0, blur=0.001)
    levels = np.median(simulated(depth, moving, "relative", 0, exact), axis=(1, 2))
    assert np.ptp(np.log(levels)) > 0.3
    maps = simulated(depth, moving, "affine", 0, exact)
    known = (depth > 0) & ~moving
    for values, truth, there in zip(maps, depth, known, strict=True):
        assert np.corrcoef(values[there], 1 / truth[there])[0, 1] > 0.999


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    depth, moving = scene()
    folder = tmp_path / "data" / "exact"
    for name in ("rgb", "depth", "mask"):
        (folder / name).mkdir(parents=True)
    lists: dict[str, list[str]] = {"rgb": [], "depth": []}
    for index, (values, mask) in enumerate(zip(depth, moving, strict=True)):
        name = f"{index / 10:.6f}.png"
        cv2.imwrite(str(folder / "rgb" / name), np.zeros((*SHAPE[1:], 3), np.uint8))
        cv2.imwrite(str(folder / "depth" / name), (5000 * values).astype(np.uint16))
        cv2.imwrite(str(folder / "mask" / name), mask.astype(np.uint8) * 255)
        for kind, lines in lists.items():
            lines.append(f"{index / 10:.6f} {kind}/{name}")
    for kind, lines in lists.items():
        (folder / f"{kind}.txt").write_text("\n".join(lines))
    return folder


def test_every_way_of_giving_it_becomes_a_row(
    sequence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run_row(name: str, source: Path, result: Path, options: Any, *rest: Any) -> dict[str, Any]:
        _, unsaid, _ = rest
        if unsaid:
            maps = depth_maps(Path(unsaid[1]), options[-3], options[-1])
            assert [path.stem for path in maps.files] == [f"{i / 10:.6f}" for i in range(6)]
            seen.append(f"{maps.kind} {maps.scale}")
        made = {"commit": "x", "machine": "x", "date": "x", "seed": 0}
        return {"command": f"recon4d run {name}", "static": 0.01, "seconds": 1.0, **made}

    monkeypatch.setattr(depth_guides, "run_row", run_row)
    page = tmp_path / "page.md"
    depth_guides.main(["--data", str(sequence.parent), "--out", str(page), "--size", "64"])
    assert seen == ["disparity affine", "disparity affine", "depth relative", "depth metric"]
    assert page.read_text().count("| exact |") == 5
    with pytest.raises(SystemExit, match="no sequence with depth"):
        depth_guides.main(["--data", str(sequence.parent), "--only", "other"])
