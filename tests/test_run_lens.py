"""A run whose lens nobody knows: found, undone, said, and undone again by exports."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

from recon4d import cli
from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.progress import no_progress
from recon4d.core.sampling import sample_shape
from recon4d.core.scene import Flow, Video
from recon4d.export.original import at_original_size
from recon4d.io.camera import camera_from_array
from recon4d.optim.lens.find import PINHOLE, FoundLens
from recon4d.optim.start.focal import usual_intrinsics
from recon4d.results.folder import read_result
from recon4d.run import lens as run_lens
from recon4d.run.lens import without_lens
from recon4d.run.lens_source import lens_report
from recon4d.run.methods import Methods
from recon4d.run.reconstruct import read_stage
from recon4d.run.stages import ALONE, FIRST_LOOK, FLOW, LENS, READ, UNDISTORTED
from recon4d.settings.config import RunConfig
from recon4d.settings.text import build
from tests.media import textured_frames, write_images
from tests.synthetic import make_scene

K1, ZOOM = -0.2, 1.3
"""Of the lens that the pictures are bent by; the bent pictures show a part of the straight ones."""
FOUND = FoundLens("radial", 110.0, (-0.1,), 0.01, (0.003,), 0.2)


def bent(
    images: UInt8[np.ndarray, "frames height width 3"], focal_px: float
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Pinhole pictures as a lens of 1.3 times the focal length would have shown them."""
    height, width = images.shape[1:3]
    matrix = np.array([[focal_px, 0, width / 2 - 0.5], [0, focal_px, height / 2 - 0.5], [0, 0, 1]])
    longer = matrix * np.array([[ZOOM, 1, 1], [1, ZOOM, 1], [1, 1, 1]])
    v, u = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.stack((u, v), axis=-1).reshape(-1, 1, 2)
    lens = np.array([K1, 0, 0, 0])
    straight = cv2.undistortPoints(pixels, longer, lens, P=matrix).reshape(height, width, 2)
    lookup = straight.astype(np.float32)
    u, v = lookup[..., 0].copy(), lookup[..., 1].copy()
    return np.stack(
        [cv2.remap(i, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for i in images]
    ).astype(np.uint8)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lens")
    scene = make_scene(9, (256, 192), seed=3, plain_lens=True)
    images = bent(np.asarray(scene.video.images), float(scene.scene.intrinsics[0, 0]))
    source = write_images(folder / "in", images)
    words = ["--masks", "none", "--loop", "0", "--workers", "1", "--readout", "0"]
    assert cli.main(["run", str(source), "--out", str(folder / "out"), *words]) == 0
    return folder / "out"


def test_a_run_finds_and_says_its_lens(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = json.loads((result / "run.json").read_text())
    lens, focal_px = run["lens"], 0.86 * 256 * ZOOM
    assert lens["model"] == "radial" and lens["source"] == "estimated"
    assert lens["terms"][0] == pytest.approx(K1, abs=0.03)
    assert run["focal_px"][0] == pytest.approx(
        focal_px, rel=0.08
    )  # 378 px without a lens; few small frames
    assert {"lens", "lens_flow", "flow"} <= set(run["stages"])
    assert cli.main(["info", str(result)]) == 0
    assert "lens:       radial, k1 -0." in capsys.readouterr().out


def test_originals_are_undistorted_as_in_the_run(result: Path) -> None:
    whole = read_result(result)
    view = next(at_original_size(whole, tuple(range(len(whole)))).views())
    apart = view.image.mean(2) - whole.images[0].mean(2)
    assert np.abs(apart).mean() < 2  # the result's images are JPEG


SCENE = make_scene(4, (128, 96), seed=0).scene


def config_for(tmp_path: Path, *, frames: int = 4, **options: Any) -> RunConfig:
    source = write_images(tmp_path / "in", textured_frames(frames))
    return build({"input": source, "workers": 1, "masks": "none", **options})


def settled(
    config: RunConfig, folder: Path, lens: FoundLens | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Video]:
    """Where the stages lie after a lens was found, and the frames that are read there; None: it is to be found."""
    if lens is not None:
        monkeypatch.setattr(run_lens, "_found", lambda *_: lens)
    folder.mkdir(exist_ok=True)
    video = read_stage(config, folder, no_progress)
    rows, cols = sample_shape(video.size)
    flow = Flow(
        np.array([[0, 1]]),
        np.ones((1, rows, cols, 2), np.float16),
        np.full((1, rows, cols), 255, np.uint8),
    )
    FLOW.run(folder, lambda _: flow)
    place = without_lens(config, Methods.of(config), folder, no_progress)
    return place, READ.load(place)


def test_a_pinhole_goes_on_with_the_same_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, video = settled(config_for(tmp_path), tmp_path / "work", PINHOLE, monkeypatch)
    assert place == tmp_path / "work" and video.lens is None
    assert not (place / UNDISTORTED).exists()


def test_frames_are_read_again_without_a_lens_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, video = settled(config_for(tmp_path), tmp_path / "work", FOUND, monkeypatch)
    assert place == tmp_path / "work" / UNDISTORTED and LENS.load(place) == FOUND
    assert video.intrinsics is None and video.lens is not None
    camera = camera_from_array(video.lens)
    assert (camera.fx, camera.cx, camera.distortion[0]) == (110.0, 64.0, -0.1)
    straight = READ.load(tmp_path / "work").images
    assert np.abs(video.images.astype(int) - straight).mean() > 0
    flow_px = FLOW.load(place).flow_px[0].astype(float)
    assert (
        np.ptp(flow_px[..., 0]) > 0.1
    )  # a step of one pixel everywhere is longer where it was pressed together
    assert np.abs(flow_px.mean((0, 1)) - 1).max() < 0.2


def test_a_fisheye_is_looked_at_twice_and_the_second_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FoundLens("fisheye", 80.0)
    second = replace(first, focal_px=77.0, focal_std=0.003)
    guided: list[Flow] = []

    def look_again(*given: object) -> FoundLens:
        assert isinstance(given[3], Flow) and given[0] == first
        guided.append(given[3])
        return second

    monkeypatch.setattr(run_lens, "look_again", look_again)
    monkeypatch.setattr(run_lens, "guided_flow", lambda *given: given[1])
    monkeypatch.setattr(run_lens, "observe", lambda *_: (None, SCENE))
    place, video = settled(config_for(tmp_path), tmp_path / "work", first, monkeypatch)
    assert place == tmp_path / "work" / UNDISTORTED and LENS.load(place) == second
    assert video.lens is not None and camera_from_array(video.lens).fx == 77.0
    assert not FLOW.is_done(place)  # it is measured anew: what was straightened falls short
    shown = FLOW.load(tmp_path / "work" / FIRST_LOOK)
    assert len(guided) == 1 and np.array_equal(guided[0].flow_px, shown.flow_px)


def test_a_lens_that_the_first_flow_neither_finds_nor_rules_out_is_looked_at_closer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guided: list[Flow] = []

    def look_closer(*given: object) -> FoundLens:
        assert isinstance(given[1], Flow)
        guided.append(given[1])
        return FOUND

    monkeypatch.setattr(run_lens, "look_closer", look_closer)
    monkeypatch.setattr(run_lens, "guided_flow", lambda *given: given[1])
    monkeypatch.setattr(run_lens, "observe", lambda *_: (None, SCENE))
    monkeypatch.setattr(run_lens, "find_lens", lambda *_: replace(PINHOLE, may_bend=True))
    place, video = settled(config_for(tmp_path), tmp_path / "work", None, monkeypatch)
    assert len(guided) == 1 and video.lens is not None
    assert place == tmp_path / "work" / UNDISTORTED and LENS.load(place) == FOUND


def test_a_principal_point_that_was_found_is_where_the_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = FoundLens("pinhole", 110.0, centre_px=(40.0, 50.0), centre_std_px=(0.5, 0.5))
    place, video = settled(config_for(tmp_path), tmp_path / "work", lens, monkeypatch)
    assert place.name == UNDISTORTED and video.intrinsics is None and video.lens is None
    assert video.found_intrinsics is not None and video.found_intrinsics[2:].tolist() == [40, 50]
    assert usual_intrinsics(video, 128.0).tolist() == [128, 128, 40, 50]
    told = lens_report(place, video)
    assert told["model"] == "pinhole" and told["camera"] == [110, 110, 40, 50]
    assert told["centre_std"] == [0.5, 0.5]


@pytest.mark.parametrize(
    "options", [{"lens": "pinhole"}, {"intrinsics": "100,100,64,48"}, {"focal": "per-frame"}]
)
def test_a_lens_is_not_sought_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    place, _ = settled(config_for(tmp_path, **options), tmp_path / "work", FOUND, monkeypatch)
    assert place == tmp_path / "work"


def test_the_lens_of_a_long_video_is_found_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, int]] = []

    def observe(*given: object) -> None:
        place, video = given[2], given[3]
        assert isinstance(place, Path) and isinstance(video, Video)
        seen.append((place, video.num_frames))
        raise DegenerateError("nothing to see")

    monkeypatch.setattr(run_lens, "observe", observe)
    config = config_for(tmp_path, frames=110)
    folder = tmp_path / "work"
    folder.mkdir()
    read_stage(config, folder, no_progress)
    assert without_lens(config, Methods.of(config), folder, no_progress) == folder
    assert seen == [(folder / ALONE, run_lens.WINDOW_FRAMES)] and LENS.load(folder) == PINHOLE


def test_a_lens_is_not_told_and_found_at_the_same_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--lens radial"):
        config_for(tmp_path, lens="radial", intrinsics="100,100,64,48")
