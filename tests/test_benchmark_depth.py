"""The benchmark of depth: the golden numbers through official layouts, pairings, unknown pixels, failures."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import depth
from benchmarks.scores.depth import Pixels, sequence_errors
from benchmarks.sets.alignments import LARGEST_ADAM, adam_absolute, resize_cubic
from benchmarks.sets.protocols import PROTOCOLS, datasets
from benchmarks.sets.published import read_published
from recon4d.evaluate import EvalOptions, compare
from recon4d.results import folder as result
from tests import needs
from tests.mini_sets import (
    SIZE,
    FakeRuns,
    depth_of,
    frame_time,
    make_kitti,
    make_sintel,
    make_tum,
    pose_at,
    read_store,
)

GOLDEN = Path(__file__).parents[1] / "../shared/golden/eval_metrics.npz"
GOLDEN_TOLERANCE = 1e-5
"""Distance of a re-derivation in numpy from the golden float32 numbers, as their README states it."""
FIGURES = ("abs_rel", "sq_rel", "rmse", "log_rmse", "delta_1", "delta_2", "delta_3", "pixels")
"""The order of the golden numbers."""
XYZ = "rgbd_dataset_freiburg3_walking_xyz"
DRIVES = ("2011_09_26_drive_0002_sync", "2011_09_26_drive_0005_sync")

needs_golden = needs.shared_file("golden/eval_metrics.npz")


def golden() -> dict[str, np.ndarray]:
    """The golden numbers; their predictions are known everywhere, also where one is 0, which means unknown to us."""
    with np.load(GOLDEN) as stored:
        found = {key: stored[key] for key in stored.files}
    found["depth/pred"][found["depth/pred"] == 0] = 1e-30
    return found


def run_main(root: Path, out: Path, dataset: str, runs: FakeRuns, *words: str) -> dict[str, Any]:
    command = ["--dataset", dataset, "--root", str(root), "--out", str(out), *words]
    depth.main(command, runs)
    return read_store(out)


def by_name(index: int, name: str) -> np.ndarray:
    """Half the true depth of the image of this name; unknown where the truth is."""
    del index
    wanted = [i for i in range(200) if f"{frame_time(i):.6f}" == Path(name).stem]
    return depth_of(wanted[0]) / 2


@needs_golden
@pytest.mark.parametrize(
    ("scale", "key"),
    (
        # the re-weighting is chaotic in float32: the golden README gives float64 for it
        ("sequence", "depth64/metrics_scale_max70_clip70"),
        ("scale_shift", "depth/metrics_lad2_max70_clip70"),
        ("none", "depth/metrics_cut3r_metric"),
    ),
)
def test_sintel_reproduces_the_golden_numbers(
    scale: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one prediction of the fixture is negative, which the reader of results refuses
    monkeypatch.setattr(result, "_read_depth", lambda path, size: np.load(path))
    stored = golden()
    make_sintel(tmp_path, "alley_2", list(stored["depth/gt"]))
    runs = FakeRuns(depth=lambda index, name: stored["depth/pred"][index])
    words = ("--sequences", "alley_2", "--depth-scale", scale)
    row = run_main(tmp_path, tmp_path / "out", "sintel", runs, *words)["rows"]["alley_2"]
    found = [row["depth"]["time"][name] for name in FIGURES]
    assert np.allclose(found, stored[key], rtol=2 * GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE)


@needs_golden
@pytest.mark.parametrize(
    ("dataset", "protocol", "scale", "key", "rel"),
    (
        ("kitti", "monst3r", "sequence", "depth/metrics_scale_nomax", 5e-3),
        ("kitti", "monst3r", "scale_shift", "depth/metrics_lad2_nomax", 2e-5),
        ("sintel", "align3r", "scale_shift", "depth/metrics_lad_bfgs", 2e-5),
    ),
)
def test_caps_and_alignments_of_the_protocols_reproduce_the_golden_numbers(
    dataset: str, protocol: str, scale: str, key: str, rel: float
) -> None:
    stored = golden()
    rule = PROTOCOLS[dataset][protocol].depth
    assert rule is not None
    frames = []
    for truth, prediction in zip(stored["depth/gt"], stored["depth/pred"], strict=True):
        counts = (truth > rule.nearest_m) & (truth < rule.farthest_m)
        frames.append(Pixels(prediction[counts], truth[counts]))
    row = sequence_errors(frames, rule, rule.fits[scale])
    found, expected = [row[name] for name in FIGURES], stored[key].astype(np.float64)
    if (
        protocol == "align3r"
    ):  # it clips where the golden numbers do not: the first deltas are untouched
        found, expected = found[4:6], expected[4:6]
    assert np.allclose(found, expected, rtol=rel, atol=GOLDEN_TOLERANCE)


def test_caps_are_strict_and_clips_are_those_of_each_protocol() -> None:
    truth = np.array([1.0, 2.0, 69.0, 70.0, 90.0], np.float32)
    for dataset, name, pixels, clip in (
        ("bonn", "monst3r", 3, (None, None)),
        ("sintel", "monst3r", 3, (None, 70)),
        ("tum", "align3r", 3, (1e-5, 70)),
        ("kitti", "monst3r", 5, (None, None)),
        ("tumlike", "all", 4, (None, None)),
    ):
        rule = PROTOCOLS[dataset][name].depth
        assert rule is not None and rule.clip_m == clip
        counts = (truth > rule.nearest_m) & (truth < rule.farthest_m)
        assert counts.sum() == pixels
    rule = PROTOCOLS["sintel"]["monst3r"].depth
    assert rule is not None
    frame = Pixels(np.array([1, 100], np.float32), np.array([1, 50], np.float32))
    assert sequence_errors([frame], rule, rule.fits["none"])["abs_rel"] == pytest.approx(0.2)
    rule = PROTOCOLS["bonn"]["monst3r"].depth
    assert rule is not None
    assert sequence_errors([frame], rule, rule.fits["none"])["abs_rel"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("dataset", "protocol", "name", "first", "stop"),
    (
        ("tum", "align3r", XYZ, 30, 80),
        ("bonn", "monst3r", "rgbd_bonn_crowd2", 30, 140),
        ("bonn", "align3r", "rgbd_bonn_crowd2", 30, 140),
    ),
)
def test_depth_images_by_order_stand_beside_those_by_time(
    dataset: str, protocol: str, name: str, first: int, stop: int, tmp_path: Path
) -> None:
    make_tum(tmp_path / name, 150, depth_delay=4)  # the n-th depth image shows the (n + 4)-th image
    runs, short = FakeRuns(depth=by_name), name.removeprefix("rgbd_bonn_")
    words = ("--protocol", protocol, "--sequences", short, "--depth-scale", "scale_shift")
    stored = run_main(tmp_path, tmp_path / "out", dataset, runs, *words)
    ((_, _, frames),) = runs.calls
    assert frames == [f"{frame_time(i):.6f}.png" for i in range(first, stop)]
    found = stored["rows"][short]["depth"]
    assert list(found) == ["rows", "time"]
    pixels = (SIZE[0] * SIZE[1] - 2) * (stop - first)
    for way, delay in (("rows", 4), ("time", 0)):
        errors = found[way]
        assert errors["frames"] == stop - first and errors["pixels"] == pixels
        assert errors["known"] == 1
        # by hand, with the scale and shift that were found
        expected = []
        for i in range(first, stop):
            true = depth_of(i + delay).astype(np.float64)
            aligned = errors["scale"] * depth_of(i) / 2 + errors["shift"]
            expected += (np.abs(aligned - true) / np.where(true > 0, true, 1))[true > 0].tolist()
        assert errors["abs_rel"] == pytest.approx(np.mean(expected), rel=1e-5, abs=1e-9)
    assert found["time"]["scale"] == pytest.approx(2, rel=1e-3) and found["time"]["abs_rel"] < 1e-3
    assert found["rows"]["abs_rel"] > 0.01
    page = (tmp_path / "out/results.md").read_text()
    assert "| row cut (" in page and "| by time, weighted by pixels |" in page


def test_monst3r_on_tum_measures_the_frames_of_its_pose_protocol(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)
    runs = FakeRuns(depth=by_name)
    stored = run_main(tmp_path, tmp_path / "out", "tum", runs, "--sequences", XYZ)
    errors = stored["rows"][XYZ]["depth"]["time"]
    assert errors["frames"] == 14 and errors["scale"] == pytest.approx(2, rel=1e-3)
    assert errors["abs_rel"] < 1e-3
    page = (tmp_path / "out/results.md").read_text()
    assert "E3D-Bench" in page and "depth there is ours" in page


@pytest.mark.parametrize("images", ("raw/{}", "raw/2011_09_26/{}", "2011_09_26/{}"))
def test_kitti_takes_the_first_110_frames_with_depth_in_any_layout(
    images: str, tmp_path: Path
) -> None:
    depths = [np.full((3, 5), 2 + i, np.float32) for i in range(112)]
    depths[0][0] = 0  # no return
    make_kitti(tmp_path, DRIVES[0], images.format(DRIVES[0]), depths)
    runs = FakeRuns(depth=lambda index, name: np.full((3, 5), (2 + int(Path(name).stem) - 5) / 4))
    stored = run_main(tmp_path, tmp_path / "out", "kitti", runs)
    ((name, _, frames),) = runs.calls
    assert name == DRIVES[0] and frames == [f"{i:010d}.png" for i in range(5, 115)]
    errors = stored["rows"][DRIVES[0]]["depth"]["time"]
    assert errors["pixels"] == 110 * 15 - 5 and errors["scale"] == pytest.approx(4)
    assert (
        errors["abs_rel"] < 1e-6 and errors["delta_1"] == 1
    )  # 111 m and more count: there is no cap
    assert "1 of the 13 official" in (tmp_path / "out/results.md").read_text()


def test_tumlike_agrees_with_recon4d_eval(tmp_path: Path) -> None:
    make_tum(tmp_path / "set/mine", 12)
    rng = np.random.default_rng(2)

    def noisy(index: int, name: str) -> np.ndarray:
        made = np.kron(by_name(index, name), np.ones((2, 2))) * rng.lognormal(0, 0.1, (12, 16))
        made[:2] = 0
        return made

    for scale in ("sequence", "scale_shift"):
        out = tmp_path / scale
        words = ("--keep", "--depth-scale", scale)
        stored = run_main(tmp_path / "set", out, "tumlike", FakeRuns(depth=noisy), *words)
        options = EvalOptions(depth_scale="sequence" if scale == "sequence" else "scale_shift")
        report = compare(out / "results/mine", tmp_path / "set/mine", options).depth
        assert report is not None and report.all.abs_rel > 0.01
        errors = stored["rows"]["mine"]["depth"]["time"]
        for name, value in vars(report.all).items():
            assert errors[name] == pytest.approx(value)
        assert (errors["scale"], errors["shift"]) == pytest.approx((report.scale, report.shift))


def test_unknown_pixels_and_frames_without_a_result_count_as_wrong(tmp_path: Path) -> None:
    truth = [np.full((4, 6), 2.0, np.float32)] * 4
    make_sintel(tmp_path, "alley_2", truth)

    def half(index: int, name: str) -> np.ndarray:
        made = np.full((4, 6), 1.0)
        made[:, :3] = 0
        return made

    words = ("--sequences", "alley_2", "--depth-scale", "sequence")
    runs = FakeRuns(depth=half, skipped=1)
    row = run_main(tmp_path, tmp_path / "out", "sintel", runs, *words)["rows"]["alley_2"]
    errors = row["depth"]["time"]
    assert errors["known"] == errors["delta_1"] == 3 / 8 and errors["abs_rel"] == 5 / 8
    assert errors["pixels"] == 96 and row["without_result"] == 1


def test_means_weight_by_pixels_and_count_a_failed_sequence_both_ways(tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    sizes = {"alley_2": (4, 6), "cave_2": (8, 12), "market_2": (4, 6)}
    for name, size in sizes.items():
        make_sintel(root, name, [np.full(size, 2.0, np.float32)] * 2)

    def quarter_wrong(index: int, name: str) -> np.ndarray:
        made = np.full((4, 6), 2.0)
        made[0] = 4.0  # a quarter of the pixels has twice the depth
        return made

    runs = FakeRuns(depth=quarter_wrong, failing={"market_2"})
    made: dict[str, Callable[[int, str], np.ndarray]] = {
        "alley_2": quarter_wrong,
        "cave_2": lambda index, name: np.full((8, 12), 2.0),
    }

    def reconstruct(source: Path, result: Path, options: tuple[str, ...]) -> Any:
        runs.depth = made.get(source.name, quarter_wrong)
        return runs(source, result, options)

    words = ["--dataset", "sintel", "--root", str(root), "--out", str(out)]
    words += ["--sequences", *sizes, "--depth-scale", "none"]
    depth.main(words, reconstruct)
    stored = read_store(out)
    assert stored["rows"]["market_2"]["depth"]["time"] == {"pixels": 48}
    weighted, with_failed, alike, alike_with_failed = stored["means"]["time"]
    for mean in stored["means"]["time"]:
        assert (mean["asked"], mean["failed"]) == (3, 1)
    # alley_2: 48 pixels with Abs Rel 1/4; cave_2: 192 with 0; market_2: 48 unknown
    assert weighted["figures"]["abs_rel"] == pytest.approx(0.25 * 48 / 240)
    assert weighted["figures"]["delta_1"] == pytest.approx(1 - 0.25 * 48 / 240)
    assert with_failed["figures"]["abs_rel"] == pytest.approx((12 + 48) / 288)
    assert with_failed["figures"]["delta_1"] == pytest.approx((36 + 192) / 288)
    assert alike["figures"]["abs_rel"] == pytest.approx(0.125)
    assert alike_with_failed["figures"]["abs_rel"] == pytest.approx(1.25 / 3)
    assert with_failed["figures"]["rmse"] is None  # an unknown depth has no error in metres
    page = (out / "results.md").read_text()
    assert page.count("| 1 of 3 failed |") == 4
    assert "* market_2: **failed**: exit 2: recon4d: error: nothing to track in OUT" in page
    assert str(tmp_path) not in page + json.dumps(stored)


def test_a_damaged_depth_file_fails_its_sequence_alone(tmp_path: Path) -> None:
    for name in ("alley_2", "cave_2"):
        make_sintel(tmp_path, name, [np.full((4, 6), 2.0, np.float32)] * 2)
    (tmp_path / "training/depth/cave_2/frame_0002.dpt").write_bytes(b"no depth at all")
    runs = FakeRuns(depth=lambda index, name: np.ones((4, 6)))
    words = ("--sequences", "alley_2", "cave_2")
    stored = run_main(tmp_path, tmp_path / "out", "sintel", runs, *words)
    row = stored["rows"]["cave_2"]
    assert "frame_0002.dpt does not begin with Sintel's tag" in row["failure"]
    assert stored["means"]["time"][0]["failed"] == 1
    assert stored["means"]["time"][3]["figures"]["abs_rel"] == pytest.approx(0.5)  # per sequence


def test_a_result_without_depth_is_a_failure(tmp_path: Path) -> None:
    make_sintel(tmp_path, "alley_2", [np.full((4, 6), 2.0, np.float32)] * 2)
    runs = FakeRuns(depth=lambda index, name: np.zeros((4, 6)))
    stored = run_main(tmp_path, tmp_path / "out", "sintel", runs, "--sequences", "alley_2")
    row = stored["rows"]["alley_2"]
    assert "no depth at any pixel" in row["failure"] and row["depth"]["time"]["pixels"] == 48
    assert stored["means"]["time"][1]["figures"]["abs_rel"] == 1


def test_finished_sequences_are_not_run_again_and_other_settings_are_not_mixed(
    tmp_path: Path,
) -> None:
    for name in ("alley_2", "cave_2"):
        make_sintel(tmp_path, name, [np.full((4, 6), 2.0, np.float32)] * 2)
    runs = FakeRuns(depth=lambda index, name: np.ones((4, 6)), failing={"cave_2"})
    out, words = tmp_path / "out", ("--sequences", "alley_2", "cave_2")
    run_main(tmp_path, out, "sintel", runs, *words)
    runs.failing = set()
    stored = run_main(tmp_path, out, "sintel", runs, *words)
    assert runs.names == ["alley_2", "cave_2", "cave_2"]
    assert stored["means"]["time"][0]["failed"] == 0
    with pytest.raises(SystemExit, match="results of other settings"):
        run_main(tmp_path, out, "sintel", runs, *words, "--depth-scale", "none")
    assert read_store(out) == stored


@pytest.mark.parametrize(
    ("dataset", "words", "message"),
    (
        ("tum", ("--protocol", "align3r", "--depth-scale", "sequence"), "available there: scale_"),
        ("kitti", ("--protocol", "align3r"), "no depth on kitti; available there: monst3r"),
        ("sintel", ("--depth-scale", "median"), "--depth-scale median is not in the protocol"),
        ("bonn", ("--fps", "3"), "changes the protocol's frames"),
    ),
)
def test_what_a_protocol_does_not_have_is_refused(
    dataset: str, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=message):
        run_main(tmp_path, tmp_path / "out", dataset, FakeRuns(), *words)


@pytest.mark.parametrize("dataset", datasets("depth"))
def test_a_missing_path_of_a_data_set_is_named_in_one_sentence(
    dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(tmp_path, tmp_path / "out", dataset, FakeRuns())
    text = str(caught.value)
    assert text.startswith(str(tmp_path)) and "\n" not in text
    assert "is missing" in text or "holds no folder with an rgb.txt" in text


def test_published_figures_stand_beside_ours_for_the_same_alignment_alone(tmp_path: Path) -> None:
    make_tum(tmp_path / "rgbd_bonn_crowd2", 40)
    runs = FakeRuns(depth=by_name)
    pages = {}
    for scale in ("sequence", "scale_shift"):
        words = ("--sequences", "crowd2", "--depth-scale", scale)
        run_main(tmp_path, tmp_path / scale, "bonn", runs, *words)
        pages[scale] = (tmp_path / scale / "results.md").read_text()
    assert "| MonST3R-GA | 0.067 | 96.3 |" in pages["sequence"]
    assert "| MonST3R-GA | 0.066 | - |" in pages["scale_shift"]
    assert "| MonST3R | 0.063 | 96.4 |" in pages["scale_shift"]
    assert "0.063" not in pages["sequence"]


def test_all_published_figures_belong_to_a_protocol_and_an_alignment() -> None:
    for key, blocks in read_published("depth").blocks.items():
        dataset, name, scale = key.split()
        rule = PROTOCOLS[dataset][name].depth
        assert rule is not None and scale in rule.fits
        assert all(block.source and block.rows for block in blocks)
    assert datasets("depth") == ("tum", "bonn", "sintel", "kitti", "tumlike")


def test_cubic_resizing_is_opencvs_and_unknown_pixels_do_not_bleed() -> None:
    dense = depth_of(3) + 1
    expected = cv2.resize(dense, (16, 12), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(resize_cubic(dense, (12, 16)), expected)
    assert np.array_equal(resize_cubic(dense, dense.shape), dense)
    flat = np.full((6, 8), 3.0, np.float32)
    flat[2:4, 2:5] = 0
    resized = resize_cubic(flat, (12, 16))
    assert set(np.unique(resized).tolist()) == {0.0, 3.0} and (resized == 0).sum() == 24
    assert not resize_cubic(np.zeros((6, 8), np.float32), (12, 16)).any()


def test_the_papers_scale_and_shift_hardly_changes_with_the_selection_of_pixels() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(1, 6, LARGEST_ADAM // 1000 + 1)
    prediction = (truth - 0.05) / 1.02 * rng.lognormal(0, 0.05, truth.size)
    many = [np.tile(values, 1000) for values in (prediction, truth)]
    whole = adam_absolute(prediction, truth)
    selected = adam_absolute(many[0], many[1], max_steps=100)
    some = adam_absolute(prediction, truth, max_steps=100)
    assert selected == pytest.approx(some, abs=2e-3) and math.isfinite(whole[0])


@pytest.mark.slow
def test_a_few_real_frames_are_reconstructed_and_compared(
    shared_data: Path, tmp_path: Path
) -> None:
    words = ["--dataset", "tumlike", "--root", str(shared_data), "--out", str(tmp_path / "out")]
    options = ["--masks", "residual", "--loop", "0", "--size", "256"]
    depth.main([*words, "--sequences", "exact_dancer", "--max-frames", "8", *options])
    row = read_store(tmp_path / "out")["rows"]["exact_dancer"]
    assert "failure" not in row and row["depth"]["time"]["frames"] == 8
    assert row["depth"]["time"]["abs_rel"] < 0.3 and pose_at(0).shape == (4, 4)
