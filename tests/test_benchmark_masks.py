"""The benchmark of masks: its figures, its averages, that nothing is skipped, and that it goes on where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import masks
from benchmarks.measure.common import Measured
from benchmarks.scores.masks import (
    VideoScore,
    compare,
    failed,
    over_frames,
    over_inner_frames,
    over_sequences,
    score_video,
)
from benchmarks.scores.masks_page import AVERAGES, TITLES, Page, report
from benchmarks.sets.published import read_published
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets import BENCHMARKS, read_dataset
from tests import needs
from tests.mini_sets import read_store, write_image, write_made

GOLDEN = Path(__file__).parents[1] / "../shared/golden/eval_metrics.npz"
GOLDEN_TOLERANCE = 1e-5
"""Distance of a re-derivation in numpy from the golden float32 numbers, as their README states it."""
SIZE = (24, 32)

needs_golden = needs.shared_file("golden/eval_metrics.npz")


def box(start: int, stop: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask whose columns `start` to `stop - 1` move in the middle rows."""
    mask = np.zeros(size, bool)
    mask[8:16, start:stop] = True
    return mask


def write(path: Path, mask: np.ndarray) -> None:
    write_image(path, mask.astype(np.uint8) * 255)


def make_set(root: Path, **lengths: int) -> Path:
    """A folder of sequences whose truth is columns 4 to 11 in every frame."""
    for name, frames in lengths.items():
        for i in range(frames):
            write(root / f"images/{name}/{i:05d}.png", np.zeros((*SIZE, 3), bool))
            write(root / f"masks/{name}/{i:05d}.png", box(4, 12))
    return root


def make_davis(root: Path, **lengths: int) -> Path:
    made = make_set(root / "made", **lengths)
    for old, new in (("images", "JPEGImages"), ("masks", "Annotations")):
        (root / new).mkdir(parents=True)
        (made / old).rename(root / new / "480p")
    return root


def run_main(root: Path, out: Path, *words: str, dataset: str = "folder") -> dict[str, Any]:
    masks.main(["--dataset", dataset, "--root", str(root), "--out", str(out), *words])
    return read_store(out)


class FakeRuns:
    """Takes the place of the real command: writes a result with columns 4 to 7 moving, or fails."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.commands: list[list[str]] = []
        self.frames: int | None = None

    @property
    def names(self) -> list[str]:
        return [self.source(command).name for command in self.commands]

    def source(self, command: Sequence[str]) -> Path:
        return Path(command[command.index("run") + 1])

    def __call__(self, command: Sequence[str]) -> Measured:
        self.commands.append(list(command))
        source, out = self.source(command), Path(command[command.index("--out") + 1])
        if source.name in self.failing:
            return Measured(2, 1.5, 100.0, f"recon4d: error: nothing to track in {source}")
        frames = list_images(source)[: self.frames]
        height, width = 48, 64  # twice the truth's size
        moving = cv2.resize(box(4, 8).astype(np.uint8), (width, height), interpolation=0)
        shape = (len(frames), height, width)
        names = tuple(path.name for path in frames)
        write_made(
            out, names, np.ones(shape, np.float32), is_dynamic=np.tile(moving > 0, (shape[0], 1, 1))
        )
        return Measured(0, 2.5, 200.0, "")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    fake = FakeRuns()
    monkeypatch.setattr(masks, "measure", fake)
    return fake


@needs_golden
def test_masks_of_the_golden_numbers_have_their_j_recall_and_f(tmp_path: Path) -> None:
    with np.load(GOLDEN) as stored:
        truth, found = stored["davis/gt"] > 0, stored["davis/pred"] > 0
        expected_j, expected_f = stored["davis/J"], stored["davis/F"]
    for i, (true, predicted) in enumerate(zip(truth, found, strict=True)):
        write(tmp_path / f"set/images/a/{i:05d}.png", np.zeros((4, 4, 3), bool))
        write(tmp_path / f"set/masks/a/{i:05d}.png", true)
        write(tmp_path / f"found/a/{i:05d}.png", predicted)
    stored = run_main(tmp_path / "set", tmp_path / "out", "--predictions", str(tmp_path / "found"))
    row = stored["rows"]["a"]
    assert np.allclose(row["jaccard"], expected_j, atol=GOLDEN_TOLERANCE)
    assert np.allclose(row["contour"], expected_f, atol=GOLDEN_TOLERANCE)
    average = stored["averages"]["per sequence"]
    assert average["jaccard"] == pytest.approx(expected_j.mean(), abs=GOLDEN_TOLERANCE)
    assert average["contour"] == pytest.approx(expected_f.mean(), abs=GOLDEN_TOLERANCE)
    assert average["jaccard_recall"] == (expected_j > 0.5).mean()


@needs_golden
def test_averages_of_the_golden_values_are_davis_statistics() -> None:
    with np.load(GOLDEN) as stored:
        values = stored["davis/stat_values"].astype(np.float64)
        mean, recall, _ = stored["davis/stat_mean_recall_decay"]
    names = tuple(map(str, range(len(values))))
    score = VideoScore(names, tuple(values.tolist()), tuple(values.tolist()))
    for average in (over_sequences([score, score]), over_frames([score, score])):
        assert average.jaccard == pytest.approx(mean, abs=GOLDEN_TOLERANCE)
        assert average.jaccard_recall == pytest.approx(recall, abs=GOLDEN_TOLERANCE)


def test_long_sequences_count_more_over_frames_than_per_sequence() -> None:
    long = VideoScore(tuple("abcdef"), (0.2,) * 6, (0.4,) * 6)
    short = VideoScore(tuple("ab"), (0.8, 1.0), (0.6, 0.6))
    one, two = over_sequences([long, short]), over_frames([long, short])
    assert one.jaccard == pytest.approx((0.2 + 0.9) / 2)
    assert one.jaccard_recall == 0.5 and one.frames == 8 and one.sequences == 2
    assert two.jaccard == pytest.approx((6 * 0.2 + 1.8) / 8) and two.jaccard_recall == 0.25
    assert two.both == pytest.approx((two.jaccard + (6 * 0.4 + 1.2) / 8) / 2)


def test_the_first_and_the_last_frame_can_be_left_out() -> None:
    score = VideoScore(tuple("abcd"), (0.0, 0.6, 0.8, 0.0), (0.0, 1.0, 1.0, 0.0))
    short = VideoScore(tuple("ab"), (0.7, 0.7), (0.7, 0.7))
    assert over_inner_frames([score]).jaccard == pytest.approx(0.7)
    assert over_inner_frames([score, short]).frames == 4
    assert over_sequences([score]).jaccard == pytest.approx(0.35)


def test_masks_are_compared_at_the_truths_size_without_a_shift() -> None:
    small = box(4, 12)
    for factor in (2, 3, 5):
        large = np.kron(small, np.ones((factor, factor), bool))
        assert compare(small, large) == (1.0, 1.0)
        assert compare(large, small) == (1.0, 1.0)


def test_frames_without_truth_are_not_compared(tmp_path: Path) -> None:
    make_set(tmp_path, a=4)
    for i in (0, 2):
        (tmp_path / f"masks/a/{i:05d}.png").unlink()
    for i in range(4):
        write(tmp_path / f"found/{i:05d}.png", box(4, 12))
    (video,) = read_dataset("folder", tmp_path).videos
    score = score_video(video, tmp_path / "found")
    assert score == VideoScore(("00001", "00003"), (1.0, 1.0), (1.0, 1.0))


def test_predictions_that_are_missing_count_as_0_and_are_listed(tmp_path: Path) -> None:
    root, found = make_set(tmp_path / "set", a=4, b=2, c=2), tmp_path / "found"
    for i in range(3):
        write(found / f"a/{i:05d}.png", box(4, 12))
    write(found / "c/00000.png", box(4, 12))
    (found / "c/00001.png").write_text("no image")
    stored = run_main(root, tmp_path / "out", "--predictions", str(found))
    assert stored["rows"]["a"]["jaccard"] == [1.0, 1.0, 1.0, 0.0]
    assert stored["rows"]["b"]["jaccard"] == [0.0, 0.0] == stored["rows"]["c"]["contour"]
    assert stored["averages"]["over all frames"]["jaccard"] == 3 / 8
    assert stored["averages"]["per sequence"]["jaccard"] == 0.25
    page = (tmp_path / "out/results.md").read_text()
    assert "a: **1 of 4 frames have no mask, counted as 0**" in page
    assert "b: **failed, counted as 0**: found/b is missing" in page
    assert "c: **failed, counted as 0**: found/c/00001.png is not an image" in page
    assert str(tmp_path) not in page + json.dumps(stored)


def test_masks_come_from_the_real_command_and_are_kept(tmp_path: Path, runs: FakeRuns) -> None:
    root, out = make_davis(tmp_path / "davis", bear=3), tmp_path / "out"
    words = ("--masks", "residual", "--seed", "7", "--", "--size", "256")
    stored = run_main(root, out, *words, dataset="davis16")
    ((_, _, _, *arguments),) = runs.commands
    source = str((root / "JPEGImages/480p/bear").resolve())
    options = ["--masks", "residual", "--seed", "7", "--size", "256"]
    assert arguments[:-2] == ["run", source, *options]
    row = stored["rows"]["bear"]
    assert row["jaccard"] == [0.5] * 3 and row["seconds"] == 2.5
    assert row["command"] == f"recon4d run DATA/JPEGImages/480p/bear {' '.join(options)}"
    page = (out / "results.md").read_text()
    assert "bear: LOW_PARALLAX" in page and "seed 7" in page
    assert "ImageSets/2016/val.txt is missing" in page and "1 of the 20 official" in page
    assert str(tmp_path) not in page + json.dumps(stored)
    again = run_main(
        root, tmp_path / "b", "--predictions", str(out / "predictions"), dataset="davis16"
    )
    assert again["rows"]["bear"]["jaccard"] == row["jaccard"] and len(runs.commands) == 1


def test_published_figures_stand_beside_ours_in_both_averages(
    tmp_path: Path, runs: FakeRuns
) -> None:
    root = make_davis(tmp_path / "davis", bear=3)
    run_main(root, tmp_path / "out", dataset="davis16")
    page = (tmp_path / "out/results.md").read_text()
    for line in (
        "| VGGT4D | 62.1 | 76.8 | - |",
        "| recon4d, d2mif, per sequence, 1 of 20 sequences | 50.0 | 0.0 |",
        "| recon4d, d2mif, over all frames, 1 of 20 sequences | 50.0 | 0.0 |",
        "## Published: MuBe4D",
    ):
        assert line in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "recon4d, d2mif" in line}) == 1


def test_a_failed_run_counts_as_0_with_its_reason(tmp_path: Path, runs: FakeRuns) -> None:
    root = make_set(tmp_path / "set", a=2, b=2)
    runs.failing = {"b"}
    stored = run_main(root, tmp_path / "out")
    assert stored["rows"]["b"]["jaccard"] == [0.0, 0.0]
    assert stored["rows"]["b"]["failure"].startswith("exit 2: recon4d: error: nothing to track")
    assert stored["averages"]["per sequence"]["jaccard"] == 0.25
    assert str(tmp_path) not in json.dumps(stored)


def test_a_run_that_leaves_frames_out_has_j_0_there(tmp_path: Path, runs: FakeRuns) -> None:
    root = make_set(tmp_path / "set", a=4)
    runs.frames = 3
    row = run_main(root, tmp_path / "out", "--", "--max-frames", "3")["rows"]["a"]
    assert row["jaccard"] == [0.5, 0.5, 0.5, 0.0] and row["missing"] == ["00003"]


def test_finished_sequences_are_not_run_again_and_failed_ones_are(
    tmp_path: Path, runs: FakeRuns
) -> None:
    root, out = make_set(tmp_path / "set", a=2, b=2, c=2), tmp_path / "out"
    runs.failing = {"b"}
    first = run_main(root, out, "--sequences", "a", "b")
    assert runs.names == ["a", "b"] and first["sequences"] == ["a", "b"]
    runs.failing = set()
    whole = run_main(root, out)
    assert runs.names == ["a", "b", "b", "c"]
    assert whole["averages"]["per sequence"]["sequences"] == 3
    run_main(root, out)
    assert len(runs.names) == 4
    assert run_main(root, out, "--sequences", "c")["sequences"] == ["c"]
    assert read_store(out)["rows"].keys() == {"a", "b", "c"}


def test_what_is_done_stays_when_a_later_sequence_is_interrupted(
    tmp_path: Path, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = make_set(tmp_path / "set", a=2, b=2), tmp_path / "out"

    def interrupted(command: Sequence[str]) -> Measured:
        if runs.source(command).name == "b":
            raise KeyboardInterrupt
        return runs(command)

    monkeypatch.setattr(masks, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_main(root, out)
    assert read_store(out)["rows"].keys() == {"a"}
    assert "so far 1 of 2 sequences" in (out / "results.md").read_text()


def test_results_of_other_options_are_not_mixed(tmp_path: Path, runs: FakeRuns) -> None:
    root, out = make_set(tmp_path / "set", a=2), tmp_path / "out"
    run_main(root, out)
    before = read_store(out)
    for words in (("--masks", "none"), ("--seed", "1"), ("--", "--loop", "0")):
        with pytest.raises(SystemExit, match=r"results of other settings .*another --out"):
            run_main(root, out, *words)
    assert read_store(out) == before and len(runs.commands) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    (
        (("--masks", "magic"), "--masks cannot be 'magic'"),
        (("--", "--loops", "3"), "no option --loops .*--loop"),
        (("--", "--out=x"), "--out=x after -- is the benchmark's own"),
        (("--predictions", "nowhere"), "nowhere is missing; a folder of SEQ/STEM.png"),
        (("--sequences", "moon"), "images/moon is missing"),
    ),
)
def test_what_would_fail_everywhere_is_refused_before_anything_runs(
    words: tuple[str, ...], message: str, tmp_path: Path, runs: FakeRuns
) -> None:
    root = make_set(tmp_path / "set", a=2)
    with pytest.raises(SystemExit, match=message):
        run_main(root, tmp_path / "out", *words)
    assert not runs.commands and not (tmp_path / "out").exists()


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_a_missing_path_of_a_data_set_is_named_in_one_sentence(
    dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="nowhere is not a folder"):
        run_main(tmp_path / "nowhere", tmp_path / "out", dataset=dataset)
    with pytest.raises(SystemExit) as caught:
        run_main(tmp_path, tmp_path / "out", dataset=dataset)
    text = str(caught.value)
    assert text.startswith(str(tmp_path)) and "is missing; " in text and "\n" not in text


@pytest.mark.slow
def test_a_real_run_that_is_refused_becomes_a_row(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", a=1)  # one frame is no video
    row = run_main(root, tmp_path / "out")["rows"]["a"]
    assert row["failure"].startswith("exit 2: recon4d: error:") and row["jaccard"] == [0.0]
    assert str(tmp_path) not in json.dumps(row)


def test_every_data_set_of_the_benchmark_has_a_title_and_averages(tmp_path: Path) -> None:
    assert BENCHMARKS.keys() == TITLES.keys() == AVERAGES.keys()
    known = read_published("masks")
    assert known.blocks.keys() == known.official.keys() == BENCHMARKS.keys() - {"folder"}
    (video,) = read_dataset("folder", make_set(tmp_path, a=2)).videos
    row = {**vars(failed(video)), "failure": "exit 1", "command": "x", "date": "2026-01-01"}
    row |= {"commit": "abc", "machine": "2 cores of Z", "seed": None}
    for dataset in BENCHMARKS:
        page = report(Page(dataset, "x", {"a": row}, 1))
        assert "| a | 2 | 0.0 | 0.0 | 0.0 | - | - |" in page
        assert "2026-01-01, commit abc, 2 cores of Z\n" in page
    assert "so far 0 of 1" in report(Page("folder", "x", {}, 1))
