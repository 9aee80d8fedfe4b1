"""The benchmark of cameras: its rows are what is asked, and its figures are of the pictures as they came."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cameras
from benchmarks.measure.common import Measured
from benchmarks.peers import colmap
from benchmarks.scores import one_run
from benchmarks.scores.page import Row
from recon4d.io.camera import Camera
from recon4d.io.lens import undistortion
from recon4d.io.pictures.files import list_images, read_rgb
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from tests import needs

SIZE, FOCAL = (128, 96), 110.0
MAKER = """
import sys
from pathlib import Path
import cv2
import numpy as np
source, out, *words = sys.argv[1:]
out, given = Path(out), dict(zip(words[::2], words[1::2]))
(out / "rgb").mkdir(parents=True)
rng = np.random.default_rng(0)
names = [f"{n / 10:.1f}" for n in range(int(given["--frames"]))]
for name in names:
    cv2.imwrite(str(out / "rgb" / f"{name}.png"), rng.integers(0, 255, (96, 128, 3), np.uint8))
(out / "rgb.txt").write_text("".join(f"{name} rgb/{name}.png\\n" for name in names))
poses = "".join(f"{name} {float(name) ** 2} {name} 0 0 0 0 1\\n" for name in names)
(out / "groundtruth.txt").write_text(poses)
(out / "camera.txt").write_text(f"110 110 63.5 47.5 {given.get('--k1', 0)} 0 0 0\\n")
(out / "readout.txt").write_text(str(float(given.get("--readout-ms", 0)) / 1e3))
"""


class Runs:
    """In place of `recon4d run`: the true cameras, a little longer, and the true lens where it is not told."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> Measured:
        words = list(command)
        self.commands.append(words)
        images = list_images(Path(words[words.index("run") + 1]))
        clip, out = images[0].parents[1], Path(words[words.index("--out") + 1])
        if "--readout" in words and words[words.index("--readout") + 1] == "40":
            return Measured(2, 1.0, 100.0, f"recon4d: error: {clip} is too hard")
        k1 = float((clip / "camera.txt").read_text().split()[4])
        camera = Camera(FOCAL, FOCAL, 64.0, 48.0, (k1, 0.0, 0.0, 0.0))
        focal = FOCAL if not k1 else undistortion(camera, SIZE).camera.fx
        run = {"frames": len(images), "posed": len(images), "warnings": [], "readout_ms": 19.5}
        if "--intrinsics" in words:
            run["focal_source"] = "given"
        elif k1:
            numbers = {"camera": [FOCAL, FOCAL, 64.0, 48.0], "terms": [k1, 0.0]}
            run["lens"] = {"model": "radial", "source": "estimated"} | numbers
        write_result(result_of(images, 1.01 * focal, run), out)
        return Measured(0, 2.0, 200.0, "")


def result_of(images: Sequence[Path], focal: float, run: dict[str, object]) -> Reconstruction:
    times_s = np.array([float(path.stem) for path in images])
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    poses[:, :2, 3] = np.stack((times_s**2, times_s), -1)
    shape = (len(images), SIZE[1], SIZE[0])
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=np.tile((focal, focal, 64.0, 48.0), (len(images), 1)),
        timestamps_s=times_s,
        sources=tuple(path.name for path in images),
        images=np.stack([read_rgb(path) for path in images]),
        depth=np.ones(shape, np.float32),
        confidence=np.full(shape, 255, np.uint8),
        is_dynamic=np.zeros(shape, bool),
        is_metric=False,
        run=run,
    )


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    needs.package("evo", "eval")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/make_camera.py").write_text(MAKER)
    (tmp_path / "data").mkdir()
    found = Runs()
    monkeypatch.setattr(one_run, "measure", found)
    monkeypatch.setattr(colmap, "is_there", lambda: True)
    monkeypatch.setattr(colmap, "figures", theirs)
    return found


def theirs(clip: Path, folder: Path, seed: int) -> Row:
    if "readout" in str(folder):
        return {"failure": "COLMAP finds no model"}
    return {"ate": 0.002, "focal_px": 112.2, "k1": -0.19, "posed": 12, "seconds": 3.0}


def words_for(tmp_path: Path, *more: str) -> list[str]:
    places = ["--root", str(tmp_path / "data"), "--tools", str(tmp_path / "tools")]
    return [*places, "--out", str(tmp_path / "page.md"), *more]


def test_a_quick_look_has_a_line_for_what_is_told_and_what_is_not(
    runs: Runs, tmp_path: Path
) -> None:
    words = words_for(tmp_path, "--quick", "--keep", str(tmp_path / "kept"), "--refine", "none")
    cameras.main(words)
    rows = json.loads((tmp_path / "page.json").read_text())["rows"]
    lens, told, shutter, failed = rows.values()
    assert list(rows)[:2] == ["exact_static k1 -0.2, nothing", "exact_static k1 -0.2, all"]
    assert lens["ate_mm"] < 1e-3 and lens["frames"] == cameras.QUICK_FRAMES
    # of the pictures as they came: the undistorted ones are enlarged, which is no error
    assert lens["focal_off"] == pytest.approx(0.01)
    assert lens["k1"] == pytest.approx(-0.2 * 1.01**2) and lens["centre_off_px"] < 1e-6
    assert lens["colmap_focal_off"] == pytest.approx(0.02)
    assert "focal_off" not in told and "colmap_k1" not in told
    assert shutter["colmap_failure"] and "too hard" in failed["failure"]
    page = (tmp_path / "page.md").read_text()
    assert (
        "| exact_static k1 -0.2 | nothing | 12/12 | 0.000 | 1.00% | -0.2040 | 0.0 | 19.50 |" in page
    )
    assert "| 2.000 | 2.00% | -0.1900 | - |" in page
    assert "exact_static readout-ms 40, nothing: COLMAP finds no model" in page
    assert str(tmp_path) not in page + (tmp_path / "page.json").read_text()
    asked = [" ".join(command) for command in runs.commands]
    assert (
        "--intrinsics" not in asked[0] and "camera.txt" in asked[1] and "--readout 0 " in asked[1]
    )
    assert "--readout 40 " in asked[3] and "--refine none --seed 0" in asked[0]

    cameras.main([*words, "--resume"])
    assert len(runs.commands) == 5, "only what failed is run again"
    with pytest.raises(SystemExit, match="results of other settings"):
        cameras.main([*words, "--resume", "--flow", "dis"])


def test_the_table_has_the_cameras_that_are_asked_for(runs: Runs, tmp_path: Path) -> None:
    job = cameras.parse_job(
        words_for(tmp_path, "--only", "exact_crowd", "--frames", "9", "--alone")
    )
    assert [case.name for case in job.cases] == ["exact_crowd k1 -0.2", "exact_crowd k1 -0.05"]
    assert job.frames == 9 and not job.asks_colmap
    every = cameras.parse_job(words_for(tmp_path))
    assert len(every.cases) == 15 and every.frames == cameras.FRAMES and every.asks_colmap


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "nothing"], "no row contains 'nothing'; rows: exact_static k1 -0.3, "),
        (["--tools", "nowhere"], "nowhere has no make_camera.py"),
        (["--seed", "3"], "--seed is the benchmark's own"),
    ],
)
def test_what_would_fail_everywhere_is_refused(
    words: list[str], said: str, runs: Runs, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=said):
        cameras.main(words_for(tmp_path, *words))
