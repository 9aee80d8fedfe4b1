"""The benchmarks measure from outside, list failures, and go on where they stopped."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import clips, longloop, speed
from benchmarks.iteration import Size, Traffic, cost_of
from benchmarks.measure import common, tree
from recon4d.io.poses.trajectory import Trajectory, read_trajectory, write_trajectory
from tests.media import write_tum_folder


def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere is not a folder.*--root"):
        clips.main(["--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r.md")])
    with pytest.raises(SystemExit, match=r"nowhere is not a folder.*--root"):
        speed.main(["--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r.md")])
    assert list(tmp_path.iterdir()) == []


def test_memory_and_time_of_a_child_and_its_children_are_measured() -> None:
    grandchild = "import time; block = b'x' * 400_000_000; time.sleep(0.2)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    # in a process of its own: Linux counts a parent's memory at the fork as its child's
    script = (
        "import sys; from benchmarks.measure import common; "
        f"m = common.measure([sys.executable, '-c', {child!r}]); "
        "print(m.exit_code, m.peak_rss_mb, m.seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=common.PROJECT,
    )
    exit_code, peak_rss_mb, seconds = (float(word) for word in done.stdout.split())
    assert exit_code == 0
    assert 400 < peak_rss_mb < 700
    assert 0.2 < seconds < 60


def test_a_failing_command_gives_its_exit_code_and_last_words() -> None:
    words = "import sys; sys.stderr.write('long ' * 1000 + 'no texture'); sys.exit(2)"
    measured = common.measure([sys.executable, "-c", words])
    assert measured.exit_code == 2
    assert measured.last_words.endswith("no texture")
    assert len(measured.last_words) <= common.TAIL


def test_rows_that_are_stored_are_not_computed_again(tmp_path: Path) -> None:
    path, computed = tmp_path / "rows.json", []

    def row_of(name: str) -> dict[str, str]:
        computed.append(name)
        return {"name": name}

    work = {name: partial(row_of, name) for name in "ab"}
    assert list(common.fill(path, {"a": work["a"]})) == ["a"]
    assert list(common.fill(path, work)) == ["a", "b"] and computed == ["a", "b"]
    common.fill(path, work, again=True)
    assert computed == ["a", "b", "a", "b"] and common.read_rows(path).keys() == work.keys()


def test_a_command_that_hangs_is_ended() -> None:
    measured = common.measure([sys.executable, "-c", "import time; time.sleep(60)"], 1)
    assert measured.exit_code == 124
    assert measured.seconds < 20


def test_the_machine_is_described_without_names_or_places() -> None:
    import platform

    text = common.machine()
    assert "cores of" in text
    assert "GB" in text
    assert "/" not in text
    assert platform.node() not in text


def row(**figures: object) -> dict[str, object]:
    made = {"command": "recon4d run DATA/x", "commit": "abc", "date": "2026-01-01"}
    return {**made, "machine": "2 cores of Z", "seed": 0, **figures}


def test_a_failed_sequence_is_a_row_and_a_remark_of_the_report() -> None:
    page = clips.report(
        {"good": row(ate=0.00123, seconds=9.0), "bad": row(failure="exit 2: black")}
    )
    assert "| good | -/- | - | 0.0012 |" in page
    assert "| bad | -/- | - | - |" in page
    assert "bad: **failed**: exit 2: black" in page
    assert "2026-01-01, commit abc, 2 cores of Z, seed 0" in page


def test_every_row_of_a_table_has_as_many_cells_as_the_header() -> None:
    page = clips.report({"a": row(residual_px={"1": 0.1, "5": None, "10": 2.0})})
    tables = [line for line in page.splitlines() if line.startswith("|")]
    for start in (0, 3):
        assert len({line.count("|") for line in tables[start : start + 3]}) == 1
    assert "0.10 / - / 2.00" in page


def test_resuming_runs_what_is_missing_or_failed() -> None:
    done = {"exact_static": row(), "exact_dancer": row(failure="exit 1")}
    names = [clip.name for clip in clips.chosen("exact_", done, resume=True)]
    assert "exact_static" not in names
    assert "exact_dancer" in names
    assert "exact_static --geometry rgbd" in names
    anew = [clip.name for clip in clips.chosen("exact_", done, resume=False)]
    assert "exact_static" in anew


def test_an_unknown_word_lists_the_sequences() -> None:
    with pytest.raises(SystemExit, match=r"no sequence contains 'moon'.*kitti_traffic/rgb"):
        clips.chosen("moon", {}, resume=False)


def test_the_names_of_sequences_are_unique() -> None:
    names = [clip.name for clip in clips.CLIPS]
    assert len(set(names)) == len(names)


def test_the_sequences_of_the_benchmark_exist(shared_data: Path) -> None:
    for clip in clips.CLIPS:
        assert (shared_data / clip.source).exists(), clip.source
        assert clip.truth is None or (shared_data / clip.truth).exists(), clip.truth


def test_a_sequence_that_is_not_there_is_listed_as_a_failure(tmp_path: Path) -> None:
    clips.main(["--root", str(tmp_path), "--only", "apple", "--out", str(tmp_path / "r.md")])
    assert "apple.mp4: **failed**" in (tmp_path / "r.md").read_text()
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["videos/apple.mp4"]["failure"] == "videos/apple.mp4 is not in the data folder"


def test_a_run_that_is_refused_is_listed_without_places(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/apple.mp4").write_text("no video")
    found = clips.run_clip(clips.Clip("videos/apple.mp4"), tmp_path, tmp_path / "work")
    failure = str(found["failure"])
    assert failure.startswith("exit 2: ")
    assert str(tmp_path) not in failure
    assert str(tmp_path) not in json.dumps(found)


def test_figures_that_were_not_measured_are_left_out() -> None:
    depth = {"abs_rel": 0.1, "delta_1": 0.9}
    evaluation = {
        "poses": None,
        "masks": None,
        "depth": {"all": depth, "static": None, "moving": None},
    }
    assert clips.truth_figures(evaluation) == {"abs_rel_all": 0.1, "delta_all": 0.9}


def test_the_rounds_of_a_stage_are_added_up() -> None:
    stages = {
        name: {"seconds": s} for name, s in (("flow", 4.0), ("masks_0", 1.0), ("masks_1", 2.0))
    }
    assert speed.stage_seconds(stages) == {"flow": 4.0, "masks": 3.0}


def test_the_speed_report_has_a_column_per_stage_and_lists_failures() -> None:
    good = {
        "frames": 10,
        "made": False,
        "seconds": 5.0,
        "cpu_seconds": 8.0,
        "peak_pss_mb": 400.0,
        "stages": {"flow": 2.0, "features": 1.0, "masks": 2.0, "refine": 0.5},
    }
    bad = {
        "frames": 80,
        "made": True,
        "seconds": 1.0,
        "cpu_seconds": 1.6,
        "peak_pss_mb": 90.0,
        "failure": "exit 2: disk full",
    }
    page = speed.report([good, bad], "clip", "d2mif")
    assert "| PSS MB | masks s per frame | refine s per frame | flow | features |" in page
    assert "| 10 | 5.0 | 0.50 | 0.80 | 400 | 0.300 | 0.050 | 2.00 | 1.00 | 2.00 | 0.50 |" in page
    assert "| 80 (made) | 1.0 | 0.01 | 0.02 | 90 | - | - | - | - | - | - |" in page
    assert "recon4d run DATA/clip --masks d2mif" in page
    assert "80 frames: **failed**: exit 2: disk full" in page


def test_lengths_beyond_the_sequence_are_made(tmp_path: Path) -> None:
    images = np.full((3, 32, 48, 3), 100, np.uint8)
    source = write_tum_folder(tmp_path / "in", images, np.ones((3, 32, 48)), [0.0, 0.1, 0.2])
    poses = Trajectory(np.array([0, 0.1, 0.2]), np.tile(np.eye(4), (3, 1, 1)))
    write_trajectory(poses, source / "groundtruth.txt")
    assert speed._video(3, source, tmp_path / "a") == (source, False)
    video, is_made = speed._video(5, source, tmp_path / "b")
    assert is_made and len(list(video.iterdir())) == 5


def test_a_sequence_is_played_there_and_back() -> None:
    assert longloop.there_and_back(4, 14) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]


def test_a_played_sequence_has_fresh_noise_and_the_true_poses(tmp_path: Path) -> None:
    images = np.full((3, 32, 48, 3), 100, np.uint8)
    write_tum_folder(tmp_path / "in", images, np.ones((3, 32, 48)), [0.0, 0.1, 0.2])
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = 0, 1, 2
    write_trajectory(Trajectory(np.array([0, 0.1, 0.2]), poses), tmp_path / "in/groundtruth.txt")
    longloop.make(tmp_path / "in", tmp_path / "out", 6)
    truth = read_trajectory(tmp_path / "out/groundtruth.txt")
    assert truth.world_from_cam[:, 0, 3].tolist() == [0, 1, 2, 1, 0, 1]
    pictures = [path.read_bytes() for path in sorted((tmp_path / "out/rgb").iterdir())]
    assert len(set(pictures)) == 6


def test_memory_of_a_whole_tree_is_summed() -> None:
    """Two processes of 200 MB each at the same time, which share nothing."""
    block = "import time; block = b'x' * 200_000_000; time.sleep(4)"
    parent = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {block!r}]); exec({block!r})"
    found = tree.watch([sys.executable, "-c", parent], 600)
    assert found.exit_code == 0
    assert 400 < found.peak_pss_mb < 500
    assert found.peak_rss_mb >= found.peak_pss_mb


def test_the_long_report_has_a_row_per_length_and_lists_failures() -> None:
    good = {
        "frames": 200,
        "exit_code": 0,
        "seconds": 300.0,
        "cpu_seconds": 250.0,
        "peak_pss_mb": 2000.0,
        "peak_rss_mb": 2400.0,
        "ate_mm": 0.224,
        "clips": 3,
        "loops": 7,
    }
    bad = {**good, "frames": 500, "exit_code": 1}
    page = longloop.report([good, bad], longloop.Setup(Path("room"), "residual", 2, 0))
    assert "| 200 | 3 | 7 | 1.25 | 300 | 2000 | 2400 | 0.22 |" in page
    assert "500 frames: **failed**: exit 1" in page


def test_traffic_counts_what_operators_read_and_write() -> None:
    a, b = torch.ones(1000), torch.ones(1000)
    with Traffic() as traffic:
        total = (a + b).view(10, 100).T
    assert total.shape == (100, 10)
    assert (traffic.num_bytes, traffic.operators, traffic.numbers) == (12000, 1, 1000)


def test_the_cost_of_an_iteration_grows_with_its_measurements() -> None:
    small, large = (cost_of(Size("", frames, 4, 50), 1) for frames in (12, 24))
    assert large["least_bytes"] == 2 * small["least_bytes"]
    assert small["bytes"] > small["least_bytes"] and large["bytes"] > 1.5 * small["bytes"]
    assert large["flops"] > 1.5 * small["flops"]
