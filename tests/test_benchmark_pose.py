"""The benchmark of poses: frames and truth of every protocol, failures that are counted, and going on."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pose
from benchmarks.measure.common import Measured
from benchmarks.sets.protocols import BONN_SEQUENCES, PROTOCOLS, SINTEL_SEQUENCES, datasets
from benchmarks.sets.published import read_published
from benchmarks.sets.tum import associate, read_sequence
from recon4d.evaluate import EvalOptions, compare
from recon4d.io.poses.trajectory import read_trajectory
from tests import needs
from tests.mini_sets import (
    EARLY_S,
    FRAME_S,
    ROW_S,
    SIZE,
    START_S,
    FakeRuns,
    all_rows_s,
    frame_time,
    make_sintel,
    make_tum,
    pose_at,
    read_store,
    write_image,
)
from tests.paths import similarity

needs.package("evo", "eval")

XYZ = "rgbd_dataset_freiburg3_walking_xyz"
RPY = "rgbd_dataset_freiburg3_walking_rpy"
EXACT_M = 1e-6
"""Files hold ten digits, and times of 1e9 s leave 2e-7 s."""


def scaled_pose(time_s: float) -> np.ndarray:
    """The true camera in another frame and scale."""
    other = np.eye(4)
    other[:3, :3] = pose_at(START_S + 5)[:3, :3]
    moved: np.ndarray = other @ pose_at(time_s)
    moved[:3, 3] = 0.3 * moved[:3, 3] + (1, 2, 3)
    return moved


def run_main(
    root: Path, out: Path, *words: str, runs: FakeRuns | None = None, dataset: str = "tum"
) -> dict[str, Any]:
    command = ["--dataset", dataset, "--root", str(root), "--out", str(out), *words]
    pose.main(command, FakeRuns(scaled_pose) if runs is None else runs)
    return read_store(out)


def centres(times_s: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.stack([pose_at(float(time_s))[:3, 3] for time_s in times_s])


def test_monst3r_on_tum_takes_every_third_match_and_ninety_of_them(tmp_path: Path) -> None:
    rows = [t for t in all_rows_s(290) if not START_S + 0.275 < t < START_S + 0.445]
    folder = make_tum(tmp_path / XYZ, 290, rows)
    recording = read_sequence(XYZ, folder, PROTOCOLS["tum"]["monst3r"], "pose")
    # images 9 (0.27 s) and 15 (0.45 s) have rows of their moments; 10 to 14 are 30 ms and more from any row
    matched = [i for i in range(290) if i not in (10, 11, 12, 13, 14)]
    expected = [f"{frame_time(i):.6f}.png" for i in matched[::3][:90]]
    assert [frame.path.name for frame in recording.frames] == expected and len(expected) == 90
    truth = recording.poses[0].trajectory
    assert recording.poses[0].pairing == "time" and truth is not None and recording.note == ""
    assert np.allclose(
        truth.world_from_cam[:, :3, 3], centres([f.time_s for f in recording.frames])
    )


def test_association_is_tums_own_closest_first_each_once_and_less_than_20_ms() -> None:
    images = np.array([0.000, 0.033, 0.066, 0.100])
    # 0.017 is nearest to 0.033 (16 ms) and then taken; 0.086 is 20 ms from 0.066 and 14 from 0.100
    rows = np.array([0.017, 0.086, 0.5])
    assert associate(images, rows).tolist() == [[1, 0], [3, 1]]
    assert associate(images, np.array([0.020])).tolist() == [[1, 0]]
    assert associate(np.array([0.0]), np.array([0.02])).tolist() == []


def test_exact_poses_have_no_error_in_monst3rs_protocol(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)
    runs = FakeRuns(scaled_pose)
    stored = run_main(tmp_path, tmp_path / "out", "--sequences", XYZ, runs=runs)
    errors = stored["rows"][XYZ]["pose"]["time"]
    assert errors["matched"] == 14 and errors["align"] == "sim3"
    assert errors["ate"] < EXACT_M and errors["rpe_translation"] < EXACT_M
    assert errors["rpe_rotation_deg"] < 1e-4 and errors["scale"] == pytest.approx(1 / 0.3)
    ((_, _, frames),) = runs.calls
    assert frames == [f"{frame_time(i):.6f}.png" for i in range(0, 40, 3)]
    page = (tmp_path / "out/results.md").read_text()
    assert "14 of the protocol's 90 frames" in page and "1 of the 8 official sequences" in page


@pytest.mark.parametrize(
    ("dataset", "protocol", "folder", "first", "stop"),
    (
        ("tum", "align3r", XYZ, 30, 80),
        ("bonn", "monst3r", "rgbd_bonn_dataset/rgbd_bonn_crowd2", 30, 140),
        ("bonn", "align3r", "rgbd_bonn_crowd2", 30, 140),
    ),
)
def test_the_row_cut_stands_beside_time_association_on_a_truth_of_100_hz(
    dataset: str, protocol: str, folder: str, first: int, stop: int, tmp_path: Path
) -> None:
    make_tum(tmp_path / folder, 150)
    name = XYZ if dataset == "tum" else "crowd2"
    runs, out = FakeRuns(scaled_pose), tmp_path / "out"
    words = ("--protocol", protocol, "--sequences", name)
    stored = run_main(tmp_path, out, *words, runs=runs, dataset=dataset)
    count = stop - first
    ((_, _, frames),) = runs.calls
    assert frames == [f"{frame_time(i):.6f}.png" for i in range(first, stop)]
    found = stored["rows"][name]["pose"]
    assert list(found) == ["rows", "time"] and found["rows"]["matched"] == count
    assert found["time"]["ate"] < EXACT_M and found["time"]["matched"] == count
    # by hand: image first + k has the row first + k, which is ROW_S * (first + k) after the truth began
    rows_s = START_S - EARLY_S + ROW_S * np.arange(first, stop)
    estimate = np.stack([scaled_pose(START_S + FRAME_S * i)[:3, 3] for i in range(first, stop)])
    scale, ate = similarity(estimate, centres(rows_s))
    assert found["rows"]["ate"] == pytest.approx(ate, rel=1e-4) and ate > 100 * EXACT_M
    assert found["rows"]["scale"] == pytest.approx(scale, rel=1e-4)
    assert found["rows"]["path"] < 0.6 * found["time"]["path"]  # 100 rows take a third of the time
    page = (out / "results.md").read_text()
    whose = "Align3R" if protocol == "align3r" else "MonST3R"
    assert (
        f"| row cut ({whose} protocol) | 1/1 | {ate:.4f} |" in page
        and "| by time | 1/1 | 0.0000 |" in page
    )
    assert "the n-th row" in page.lower()


def test_on_tums_own_motion_capture_the_row_cut_spans_a_third_of_the_frames_time(
    shared_data: Path, tmp_path: Path
) -> None:
    estimate = read_trajectory(shared_data / "trajectories/fr3_walk_xyz.est.txt")
    truth = shared_data / "trajectories/fr3_walk_xyz.gt.txt"
    (tmp_path / XYZ / "rgb").mkdir(parents=True)
    names = [f"{time_s:.6f}" for time_s in estimate.timestamps_s]
    for name in names[:80]:
        write_image(tmp_path / XYZ / f"rgb/{name}.png", np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / XYZ / "groundtruth.txt").write_text(truth.read_text())
    poses = dict(zip(names, estimate.world_from_cam, strict=True))
    runs = FakeRuns(lambda time_s: poses[f"{time_s:.6f}"])
    words = ("--protocol", "align3r", "--sequences", XYZ)
    found = run_main(tmp_path, tmp_path / "out", *words, runs=runs)["rows"][XYZ]["pose"]
    assert found["rows"]["matched"] == found["time"]["matched"] == 50
    rows, by_time = found["rows"], found["time"]
    assert by_time["ate"] < 0.01 and by_time["scale"] == pytest.approx(1, abs=0.02)
    assert rows["path"] < 0.5 * by_time["path"]
    # Sim(3) shrinks the path onto rows of other moments: a smaller ATE than by time, with rotations that are far off
    assert rows["scale"] < 0.5 and rows["ate"] < by_time["ate"]
    assert rows["rotation_best_deg"] > 10 * by_time["rotation_best_deg"]


def test_published_figures_stand_beside_ours_with_their_source(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 90)
    run_main(tmp_path, tmp_path / "a", "--sequences", XYZ)
    page = (tmp_path / "a/results.md").read_text()
    assert "## Published: CUT3R, tables 3 and 8" in page
    assert "| MonST3R-GA | 0.098 | 0.019 | 0.935 |" in page
    assert "| recon4d, by time, 1 of 8 sequences | 0.0000 | 0.0000 | 0.000 |" in page
    run_main(tmp_path, tmp_path / "b", "--sequences", XYZ, "--protocol", "align3r")
    page = (tmp_path / "b/results.md").read_text()
    assert "| MuBe4D | 0.012 | - | - |" in page and "CUT3R, tables" not in page


def test_sintel_has_its_cameras_as_camera_from_world_and_its_own_pass(tmp_path: Path) -> None:
    depths = [np.ones((4, 6), np.float32)] * 5
    for render, protocol in (("final", "monst3r"), ("clean", "align3r")):
        make_sintel(tmp_path, "alley_2", depths, render)
        runs = FakeRuns(lambda t: pose_at(START_S + 0.1 * round(t * 30)))
        words = ("--protocol", protocol, "--sequences", "alley_2")
        stored = run_main(tmp_path, tmp_path / protocol, *words, runs=runs, dataset="sintel")
        errors = stored["rows"]["alley_2"]["pose"]["time"]
        assert errors["ate"] < EXACT_M and errors["scale"] == pytest.approx(1)
        assert errors["rotation_best_deg"] < 1e-4 and errors["matched"] == 5
        assert render in runs.files["rgb.txt"]
        assert runs.calls[0][2] == [f"frame_{i:04d}.png" for i in range(1, 6)]


def test_tumlike_agrees_with_recon4d_eval(tmp_path: Path) -> None:
    noise = np.random.default_rng(3)

    def shaken(time_s: float) -> np.ndarray:
        made = scaled_pose(time_s)
        made[:3, 3] += noise.normal(0, 0.01, 3)
        return made

    make_tum(tmp_path / "set/mine", 12, suffix=".jpg")
    (tmp_path / "set/mine/intrinsics.txt").write_text("9 9 4 3\n")
    (tmp_path / "set/no_sequence").mkdir()
    out, runs = tmp_path / "out", FakeRuns(shaken)
    stored = run_main(tmp_path / "set", out, "--keep", runs=runs, dataset="tumlike")
    assert runs.files["intrinsics.txt"] == "9 9 4 3\n" and "depth.txt" not in runs.files
    options = EvalOptions(align="sim3")
    expected = compare(out / "results/mine", tmp_path / "set/mine", options).poses
    assert expected is not None and expected.ate is not None and expected.ate > 0.01
    found = stored["rows"]["mine"]["pose"]["time"]
    assert found == json.loads(json.dumps(dataclasses.asdict(expected)))
    one = run_main(tmp_path / "set/mine", tmp_path / "one", runs=runs, dataset="tumlike")
    assert list(one["rows"]) == ["mine"]  # the sequence itself is taken, too


def test_results_that_exist_are_scored_without_a_run(tmp_path: Path) -> None:
    make_tum(tmp_path / "set/mine", 12)
    run_main(tmp_path / "set", tmp_path / "out", "--keep", dataset="tumlike")
    runs = FakeRuns()
    words = ("--results", str(tmp_path / "out/results"))
    stored = run_main(tmp_path / "set", tmp_path / "b", *words, runs=runs, dataset="tumlike")
    assert stored["rows"]["mine"]["pose"]["time"]["ate"] < EXACT_M and not runs.calls
    assert "--results results" in stored["command"]
    make_tum(tmp_path / "set/other", 12)
    stored = run_main(tmp_path / "set", tmp_path / "b", *words, runs=runs, dataset="tumlike")
    assert stored["means"]["time"]["failed"] == 1
    assert "is not a result of recon4d" in stored["rows"]["other"]["failure"]


def test_a_failing_sequence_is_listed_counted_and_in_no_mean(tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    for name in (XYZ, RPY):
        make_tum(root / name, 90)
    runs = FakeRuns(scaled_pose, failing={RPY})
    words = ("--protocol", "align3r", "--sequences", XYZ, RPY)
    stored = run_main(root, out, *words, runs=runs)
    row = stored["rows"][RPY]
    assert row["failure"].startswith("exit 2: recon4d: error: nothing to track") and not row["pose"]
    for way in ("rows", "time"):
        mean = stored["means"][way]
        assert (mean["asked"], mean["failed"]) == (2, 1)
        assert mean["ate"] == stored["rows"][XYZ]["pose"][way]["ate"]
        assert mean["ate_median"] is None  # the worse of the two middle ones is the failed one
    page = (out / "results.md").read_text()
    assert f"* {RPY}: **failed**: exit 2: recon4d: error: nothing to track" in page
    assert (
        "| 1 of 2 failed |" in page
        and "recon4d, row cut (Align3R protocol), 1 of 8 sequences, 1 failed" in page
    )
    assert str(tmp_path) not in page + json.dumps(stored)


def test_a_still_camera_in_the_result_is_a_failure_with_evos_reason(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 90)
    runs = FakeRuns(lambda time_s: np.eye(4))
    stored = run_main(tmp_path, tmp_path / "out", "--sequences", XYZ, runs=runs)
    row = stored["rows"][XYZ]
    assert "Degenerate" in row["failure"] and stored["means"]["time"]["failed"] == 1
    assert row["pose"]["time"]["rpe_rotation_deg"] > 0 and stored["means"]["time"]["ate"] is None


def test_a_damaged_truth_fails_its_sequence_alone(tmp_path: Path) -> None:
    for name in (XYZ, RPY):
        make_tum(tmp_path / name, 40)
    (tmp_path / XYZ / "groundtruth.txt").write_text("1 2 3\n")
    stored = run_main(tmp_path, tmp_path / "out", "--sequences", XYZ, RPY)
    failure = stored["rows"][XYZ]["failure"]
    assert failure.startswith(f"truth: DATA/{XYZ}/groundtruth.txt, line 1: found 3 values")
    assert stored["means"]["time"]["failed"] == 1 and stored["means"]["time"]["ate"] < EXACT_M


def test_too_few_rows_for_the_cut_are_said_and_time_still_counts(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 90, all_rows_s(90)[100:])  # from 0.5 s on, 270 rows
    text = (tmp_path / XYZ / "groundtruth.txt").read_text().splitlines()
    (tmp_path / XYZ / "groundtruth.txt").write_text("\n".join(text[:71]))  # 70 rows of 0.7 s
    words = ("--protocol", "align3r", "--sequences", XYZ)
    stored = run_main(tmp_path, tmp_path / "out", *words)
    row = stored["rows"][XYZ]
    assert row["failure"] == "groundtruth.txt has 40 rows in the protocol's cut for 50 frames"
    assert 0 < row["pose"]["time"]["matched"] < 50 and stored["means"]["time"]["failed"] == 0
    assert stored["means"]["rows"]["failed"] == 1


def test_frames_without_a_result_are_said(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)
    runs = FakeRuns(scaled_pose, skipped=4)
    stored = run_main(tmp_path, tmp_path / "out", "--sequences", XYZ, runs=runs)
    assert stored["rows"][XYZ]["pose"]["time"]["matched"] == 10
    page = (tmp_path / "out/results.md").read_text()
    assert "**4 frames have no result**" in page and "| 10/14 |" in page


def test_options_of_the_run_pass_through_and_others_are_refused(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)
    runs, out = FakeRuns(scaled_pose), tmp_path / "out"
    words = ("--sequences", XYZ, "--masks", "residual", "--seed", "7", "--loop=0", "--max-frames")
    run_main(tmp_path, out, *words, "5", "--", "--size", "256", runs=runs)
    ((_, options, frames),) = runs.calls
    assert options == ("--seed", "7", "--masks", "residual", "--loop=0", "--size", "256")
    assert len(frames) == 5
    page = (out / "results.md").read_text()
    assert "only the first 5 of the protocol's frames: not to be compared" in page
    for more, message in (
        (("--loops", "3"), "no option --loops .*--loop"),
        (("--masks", "magic"), "masks cannot be 'magic'"),
        (("--stride", "2"), "--stride .* changes the protocol's frames"),
        (("--set", "stride=2"), "the protocol says which frames"),
        (("--", "--out=x"), "--out=x is the benchmark's own"),
        (("--protocol", "all"), "--protocol all has no pose on tum; available there: monst3r"),
        (("--results", "nowhere"), "nowhere is missing"),
        (("--results", ".", "--loop", "1"), "--results runs nothing"),
        (("--max-frames", "1"), "at least 2"),
    ):
        with pytest.raises(SystemExit, match=message):
            run_main(tmp_path, tmp_path / "b", "--sequences", XYZ, *more, runs=runs)
    assert len(runs.calls) == 1 and not (tmp_path / "b").exists()


def test_the_sensors_depth_is_listed_for_runs_that_use_it(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)
    runs = FakeRuns(scaled_pose)
    run_main(tmp_path, tmp_path / "o", "--sequences", XYZ, "--geometry", "rgbd", runs=runs)
    assert runs.files["depth.txt"].count("depth/") == 40
    assert "depth sensor's images" in (tmp_path / "o/results.md").read_text()
    make_sintel(tmp_path, "alley_2", [np.ones((4, 6), np.float32)] * 3)
    words = ("--sequences", "alley_2", "--geometry", "rgbd")
    stored = run_main(tmp_path, tmp_path / "s", *words, runs=runs, dataset="sintel")
    assert "has no depth.txt, which --geometry rgbd needs" in stored["rows"]["alley_2"]["failure"]


def test_finished_sequences_are_not_run_again_and_failed_ones_are(tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    for name in (XYZ, RPY):
        make_tum(root / name, 40)
    runs = FakeRuns(scaled_pose, failing={RPY})
    run_main(root, out, "--sequences", XYZ, RPY, runs=runs)
    runs.failing = set()
    stored = run_main(root, out, "--sequences", XYZ, RPY, runs=runs)
    assert runs.names == [XYZ, RPY, RPY] and stored["means"]["time"]["failed"] == 0
    run_main(root, out, "--sequences", RPY, runs=runs)
    assert len(runs.calls) == 3 and read_store(out)["rows"].keys() == {XYZ, RPY}


def test_what_is_done_stays_when_a_later_sequence_is_interrupted(tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    for name in (XYZ, RPY):
        make_tum(root / name, 40)
    runs = FakeRuns(scaled_pose)

    def interrupted(source: Path, result: Path, options: tuple[str, ...]) -> Measured:
        if source.name == RPY:
            raise KeyboardInterrupt
        return runs(source, result, options)

    words = ["--dataset", "tum", "--root", str(root), "--out", str(out), "--sequences", XYZ, RPY]
    with pytest.raises(KeyboardInterrupt):
        pose.main(words, interrupted)
    assert read_store(out)["rows"].keys() == {XYZ}
    assert "so far 1 of 2 sequences" in (out / "results.md").read_text()
    pose.main(words, runs)
    assert runs.names == [XYZ, RPY]


def test_results_of_other_options_are_not_mixed(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 90)
    runs, out = FakeRuns(scaled_pose), tmp_path / "out"
    run_main(tmp_path, out, "--sequences", XYZ, runs=runs)
    before = read_store(out)
    for words in (
        ("--masks", "none"),
        ("--seed", "1"),
        ("--protocol", "align3r"),
        ("--max-frames", "5"),
    ):
        with pytest.raises(SystemExit, match=r"results of other settings .*another --out"):
            run_main(tmp_path, out, "--sequences", XYZ, *words, runs=runs)
    assert read_store(out) == before and len(runs.calls) == 1


@pytest.mark.parametrize("dataset", datasets("pose"))
def test_a_missing_path_of_a_data_set_is_named_in_one_sentence(
    dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="nowhere is not a folder"):
        run_main(tmp_path / "nowhere", tmp_path / "out", dataset=dataset)
    with pytest.raises(SystemExit) as caught:
        run_main(tmp_path, tmp_path / "out", dataset=dataset)
    text = str(caught.value)
    assert text.startswith(str(tmp_path)) and "\n" not in text
    assert "is missing" in text or "holds no folder with an rgb.txt" in text


def test_all_published_figures_belong_to_a_protocol_and_lists_are_the_official_ones() -> None:
    for key, blocks in read_published("pose").blocks.items():
        dataset, name = key.split()
        protocol = PROTOCOLS[dataset][name]
        assert protocol.has_poses and protocol.official is not None
        assert all(block.source and block.rows for block in blocks)
    assert datasets("pose") == ("tum", "bonn", "sintel", "tumlike")
    assert (len(BONN_SEQUENCES), len(SINTEL_SEQUENCES)) == (5, 14)
    names = PROTOCOLS["tum"]["monst3r"].sequences
    assert names is not None and len(names) == 8 and XYZ in names


@pytest.mark.slow
def test_a_real_run_that_is_refused_becomes_a_row(tmp_path: Path) -> None:
    make_tum(tmp_path / XYZ, 40)  # images of 8x6 px
    words = ["--dataset", "tum", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    pose.main([*words, "--sequences", XYZ, "--masks", "residual"])
    row = read_store(tmp_path / "out")["rows"][XYZ]
    assert row["failure"].startswith("exit 2: recon4d: error:") and "px" in row["failure"]
    assert str(tmp_path) not in json.dumps(row)


@pytest.mark.slow
def test_a_few_real_frames_are_reconstructed_and_compared(
    shared_data: Path, tmp_path: Path
) -> None:
    words = ["--dataset", "tumlike", "--root", str(shared_data), "--out", str(tmp_path / "out")]
    options = ["--masks", "residual", "--loop", "0", "--size", "256"]
    pose.main([*words, "--sequences", "exact_dancer", "--max-frames", "8", *options])
    row = read_store(tmp_path / "out")["rows"]["exact_dancer"]
    assert "failure" not in row and row["pose"]["time"]["matched"] == 8
    assert row["pose"]["time"]["ate"] < 0.01 * row["pose"]["time"]["path"]
